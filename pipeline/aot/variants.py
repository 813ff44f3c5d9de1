"""Which kernel a layer gets: the variants of an op, best first, and the first that this core and this layer allow.

The last variant of a list is the portable one, which takes every layer; the others need a feature of the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pipeline.aot.steps import Core, Step

L = TypeVar("L")


@dataclass(frozen=True)
class Variant(Generic[L]):
    """One kernel for an op.

    kernel:   the file stem under firmware/kernels.
    feature:  what the core has to have ("dsp", "mve"); "" for portable C.
    reason:   why it is the best where it can be had; ends up in the export beside the layer.
    obstacle: why this layer cannot have it, as "a dilation of 2", or None.
    build:    the step, given the layer; its reason is filled in by `choose`.
    """

    kernel: str
    feature: str
    reason: str
    obstacle: Callable[[L], str | None]
    build: Callable[[L], Step]


def no_obstacle(_: object) -> None:
    """For a variant that takes every layer."""


def choose(variants: Sequence[Variant[L]], layer: L, core: Core) -> Step:
    """The step of the first variant that the core and the layer allow, with the reason for it.

    Raises:  ValueError: the list does not end with a variant for every core and layer.
    """
    passed: list[str] = []
    for variant in variants:
        if variant.feature and not core.has(variant.feature):
            continue
        obstacle = variant.obstacle(layer)
        if obstacle is None:
            reason = variant.reason
            if not variant.feature and not passed:
                features = ", ".join(sorted(core.features & {"dsp", "mve"}))
                reason += f": there is no kernel for {features} yet" if features else ": the core has no dsp or mve"
            return replace(variant.build(layer), reason="; ".join((reason, *passed)))
        passed.append(f"not {variant.kernel}: {obstacle}")
    raise ValueError("no variant takes every layer")
