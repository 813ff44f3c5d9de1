"""What CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED share: weights, bias and requantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.aot.requantization import checked_multiplier, fused_range, prove_no_overflow, prove_no_wide_overflow
from pipeline.aot.steps import Constant, ParamValue, Ref, Step, code_type, quantized_input, quantized_output, refuse
from pipeline.fixedpoint import Multiplier, upper_half
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor

_INT32 = 2  # in the schema's TensorType


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

    @property
    def wide(self) -> bool:
        """Whether the codes are int16."""
        return self.source.dtype == "int16"

    def rounds_twice(self, op: Op) -> bool:
        """Whether TFLM takes the sums of this int16 layer as int32; without a bias an option of the op says so."""
        if self.bias is None:
            return bool(op.options.get("quantized_bias_type") == _INT32)
        return self.bias.dtype == "int32"


def operands(
    graph: Graph,
    op: Op,
    channel_axis: int,
    rank: int,
    weight_types: tuple[str, ...] = ("int8",),
    wide_bias_types: tuple[str, ...] = (),
) -> Operands:
    """The operands of a layer whose weights have their output channels on channel_axis.

    Args:    weight_types: of an int8 layer; int16 codes go with int8 weights. wide_bias_types: of an int16 layer; none:
             the op takes int8 only.

    Raises:  UnsupportedError: a tensor is missing, or of a type, shape or quantization that the kernels cannot take.
    """
    if len(op.inputs) not in (2, 3):
        raise refuse(op, f"{len(op.inputs)} inputs; input, weights and perhaps a bias are needed.")
    dtype = code_type(graph, op) if wide_bias_types else "int8"
    source, output = quantized_input(graph, op, 0, dtype), quantized_output(graph, op, 0, dtype)
    if op.inputs[1] < 0:
        raise refuse(op, "it has no weights.")
    weights = graph.tensor(op.inputs[1])
    if dtype == "int16":
        weight_types = ("int8",)
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
    bias_types = wide_bias_types if dtype == "int16" else ("int32",)
    return Operands(source, weights, _bias(graph, op, channels, bias_types), output)


def _bias(graph: Graph, op: Op, channels: int, types: tuple[str, ...]) -> Tensor | None:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return None
    bias = graph.tensor(op.inputs[2])
    if bias.dtype not in types:
        raise refuse(op, f"its bias ({bias.name}) is {bias.dtype}; the aot kernel takes {' or '.join(types)}.")
    if bias.data is None:
        raise refuse(op, f"its bias ({bias.name}) is computed; the aot kernel takes constants.")
    if bias.elements != channels:
        raise refuse(op, f"a bias of {bias.elements} values for {channels} output channels.")
    return bias


def with_packed_weights(step: Step) -> Step:
    """The step of a portable kernel on int8 weights, for its twin that takes them as int4, two a byte."""
    constants = (replace(c, data=packed_int4(c.data)) if c.role == "weights" else c for c in step.constants)
    return replace(twin(step, "w4"), constants=tuple(constants))


def twin(step: Step, suffix: str) -> Step:
    """The step of a portable kernel for one whose parameters are the portable one's, as their `layer`."""
    params = {f"layer.{name}": value for name, value in step.params.items()}
    return replace(step, kernel=f"{step.kernel}_{suffix}", params=params)


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
    """The last parameters of these kernels and the arrays they point to, once it is proved that nothing overflows.

    Of int16 codes TFLM rounds the sum twice where the bias is int32, or would be if there were one; else once, with
    16 bits of the multiplier (fixedpoint.requantize_wide).
    """
    weights, bias = layer.weights.data, None if layer.bias is None else layer.bias.data
    if weights is None:
        raise ValueError("the operands were not checked")
    largest = magnitudes(layer, channel_axis)
    mantissas = [m.mantissa for m in multipliers]
    kind: dict[str, ParamValue]
    if not layer.wide:
        kind = {"input_offset": -layer.source.zero_point, "output_offset": layer.output.zero_point}
        prove_no_overflow(op, largest, multipliers, layer.output.zero_point)
    elif layer.rounds_twice(op):
        kind = {"rounds_twice": 1}
        prove_no_overflow(op, largest, multipliers, 0)
    else:
        kind = {"rounds_twice": 0}
        prove_no_wide_overflow(op, largest, multipliers)
        mantissas = [upper_half(m) for m in mantissas]
    low, high = fused_range(op, layer.output)
    constants = [
        Constant("weights", weights, is_weight=True),
        Constant("multipliers", np.array(mantissas, np.int32)),
        Constant("shifts", np.array([m.shift for m in multipliers], np.int8)),
    ]
    if bias is not None:
        constants.append(Constant("bias", bias.astype(np.int64) if layer.wide else bias, is_weight=True))
    return {
        **kind,
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
    limits = np.iinfo(layer.source.dtype)
    largest = max(int(limits.max) - layer.source.zero_point, layer.source.zero_point - int(limits.min))
    sums = [int(total) * largest for total in np.abs(weights.astype(np.int64)).sum(axis=others)]
    biases = [0] * len(sums) if bias is None else [abs(int(b)) for b in bias.reshape(-1)]
    return [total + b for total, b in zip(sums, biases, strict=True)]
