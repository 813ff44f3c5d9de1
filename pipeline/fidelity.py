"""Is what training simulated what the converter wrote? The quantizers of a prepared model against a .tflite file.

The converter ignores what it cannot carry without a word: a quantizer would have been trained for another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline import comparison
from pipeline.model import Array
from pipeline.qat import Kernel, Prepared, Range
from pipeline.tflite import Graph, Tensor

_DEAD = 1e-6  # of the largest scale: a channel that adds nothing
_ROUNDED = 0.501  # steps from a weight to its code: halfway, the order of float multiplications decides between two
_SAME = 1e-4  # relative: scales go through float32 and the factors of batch normalizations


@dataclass(frozen=True)
class Difference:
    """What the converter made otherwise. asked: by a quantizer of the recipe."""

    layer: str
    asked: bool
    what: str


def differences(prepared: Prepared, graph: Graph) -> tuple[Difference, ...]:
    """Every quantizer that the model does not have. Of layers that are not found, only those that were asked for."""
    names = [trained.name for trained in prepared.layers]
    found = [
        Difference(kernel.layer, kernel.asked, what) for kernel in prepared.kernels if (what := _kernel(kernel, graph))
    ]
    found += [
        Difference(learnt.layer if learnt.layer in names else "the model's input", True, what)
        for learnt in prepared.ranges
        if learnt.asked and (what := _range(learnt, prepared, graph))
    ]
    return tuple(found)


def _kernel(kernel: Kernel, graph: Graph) -> str:
    """What is different about weights; "" if nothing is."""
    tensor = next((t for t in _weights(graph) if kernel.layer in comparison.layers_in(t.name)), None)
    if tensor is None or tensor.data is None:
        return "no op with its weights is in the model" if kernel.asked else ""
    settings = kernel.quantizer.settings
    dtype = f"int{settings.bits}"
    if tensor.dtype != dtype:
        return f"weights of type {dtype} became {tensor.dtype}"
    if not settings.per_channel and tensor.scales.max() > tensor.scales.min() * (1 + _SAME):
        return f"one scale for all weights became {tensor.scales.size} different ones"
    steps, axis = kernel.steps(), -1 if kernel.kind == "DepthwiseConv2D" else 0
    if settings.per_channel and tensor.scales.size != steps.shape[axis]:
        return f"scales for each of {steps.shape[axis]} channels became {tensor.scales.size}"
    changed = _changed_codes(steps, np.asarray(tensor.data, np.int32), axis, tensor.scales)
    return f"{changed:,} of {tensor.elements:,} weights have other codes" if changed else ""


def _changed_codes(simulated: Array, written: Array, axis: int, scales: Array) -> int:
    """How many codes are not what weights round to. A batch normalization with a negative factor turns all codes of a
    channel around, and with a factor of 0 makes them meaningless.

    simulated: weights in steps of their scale. axis: of the channels.
    """
    if simulated.size != written.size:
        return max(simulated.size, written.size)
    ours, theirs = (np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1) for codes in (simulated, written))
    changed = np.minimum(*((np.abs(ours - sign * theirs) > _ROUNDED).sum(axis=1) for sign in (1, -1)))
    return int(changed[np.broadcast_to(scales > _DEAD * scales.max(), changed.shape)].sum())


def _range(learnt: Range, prepared: Prepared, graph: Graph) -> str:
    """What is different about a range; "" if nothing is."""
    scale = (learnt.high - learnt.low) / 255
    tensors = list(_outputs(learnt.layer, prepared, graph))
    if scale <= 0 or any(_has_range(tensor, scale, learnt.low) for tensor in tensors):
        return ""
    became = "; ".join(f"{_low(t):.4g}..{_low(t) + 255 * t.scale:.4g} of {t.name}" for t in tensors)
    return f"the range {learnt.low:.4g}..{learnt.high:.4g} became {became or 'that of another layer'}"


def _has_range(tensor: Tensor, scale: float, low: float) -> bool:
    zero_point = -128 - low / scale
    return abs(tensor.scale / scale - 1) < _SAME and abs(tensor.zero_point - zero_point) < 0.5 + 256 * _SAME


def _low(tensor: Tensor) -> float:
    return tensor.scale * (-128 - tensor.zero_point)


def _weights(graph: Graph) -> Iterator[Tensor]:
    """Quantized constants that ops multiply with."""
    for op in graph.ops:
        if len(op.inputs) > 1 and op.inputs[1] >= 0 and graph.tensor(op.inputs[1]).scales.size:
            yield graph.tensor(op.inputs[1])


def _outputs(layer: str, prepared: Prepared, graph: Graph) -> Iterator[Tensor]:
    """What a layer of the prepared model gives, before and after its activation; of the first the model's input."""
    names = [trained.name for trained in prepared.layers]
    for op in graph.ops:
        tensor = graph.tensor(op.outputs[0])
        is_last = tensor.index in graph.outputs and layer == names[-1]
        is_input = layer not in names and op.name == "QUANTIZE" and op.inputs[0] in graph.inputs
        if tensor.scales.size and (layer in comparison.layers_in(tensor.name) or is_last or is_input):
            yield tensor
    if layer not in names:
        yield from (graph.tensor(index) for index in graph.inputs if graph.tensor(index).scales.size)
