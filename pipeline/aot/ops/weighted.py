"""What CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED share: weights, bias and requantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.aot.requantization import checked_multiplier, fused_range, prove_no_overflow
from pipeline.aot.steps import Constant, ParamValue, Ref, Step, quantized_input, quantized_output, refuse
from pipeline.fixedpoint import Multiplier
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor


@dataclass(frozen=True, eq=False)
class Operands:
    """The tensors of a layer with weights, each checked. bias is None where there is none."""

    source: Tensor
    weights: Tensor
    bias: Tensor | None
    output: Tensor

    @property
    def packed(self) -> bool:
        """Whether the weights are int4."""
        return self.weights.dtype == "int4"


def operands(graph: Graph, op: Op, channel_axis: int, rank: int, weight_types: tuple[str, ...] = ("int8",)) -> Operands:
    """The operands of an int8 layer whose weights have their output channels on channel_axis.

    Raises:  UnsupportedError: a tensor is missing, or of a type, shape or quantization that the kernels cannot take.
    """
    if len(op.inputs) not in (2, 3):
        raise refuse(op, f"{len(op.inputs)} inputs; input, weights and perhaps a bias are needed.")
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    if op.inputs[1] < 0:
        raise refuse(op, "it has no weights.")
    weights = graph.tensor(op.inputs[1])
    if weights.dtype not in weight_types:
        takes = " or ".join(weight_types)
        raise refuse(op, f"its weights ({weights.name}) are {weights.dtype}; the aot kernel takes {takes}.")
    if weights.data is None:
        raise refuse(op, f"its weights ({weights.name}) are computed; the aot kernel takes constants.")
    if len(weights.shape) != rank or not all(weights.shape):
        raise refuse(op, f"weights of shape {list(weights.shape)}; {rank} dimensions of at least 1 are needed.")
    channels = weights.shape[channel_axis]
    if weights.scales.size not in (1, channels) or not np.all(weights.scales > 0):
        raise refuse(op, f"weights with {weights.scales.size} scales; 1 or {channels} are needed, all above 0.")
    if weights.scales.size > 1 and weights.quantized_dimension != channel_axis:
        raise refuse(op, f"weights quantized along dimension {weights.quantized_dimension}, not {channel_axis}.")
    if np.any(weights.zero_points != 0):
        raise refuse(op, "weights with a zero point other than 0.")
    return Operands(source, weights, _bias(graph, op, channels), output)


def _bias(graph: Graph, op: Op, channels: int) -> Tensor | None:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return None
    bias = graph.tensor(op.inputs[2])
    if bias.dtype != "int32":
        raise refuse(op, f"its bias ({bias.name}) is {bias.dtype}; the aot kernel takes int32.")
    if bias.data is None:
        raise refuse(op, f"its bias ({bias.name}) is computed; the aot kernel takes constants.")
    if bias.elements != channels:
        raise refuse(op, f"a bias of {bias.elements} values for {channels} output channels.")
    return bias


def with_packed_weights(step: Step) -> Step:
    """The step of a portable kernel on int8 weights, for its twin that takes them as int4, two a byte."""
    constants = (replace(c, data=packed_int4(c.data)) if c.role == "weights" else c for c in step.constants)
    return replace(
        step,
        kernel=f"{step.kernel}_w4",
        params={f"layer.{name}": value for name, value in step.params.items()},
        constants=tuple(constants),
    )


def packed_int4(codes: Array) -> Array:
    """Codes of -8..7 two a byte, as int8: the even index in the low nibble, as TFLite packs int4."""
    flat = codes.reshape(-1).astype(np.int8)
    pairs = np.append(flat, np.zeros(flat.size % 2, np.int8)).view(np.uint8) & 15
    packed: Array = (pairs[0::2] | pairs[1::2] << 4).view(np.int8)
    return packed


def scale_multipliers(op: Op, layer: Operands) -> tuple[Multiplier, ...]:
    """Input scale * weight scale / output scale for each scale of the weights, in double precision.

    Source:  TFLite PopulateConvolutionQuantizationParams, tensorflow/lite/kernels/kernel_util.cc.
    """
    return tuple(
        checked_multiplier(op, layer.source.scale * float(scale) / layer.output.scale) for scale in layer.weights.scales
    )


def requantization(
    op: Op, layer: Operands, channel_axis: int, multipliers: tuple[Multiplier, ...]
) -> tuple[Mapping[str, ParamValue], tuple[Constant, ...]]:
    """The last parameters of these kernels and the arrays they point to, once it is proved that nothing overflows."""
    weights, bias = layer.weights.data, None if layer.bias is None else layer.bias.data
    if weights is None:
        raise ValueError("the operands were not checked")
    prove_no_overflow(op, magnitudes(layer, channel_axis), multipliers, layer.output.zero_point)
    low, high = fused_range(op, layer.output)
    constants = [
        Constant("weights", weights, is_weight=True),
        Constant("multipliers", np.array([m.mantissa for m in multipliers], np.int32)),
        Constant("shifts", np.array([m.shift for m in multipliers], np.int8)),
    ]
    if bias is not None:
        constants.append(Constant("bias", bias, is_weight=True))
    return {
        "input_offset": -layer.source.zero_point,
        "output_offset": layer.output.zero_point,
        "activation_min": low,
        "activation_max": high,
        "per_channel": int(len(multipliers) > 1),
        "weights": Ref("weights"),
        "bias": None if bias is None else Ref("bias"),
        "multipliers": Ref("multipliers"),
        "shifts": Ref("shifts"),
    }, tuple(constants)


def magnitudes(layer: Operands, channel_axis: int) -> list[int]:
    """For each output channel, |bias| + sum |weight| * the largest |input code - zero point|."""
    weights, bias = layer.weights.data, None if layer.bias is None else layer.bias.data
    if weights is None:
        raise ValueError("the operands were not checked")
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    largest = max(127 - layer.source.zero_point, layer.source.zero_point + 128)
    totals = np.abs(weights.astype(np.int64)).sum(axis=others) * largest
    if bias is not None:
        totals = totals + np.abs(bias.astype(np.int64)).reshape(-1)
    return [int(m) for m in totals]
