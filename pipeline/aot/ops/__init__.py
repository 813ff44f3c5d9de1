"""Lowerings: one module an op family, each a function `(graph, op, core) -> Step`."""

from __future__ import annotations

from pipeline.aot.steps import Lowering

LOWERINGS: dict[str, Lowering] = {}
