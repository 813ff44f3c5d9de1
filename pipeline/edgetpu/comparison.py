"""Answers of an Edge TPU against the host's, within stated bounds.

The Edge TPU is not bit-exact with the CPU's kernels, so codes may differ: a histogram says by how many LSBs (steps of
the output's scale), and what matters is measured: the top class, and the task's accuracy. Between two runs on an Edge
TPU nothing may differ at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.model import Array
from pipeline.tflite import Graph


@dataclass(frozen=True)
class Bounds:
    """What is asked of an Edge TPU. All but lsb are fractions, 0..1.

    lsb, within_lsb:   at least this part of all output codes is within so many LSBs of the host's.
    top1_agreement:    at least this part of the samples has a top class that is one of the host's.
    accuracy_drop:     the accuracy on the test set is at most so much below the host's.

    The defaults are a judgement: room for another rounding in each layer, none for a wrong layer.
    """

    lsb: int = 2
    within_lsb: float = 0.95
    top1_agreement: float = 0.98
    accuracy_drop: float = 0.01


def for_model(graph: Graph, bounds: Bounds | None = None) -> Bounds:
    """The bounds with `lsb` at the output: a final SOFTMAX or LOGISTIC turns a small difference into a larger one.

    Both have a slope of at most 1/4, so n steps before them are at most n * input scale / 4 / output scale behind them.
    """
    bounds = bounds or Bounds()
    producer = graph.producers().get(graph.outputs[0])
    if producer is None or producer.name not in ("SOFTMAX", "LOGISTIC"):
        return bounds
    before, after = graph.tensor(producer.inputs[0]), graph.tensor(producer.outputs[0])
    if not before.scale or not after.scale:
        return bounds
    slope = float(producer.options.get("beta", 1.0)) / 4
    return replace(bounds, lsb=bounds.lsb + math.ceil(bounds.lsb * before.scale * slope / after.scale))


@dataclass(frozen=True)
class Comparison:
    """What was found. histogram: absolute difference in LSBs -> codes. top1: of samples, None where there is one code
    an output. problems: a sentence for each bound that is not kept."""

    samples: int
    codes: int
    histogram: dict[int, int]
    top1: float | None
    accuracy: tuple[int, int, int] | None  # right on the device, right on the host, of so many
    bounds: Bounds
    problems: tuple[str, ...]

    @property
    def max_lsb(self) -> int:
        return max(self.histogram, default=0)

    def as_json(self) -> dict[str, Any]:
        """The object in a report."""
        return {
            "samples": self.samples,
            "codes": self.codes,
            "lsb_histogram": {str(key): count for key, count in sorted(self.histogram.items())},
            "max_lsb": self.max_lsb,
            "top1_agreement": self.top1,
            "accuracy": None
            if self.accuracy is None
            else {"correct": self.accuracy[0], "host_correct": self.accuracy[1], "total": self.accuracy[2]},
            "bounds": {
                "lsb": self.bounds.lsb,
                "within_lsb": self.bounds.within_lsb,
                "top1_agreement": self.bounds.top1_agreement,
                "accuracy_drop": self.bounds.accuracy_drop,
            },
            "within": not self.problems,
            "problems": list(self.problems),
        }


def compare(
    host: Sequence[Array],
    device: Sequence[Array],
    *,
    classes: Array | None = None,
    bounds: Bounds | None = None,
) -> Comparison:
    """Compare integer outputs, one array [samples, *shape] a model output; the first one holds the classes' scores.

    Args:    classes: int [samples], the true ones, where they are known: then the accuracy is compared, too.
    Raises:  DataError: the arrays do not fit each other, or hold no codes.
    """
    bounds = bounds or Bounds()
    if len(host) != len(device) or any(h.shape != d.shape or h.dtype != d.dtype for h, d in zip(host, device)):  # noqa: B905
        raise DataError("the device's outputs have other shapes or types than the host's.", hint="deploy again.")
    if not host or any(array.dtype.kind not in "iu" for array in host):
        raise DataError("only integer outputs can be compared by LSBs.", hint="convert with int8 outputs.")
    histogram: dict[int, int] = {}
    for mine, theirs in zip(host, device, strict=True):
        values, counts = np.unique(np.abs(mine.astype(np.int64) - theirs.astype(np.int64)), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            histogram[value] = histogram.get(value, 0) + count
    samples, codes = len(host[0]), sum(array.size for array in host)
    scores, answers = host[0].reshape(samples, -1), device[0].reshape(samples, -1)
    top1 = _top1(scores, answers) if scores.shape[1] > 1 else None
    accuracy = None
    if classes is not None and scores.shape[1] > 1:
        right = [int(np.sum(np.argmax(array, axis=1) == classes)) for array in (answers, scores)]
        accuracy = (right[0], right[1], samples)
    near = sum(count for value, count in histogram.items() if value <= bounds.lsb)
    problems = []
    if near < bounds.within_lsb * codes:
        problems.append(
            f"{100 * near / codes:.2f} % of the output codes are within {bounds.lsb} LSB of the host's, at least "
            f"{100 * bounds.within_lsb:g} % are asked; the largest difference is {max(histogram)} LSB."
        )
    if top1 is not None and top1 < bounds.top1_agreement:
        problems.append(
            f"{100 * top1:.2f} % of the samples have the host's top class, at least "
            f"{100 * bounds.top1_agreement:g} % are asked."
        )
    if accuracy is not None and (accuracy[1] - accuracy[0]) > bounds.accuracy_drop * samples:
        problems.append(
            f"{accuracy[0]} of {samples} test samples are right, {accuracy[1]} on the host: a drop of "
            f"{100 * (accuracy[1] - accuracy[0]) / samples:.2f} percentage points, at most "
            f"{100 * bounds.accuracy_drop:g} are allowed."
        )
    return Comparison(samples, codes, histogram, top1, accuracy, bounds, tuple(problems))


def _top1(host: Array, device: Array) -> float:
    """The fraction of samples whose top class is one of those that share the host's top score."""
    chosen = np.argmax(device, axis=1)
    best = host.max(axis=1)
    return float(np.mean(host[np.arange(len(host)), chosen] == best))
