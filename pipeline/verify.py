"""The comparison: a device's answers against the golden ones, as bytes and without any tolerance.

Floats are compared by their bits too: 0.0 differs from -0.0, and a NaN equals only the very same NaN.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import interpreters
from pipeline.golden import Golden, all_layers
from pipeline.model import Array, Divergence, Export, Image, Inference, Layer, QuantizedModel, Verdict
from pipeline.state import is_stateful
from pipeline.tflite import Graph


@dataclass(frozen=True)
class OpDifference:
    """The first op whose output differs in another interpreter, and by how much at most on that sample."""

    sample: int
    op_index: int
    op: str
    tensor: str
    max_abs_diff: float


@dataclass(frozen=True)
class CrossCheck:
    """Another interpreter's outputs beside the golden ones. Without one, package is None and reason says why."""

    package: str | None = None
    version: str | None = None
    kernels: str | None = None
    mismatched_samples: int | None = None
    max_abs_diff: float | None = None
    first_difference: OpDifference | None = None
    reason: str | None = None


def compare(
    golden: Golden, answers: Sequence[Inference], traced: Sequence[Inference], layers: Sequence[Layer], graph: Graph
) -> Verdict:
    """Compare all outputs of all samples, and all layers of those that a trace build answered.

    The first divergence is on the first sample where an output or a layer differs; in it, the earliest layer that
    differs where that sample was traced, otherwise the output.

    Args:    answers: one inference a golden sample. traced: inferences of the first samples by a trace build, with
             `layers` in their order; may be empty.
    Raises:  DataError: the golden answers do not have these layers. ValueError: the answers are not the model's.
    """
    if len(answers) != golden.samples or len(traced) > golden.samples:
        raise ValueError(f"{len(answers)} answers, {len(traced)} of them traced, to {golden.samples} samples")
    layer_samples = min(len(traced), golden.layer_samples)
    if layer_samples:
        golden.require_layers(layers)

    mismatched_samples = mismatched_bytes = 0
    max_abs_diff = 0.0
    wrong_samples = [0] * (len(layers) if layer_samples else 0)
    first: Divergence | None = None
    for sample in range(golden.samples):
        expected = tuple(output[sample] for output in golden.outputs)
        trace = traced[sample] if sample < layer_samples else None
        given = [answers[sample].outputs] + ([trace.outputs] if trace is not None else [])
        wrong_bytes = 0
        for outputs in given:
            pairs = _pairs(expected, outputs)
            wrong_bytes = max(wrong_bytes, sum(_wrong_bytes(a, b) for a, b in pairs))
            max_abs_diff = max([max_abs_diff, *(_max_abs_diff(a, b) for a, b in pairs)])
        mismatched_samples += wrong_bytes > 0
        mismatched_bytes += wrong_bytes

        found: Divergence | None = None
        if trace is not None:
            shown = trace.layers if trace.layers is not None else ()
            right = [golden.layers[layer.tensor_index][sample] for layer in layers]
            for number, (a, b) in enumerate(_pairs(right, shown)):
                if _wrong_bytes(a, b):
                    wrong_samples[number] += 1
                    layer = layers[number]
                    found = found or _divergence(sample, layer.op_index, layer.op, layer.tensor, a, b)
        if first is None:
            first = found or _output_divergence(sample, expected, given, graph)
    return Verdict(
        samples=golden.samples,
        mismatched_samples=mismatched_samples,
        mismatched_bytes=mismatched_bytes,
        max_abs_diff=max_abs_diff,
        layers_compared=len(layers) if layer_samples else 0,
        layer_mismatches=sum(1 for wrong in wrong_samples if wrong),
        layer_samples=layer_samples,
        first_divergence=first,
        wrong_samples=tuple(wrong_samples),
    )


def _output_divergence(
    sample: int, expected: Sequence[Array], given: Sequence[Sequence[Array]], graph: Graph
) -> Divergence | None:
    producers = graph.producers()
    for outputs in given:
        for index, a, b in zip(graph.outputs, expected, outputs, strict=True):
            if _wrong_bytes(a, b):
                op = producers.get(index)
                name = graph.tensor(index).name
                return _divergence(sample, op.index if op else -1, op.name if op else "INPUT", name, a, b)
    return None


def _pairs(expected: Sequence[Array], actual: Sequence[Array]) -> list[tuple[Array, Array]]:
    """Expected and actual arrays side by side, flat."""
    if len(expected) != len(actual):
        raise ValueError(f"{len(actual)} arrays were answered, {len(expected)} were expected")
    for a, b in zip(expected, actual, strict=True):
        if a.dtype != b.dtype or a.size != b.size:
            raise ValueError(f"{b.dtype} {b.shape} was answered, {a.dtype} {a.shape} was expected")
    return [(a.reshape(-1), b.reshape(-1)) for a, b in zip(expected, actual, strict=True)]


def _bytes(array: Array) -> Array:
    """[elements, bytes an element]"""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, -1) if flat.size else np.zeros((0, 1), np.uint8)


def _wrong_bytes(expected: Array, actual: Array) -> int:
    return int(np.count_nonzero(_bytes(expected) != _bytes(actual)))


def _max_abs_diff(expected: Array, actual: Array) -> float:
    """In codes where the arrays hold integers; infinite where a NaN or an infinity stands against a number."""
    wrong = np.any(_bytes(expected) != _bytes(actual), axis=1)
    if not wrong.any():
        return 0.0
    a, b = expected.reshape(-1)[wrong], actual.reshape(-1)[wrong]
    if a.dtype.kind in "biu":
        return float(max(abs(int(x) - int(y)) for x, y in zip(a, b, strict=True)))
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.max(np.where(np.isnan(differences), np.inf, differences)))


