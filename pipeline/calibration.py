"""Whether the data that int8 ranges were learnt from is like the data that the model meets.

What is merely suspicious becomes a warning, a sentence that says what to do; what makes a model useless is an error,
here if it shows in a layer's output, and in pipeline.data if it shows in the data (no samples, NaN, constant data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import comparison
from pipeline.data import Samples
from pipeline.errors import DataError
from pipeline.model import Array, TensorSpec
from pipeline.tflite import Graph

FEW_SAMPLES = 50
CLIPPED = 1e-3  # of the test set's values, beyond the range of int8 codes by more than a code
_WITH_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # axis of the output channels
_NAMED = 5


def describe(representative: Array, train: Samples | None) -> dict[str, Any]:
    """Count, range and classes of representative samples.

    classes: how many are of each class, known where every one is also a training sample; else None.
    """
    classes = None
    if train is not None and train.x.shape[1:] == representative.shape[1:]:
        known = {sample.tobytes(): int(answer) for sample, answer in zip(train.x, train.y, strict=True)}
        found = [known.get(sample.tobytes()) for sample in representative.astype(train.x.dtype)]
        if None not in found:
            classes = np.bincount([f for f in found if f is not None], minlength=int(train.y.max()) + 1).tolist()
    return {
        "samples": len(representative),
        "min": float(representative.min()),
        "max": float(representative.max()),
        "classes": classes,
    }


def balance_warnings(described: dict[str, Any]) -> list[str]:
    """Sentences on representative data with few samples, or without some class."""
    found = []
    if described["samples"] < FEW_SAMPLES:
        found.append(f"only {described['samples']} representative samples: some 200 give steadier ranges.")
    missing = [number for number, count in enumerate(described["classes"] or ()) if count == 0]
    if missing:
        found.append(
            f"no representative sample is of class {_listed(missing)}: take some of every class, or ranges that only "
            "they need are missing."
        )
    return found


def require_exercised(ranges: Sequence[Mapping[str, Any]]) -> None:
    """Refuse representative data that never reach a layer which the test set does reach.

    Args:    ranges: of pipeline.sensitivity.ranges.
    """
    idle = [layer for layer in ranges if layer["low"] == layer["high"] and layer["test_low"] != layer["test_high"]]
    if idle:
        raise DataError(
            "\n".join(
                f"layer {layer['layer']}: its output is {layer['low']:g} for every representative sample, but "
                f"{layer['test_low']:.4g} to {layer['test_high']:.4g} on the test set; no int8 range can be learnt."
                for layer in idle
            ),
            hint="representative data that exercise every branch of the model: some samples of every class and kind.",
        )


def range_warnings(ranges: Sequence[Mapping[str, Any]], learnt_from: str = "the representative data") -> list[str]:
    """Sentences on layers whose output is never anything else than one number, or leaves the range learnt for it.

    Args:    ranges: of pipeline.sensitivity.ranges or pipeline.qat.ranges. learnt_from: with qat "training".
    """
    found = [
        f"layer {layer['layer']}: its output is {layer['test_low']:g} for every test sample: a dead layer, to be "
        "trained again or left out."
        for layer in ranges
        if layer["test_low"] == layer["test_high"]
    ]
    clipped = sorted(
        (layer for layer in ranges if layer["clipped"] > CLIPPED + 2 * layer["usual"]),
        key=lambda layer: -layer["clipped"],
    )
    for layer in clipped[:_NAMED]:
        low, high = min(layer["low"], 0.0), max(layer["high"], 0.0)
        over = max(layer["test_high"] - high, low - layer["test_low"]) / (high - low)
        found.append(
            f"layer {layer['layer']}: {100 * layer['clipped']:.1f} % of its values on the test set are clipped: they "
            f"run from {layer['test_low']:.4g} to {layer['test_high']:.4g}, {100 * over:.0f} % of the range beyond "
            f"that of {learnt_from} ({layer['low']:.4g} to {layer['high']:.4g}). Take data that cover them."
        )
    if len(clipped) > _NAMED:
        found.append(f"{len(clipped) - _NAMED} more layers have values beyond their range (report.json).")
    return found


def warnings(graph: Graph, spec: TensorSpec, x: Array) -> list[str]:
    """Sentences on inputs beyond the calibrated range, and on channels whose weights are all zero.

    Args:    spec: of the model's input. x: the test set, float32 [samples, ...].
    """
    found = []
    if spec.scale > 0:
        limits = np.iinfo(spec.dtype)
        low, high = (spec.scale * (code - spec.zero_point) for code in (limits.min, limits.max))
        outside = float(np.mean((x < low - spec.scale) | (x > high + spec.scale)))
        if outside > CLIPPED:
            found.append(
                f"{100 * outside:.1f} % of the test set's values lie outside of {low:.4g} to {high:.4g}, the "
                "range of the representative data, and are clipped: take data that covers them, in the same units."
            )
    for op in graph.ops:
        if op.name in _WITH_CHANNELS and graph.tensor(op.inputs[1]).data is not None:
            weights = np.asarray(graph.tensor(op.inputs[1]).data)
            axes = tuple(axis for axis in range(weights.ndim) if axis != _WITH_CHANNELS[op.name])
            dead = np.flatnonzero(~weights.any(axis=axes)).tolist()
            if dead:
                layers = "".join(f"{name}, " for name in comparison.layers_in(graph.tensor(op.outputs[0]).name))
                found.append(
                    f"{layers}{op.where()}: {len(dead)} of {weights.shape[_WITH_CHANNELS[op.name]]} channels have only "
                    f"zeros for weights ({_listed(dead)}): dead channels, which may be left out of the model."
                )
    return found


def _listed(numbers: list[int]) -> str:
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return ", ".join(map(str, numbers[:_NAMED])) + more
