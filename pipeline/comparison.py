"""How far models are from each other: accuracies, changed answers, and where int8 leaves its simulation.

Intervals are of 95 %. Everything is counted on the same test set, so that differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.model import Array
from pipeline.tflite import Graph

Z = 1.959963984540054  # the normal distribution's 97.5th percentile
AGREEMENT = (
    0.99  # of the classes that the simulation and the int8 model answer; below it, training was for another model
)
NOTABLE_LSB = 2.0


@dataclass(frozen=True)
class LayerGap:
    """How far an int8 layer is from its simulation, in steps of its own output scale: largest and mean magnitude."""

    layer: str
    op_index: int
    op: str
    max_lsb: float
    mean_lsb: float


def accuracy_interval(correct: int, samples: int) -> tuple[float, float]:
    """Fractions between which the accuracy lies.

    Source:  E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not 0 <= correct <= samples or samples == 0:
        raise ValueError(f"{correct} of {samples}")
    share, z2 = correct / samples, Z * Z
    middle = share + z2 / (2 * samples)
    half = Z * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples * samples))
    low, high = (middle - half) / (1 + z2 / samples), (middle + half) / (1 + z2 / samples)
    return (0.0 if correct == 0 else low), (1.0 if correct == samples else high)


def paired(before: Sequence[int], after: Sequence[int], classes: Sequence[int]) -> dict[str, Any]:
    """Two models on one test set: how the accuracy changes from the first to the second.

    Args:    before, after: answered classes. classes: the true ones.
    Returns: changed: answers that differ; gained, lost: right only after, only before; difference and interval as
             fractions of the samples.
    Source:  Agresti and Min, Simple improved confidence intervals for comparing matched proportions, 2005: half a
             sample added to each of the four counts, then Wald.
    """
    a, b, truth = (np.asarray(values, np.int64) for values in (before, after, classes))
    samples = len(truth)
    gained, lost = int(((a != truth) & (b == truth)).sum()), int(((a == truth) & (b != truth)).sum())
    total, up, down = samples + 2, gained + 0.5, lost + 0.5
    middle = (up - down) / total
    half = Z * math.sqrt(max(up + down - (up - down) ** 2 / total, 0.0)) / total
    return {
        "changed": int((a != b).sum()),
        "gained": gained,
        "lost": lost,
        "difference": (gained - lost) / samples,
        "interval": [max(middle - half, -1.0), min(middle + half, 1.0)],
    }


def agreement_warnings(agreement: Mapping[str, int], gaps: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence if the int8 model is another one than the simulation that was trained.

    Args:    agreement: samples, and of them those with the same class. gaps: LayerGaps as mappings.
    """
    if agreement["same"] >= AGREEMENT * agreement["samples"]:
        return []
    first = next((gap for gap in gaps if gap["max_lsb"] >= NOTABLE_LSB), None)
    where = "" if first is None else f"; the first layer that is {NOTABLE_LSB:g} steps off or more is {first['layer']}"
    return [
        f"the int8 model answers {agreement['same']:,} of {agreement['samples']:,} test samples as its simulation in "
        f"training did{where}. Other layers around it, or leaving it out of training (exclude), may help."
    ]


def layer_gaps(graph: Graph, codes: Mapping[int, Array], simulated: Mapping[str, Array]) -> tuple[LayerGap, ...]:
    """Compare int8 layers with the float ones that simulate them; those without a counterpart are left out.

    A converted tensor's name holds the names of the layers that were merged into its op; the last of them counts.

    Args:    codes: [samples, *shape] by tensor index. simulated: float32 [samples or more, ...] by layer, in the
             model's order.
    """
    order = {name: position for position, name in enumerate(simulated)}
    found: dict[str, LayerGap] = {}
    for op in graph.ops:
        if not op.outputs:
            continue
        tensor = graph.tensor(op.outputs[0])
        named = [name for name in layers_in(tensor.name) if name in order]
        if tensor.index in graph.outputs and not named:
            named = list(order)[-1:]
        if not named or tensor.index not in codes or not tensor.scales.size:
            continue
        layer = max(named, key=lambda name: order[name])
        whole = codes[tensor.index]
        wanted = simulated[layer][: len(whole)]
        if wanted.size != whole.size:
            continue
        scale = float(tensor.scales[0])
        real = scale * (whole.astype(np.float64) - float(tensor.zero_points[0]))
        gap = np.abs(real.reshape(len(whole), -1) - wanted.reshape(len(whole), -1)) / scale
        found[layer] = LayerGap(layer, op.index, op.name, float(gap.max()), float(gap.mean()))  # the layer's last op
    return tuple(found.values())


def layers_in(name: str) -> list[str]:
    """Whom a converted tensor is named after: `model/quant_relu/Relu;model/quant_conv/Conv2D` -> relu, conv."""
    parts = [part.split("/") for part in name.split(";")]
    return [place[1].removeprefix("quant_") for place in parts if len(place) > 1]
