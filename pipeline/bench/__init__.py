"""`tensorflash bench`: what a model costs in our runtime, in what pip can install beside it, and in what others state.

All that is measured runs in one firmware, with one compiler and its flags, on one emulated core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import audit, graph_costs, lifetime, runtimes, tflite
from pipeline import board as boards
from pipeline.bench import bakenn
from pipeline.board import Board
from pipeline.errors import RequestError, TensorflashError, UnsupportedError
from pipeline.model import Export
from pipeline.tflite import Graph
from pipeline.verification import verify_export

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Progress = Callable[[str, int, int], None]


def bench_models(
    models: Sequence[Path], *, board: str, samples: int, seed: int, rivals: bool, progress: Progress
) -> dict[str, Any]:
    """Measure models on one board: the object that `tensorflash bench --json` prints.

    Every runtime's answers are compared with TFLM's to the byte. A rival that cannot be had, that refuses a model, or
    whose firmware does not fit or does not answer, is a result with an `error`; ours is not, it raises.

    Args:    samples: inferences each; instructions are their median. rivals: also what pip can install.
    Returns: board, samples, seed, models[]: model {path, sha256, macs, weights_bytes}, results[] as _result, quoted[]:
             runtime, instructions, overhead_bytes, ram_bytes (None where not stated), source.
    Raises:  RequestError: the board counts no instructions. Others as verify_model.
    """
    target = boards.load(board)
    if target.emulator is None:
        raise RequestError(
            f"board '{board}': bench counts instructions, which only emulated boards do.",
            hint="--board qemu_cortex_m4; `tensorflash verify --profile` counts cycles on hardware.",
        )
    graphs = [tflite.read(path) for path in models]
    for graph in graphs:
        audit.require_int8(graph)
    exports = [_ours(graph, target) for graph in graphs]  # all, before minutes are spent on the first
    measure = partial(verify_export, target=target, samples=samples, seed=seed, progress=progress)
    return {
        "board": target.id,
        "samples": samples,
        "seed": seed,
        "models": [
            _model(graph, ours, target, rivals, measure, progress) for graph, ours in zip(graphs, exports, strict=True)
        ],
    }


def _ours(graph: Graph, target: Board) -> Export:
    try:
        return runtimes.export(graph, target, "aot")
    except UnsupportedError as error:
        raise UnsupportedError(f"{graph.path}: {error.message}", hint=error.hint) from error


def _model(
    graph: Graph, ours: Export, target: Board, rivals: bool, measure: Callable[..., dict[str, Any]], progress: Progress
) -> dict[str, Any]:
    weights_bytes = graph_costs.total_weight_bytes(graph)
    results = [_result("aot", measure(graph, ours))]
    if rivals:
        results += [
            _rival(graph, mode, measure, progress) for mode in (False, True) if not mode or "dsp" in target.features
        ]
    return {
        "model": {
            "path": str(graph.path),
            "sha256": graph.sha256,
            "macs": ours.macs,
            "weights_bytes": weights_bytes,
        },
        "results": results,
        "quoted": quoted(target.core, ours.macs, weights_bytes),
    }


def _rival(graph: Graph, cmsis_nn: bool, measure: Callable[..., dict[str, Any]], progress: Progress) -> dict[str, Any]:
    name = f"BakeNN {bakenn.VERSION}" + (" + CMSIS-NN" if cmsis_nn else "")
    try:
        python = bakenn.environment(progress)
        with lifetime.temporary_folder() as folder:
            given = bakenn.prepare(graph, folder)
            progress(name, 0, 0)
            made: Export = bakenn.export(given.graph, python, cmsis_nn)
            return _result(name, measure(given.graph, made), given.changes)
    except TensorflashError as error:  # it refuses the model, does not fit, or crashes
        return _result(name, None, error=error.message)


def _result(
    runtime: str, found: dict[str, Any] | None, changes: Sequence[str] = (), error: str | None = None
) -> dict[str, Any]:
    """One measurement. overhead_bytes: flash of the model's code, kernels and tables, without weights and biases.

    model_ram_bytes: arena, inputs, outputs, scratch. changes: what the runtime does not take, and was changed first.
    """
    found = found or {}
    counts = found.get("instructions")
    flash, weights = found.get("model_flash_bytes"), found.get("weights_bytes")
    return {
        "runtime": runtime,
        "instructions": None if counts is None else counts["median"],
        "model_flash_bytes": flash,
        "weights_bytes": weights,
        "overhead_bytes": None if flash is None or weights is None else flash - weights,
        "model_ram_bytes": found.get("model_ram_bytes"),
        "mismatched_samples": found.get("mismatched_samples"),
        "exact": None if error else found["mismatched_samples"] == 0 and found["layer_mismatches"] == 0,
        "changes": list(changes),
        "error": error,
    }


def quoted(core: str, macs: int, weights_bytes: int) -> list[dict[str, Any]]:
    """Figures of others for the network with so many products and bytes of weights and biases on this core."""
    published = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
    return [
        {
            "runtime": entry["runtime"],
            "instructions": model["instructions"],
            "overhead_bytes": model.get("overhead_bytes"),
            "ram_bytes": model.get("ram_bytes"),
            "source": published["source"],
        }
        for entry in published["figures"]
        for model in entry["models"]
        if core in entry["cores"] and (model["macs"], model["weights_bytes"]) == (macs, weights_bytes)
    ]