def _divergence(sample: int, op_index: int, op: str, tensor: str, expected: Array, actual: Array) -> Divergence:
    index = int(np.flatnonzero(np.any(_bytes(expected) != _bytes(actual), axis=1))[0])
    return Divergence(
        sample, op_index, op, tensor, index, _number(expected.reshape(-1)[index]), _number(actual.reshape(-1)[index])
    )


def _number(value: Any) -> int | float:
    return float(value) if np.asarray(value).dtype.kind == "f" else int(value)


def cross_check(golden: Golden, model: QuantizedModel, graph: Graph) -> CrossCheck:
    """Run LiteRT on the same vectors. It is reported, never required to be equal.

    On the first sample that differs all tensors of both interpreters are compared to name the op. LiteRT overwrites
    the input of some ops (ADD) with their output even when asked to keep all tensors; such an input is left out, so
    the op named can be the one behind it. Models with state are not traced.
    """
    run, reason = interpreters.litert(model, golden.vectors.inputs)
    if run is None:
        return CrossCheck(reason=reason)
    wrong = [
        sample
        for sample in range(golden.samples)
        if any(_wrong_bytes(a[sample], b[sample]) for a, b in zip(golden.outputs, run.outputs, strict=True))
    ]
    return CrossCheck(
        package=run.package,
        version=run.version,
        kernels=run.kernels,
        mismatched_samples=len(wrong),
        max_abs_diff=max(_max_abs_diff(a, b) for a, b in zip(golden.outputs, run.outputs, strict=True)),
        first_difference=_first_difference(golden, model, graph, wrong[0]) if wrong else None,
    )


def _first_difference(golden: Golden, model: QuantizedModel, graph: Graph, sample: int) -> OpDifference | None:
    if is_stateful(graph) or not interpreters.has_tflm():
        return None
    inputs = [array[sample : sample + 1] for array in golden.vectors.inputs]
    layers = all_layers(graph)
    indices = [layer.tensor_index for layer in layers]
    ours = interpreters.tflm(model, inputs, indices, 1).layers
    run, _ = interpreters.litert(model, inputs, indices, 1)
    if run is None:
        return None
    theirs = run.layers
    overwritten = {
        op.inputs[0]
        for op in graph.ops
        if op.inputs and op.inputs[0] in theirs and _same_bytes(theirs[op.inputs[0]], theirs[op.outputs[0]])
    }
    for layer in layers:
        a, b = ours[layer.tensor_index], theirs[layer.tensor_index]
        comparable = layer.tensor_index not in overwritten and a.dtype == b.dtype and a.size == b.size
        if comparable and _wrong_bytes(a, b):
            return OpDifference(sample, layer.op_index, layer.op, layer.tensor, _max_abs_diff(a, b))
    return None


def _same_bytes(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()


def as_json(
    *,
    model: QuantizedModel,
    board: str,
    export: Export,
    golden: Golden,
    verdict: Verdict,
    litert: CrossCheck,
    image: Image,
    instructions: Sequence[int] | None,
    stack_bytes: int | None,
) -> dict[str, Any]:
    """The object that `tensorflash verify --json` prints. A NaN or infinity is its name as a string.

    Args:    instructions: what each inference took, or None where the board cannot count them.
    """
    first = verdict.first_divergence
    return {
        "model": {"path": str(model.path), "sha256": model.sha256},
        "board": board,
        "runtime": export.runtime,
        "samples": verdict.samples,
        "mismatched_samples": verdict.mismatched_samples,
        "mismatched_bytes": verdict.mismatched_bytes,
        "max_abs_diff": _json_difference(verdict.max_abs_diff),
        "first_divergence": None
        if first is None
        else {
            "sample": first.sample,
            "op_index": first.op_index,
            "op": first.op,
            "tensor": first.tensor,
            "index": first.index,
            "expected": _json_number(first.expected),
            "actual": _json_number(first.actual),
        },
        "layers_compared": verdict.layers_compared,
        "layer_mismatches": verdict.layer_mismatches,
        "layer_samples": verdict.layer_samples,
        "layers_hidden": [dataclasses.asdict(layer) for layer in export.hidden],
        "golden": golden.source,
        "litert": _litert_json(litert),
        "instructions": None
        if not instructions
        else {
            "median": int(statistics.median_low(instructions)),
            "min": min(instructions),
            "max": max(instructions),
        },
        "macs": export.macs,
        "flash_bytes": image.flash_bytes,
        "ram_bytes": image.ram_bytes,
        "arena_bytes": export.arena_bytes,
        "arenas": export.arenas,
        "stack_bytes": stack_bytes,
        "weights_bytes": export.weights_bytes,
        "model_flash_bytes": image.model_flash_bytes,
        "model_ram_bytes": image.model_ram_bytes,
        "notes": list(export.notes),
    }


def _litert_json(check: CrossCheck) -> Mapping[str, Any]:
    first = check.first_difference
    return {
        "package": check.package,
        "version": check.version,
        "kernels": check.kernels,
        "mismatched_samples": check.mismatched_samples,
        "max_abs_diff": None if check.max_abs_diff is None else _json_difference(check.max_abs_diff),
        "first_difference": None
        if first is None
        else {
            "sample": first.sample,
            "op_index": first.op_index,
            "op": first.op,
            "tensor": first.tensor,
            "max_abs_diff": _json_difference(first.max_abs_diff),
        },
        "reason": check.reason,
    }


def _json_number(value: int | float) -> int | float | str:
    return value if math.isfinite(value) else str(value)


def _json_difference(value: float) -> int | float:
    """An infinite difference is the largest number that JSON has."""
    finite = min(value, sys.float_info.max)
    return int(finite) if finite == int(finite) and finite < 2**53 else finite
