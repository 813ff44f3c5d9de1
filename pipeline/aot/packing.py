"""Weights, biases and shifts in the order and form that the fast kernels want, made once at compile time.

Packing rounds a filter's depth up to a group of four at the most; it never widens a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.aot.ops.weighted import Operands, magnitudes, twin
from pipeline.aot.steps import Constant, ParamValue, Ref, Step
from pipeline.fixedpoint import INT32_MAX, Multiplier, upper_half
from pipeline.model import Array

NARROW_SHIFT = -2  # SMULWB shifts by 16, of the 14 - shift that there are before the rounding
LARGEST_RIGHT_SHIFT = 22  # with it (2 * zero point + 1) << 21 and a product of 30 bits make an int32


def doubling_obstacle(layer: Operands, channel_axis: int, multipliers: Sequence[Multiplier]) -> str | None:
    """Why the requantization of firmware/kernels/dsp.h, which doubles the accumulator, is not for this layer."""
    for channel, magnitude in enumerate(magnitudes(layer, channel_axis)):
        multiplier = multipliers[channel if len(multipliers) > 1 else 0]
        doubled = 2 * magnitude << max(multiplier.shift, 0)
        if doubled > INT32_MAX:
            return f"twice the accumulator of channel {channel} can reach {doubled:,}"
        if multiplier.shift < -LARGEST_RIGHT_SHIFT:
            return f"channel {channel} shifts right by {-multiplier.shift}"
    return None


def narrow_obstacle(layer: Operands, channel_axis: int, multipliers: Sequence[Multiplier]) -> str | None:
    """Why tflash_requantize_narrow of firmware/kernels/dsp.h, for sums that are int32, is not for this int16 layer."""
    for channel, magnitude in enumerate(magnitudes(layer, channel_axis)):
        multiplier = multipliers[channel if len(multipliers) > 1 else 0]
        if magnitude > INT32_MAX:
            return f"the sum of channel {channel} can reach {magnitude:,}"
        if multiplier.shift > NARROW_SHIFT and multiplier.mantissa:
            return f"channel {channel} is multiplied by 1/4 or more"
    return None


def narrow_requantization(
    layer: Operands, channel_axis: int, multipliers: Sequence[Multiplier]
) -> tuple[Mapping[str, ParamValue], tuple[Constant, ...]]:
    """Bias, multipliers and shifts as tflash_requantize_narrow wants them, each for every channel."""
    channels = weights_of(layer).shape[channel_axis]
    shifts = [NARROW_SHIFT - m.shift if m.mantissa else 0 for m in multipliers]
    halves = [upper_half(m.mantissa) for m in multipliers]
    repeats = channels if len(multipliers) == 1 else 1
    bias = np.zeros(channels, np.int32) if layer.bias is None else _data(layer.bias.data).reshape(-1).astype(np.int32)
    return {"bias": Ref("bias"), "multipliers": Ref("multipliers"), "shifts": Ref("shifts")}, (
        Constant("bias", bias, is_weight=True),
        Constant("multipliers", np.array(halves * repeats, np.int16)),
        Constant("shifts", np.array(shifts * repeats, np.int8)),
    )


def shift_codes(multipliers: Sequence[Multiplier], channels: int) -> Array:
    """int8 [channels]: n - 1 for a right shift by n, -1 - s for a left shift by s; one multiplier is repeated."""
    codes = [-m.shift - 1 for m in multipliers]
    return np.array(codes * (channels if len(codes) == 1 else 1), np.int8)


def nibbles(multipliers: Sequence[Multiplier], channels: int) -> tuple[Array, int]:
    """Shift codes in 4 bits each: (uint8 [half the channels, rounded up], the even channel low; what to add to each).

    A mantissa of 0 gives the same whatever its shift.
    """
    codes, base = shift_codes(multipliers, channels).astype(np.int64), _lowest_code(multipliers)
    rest = np.zeros(-(-channels // 2) * 2, np.uint8)
    rest[:channels] = np.where(mantissas(multipliers, channels) == 0, 0, codes - base)
    packed: Array = rest[0::2] | rest[1::2] << 4
    return packed, base


def nibble_obstacle(multipliers: Sequence[Multiplier]) -> str | None:
    """Why the shifts of a layer do not fit 4 bits each."""
    spread = max((-m.shift - 1 for m in multipliers if m.mantissa), default=0) - _lowest_code(multipliers)
    return f"shifts that differ by {spread}" if spread > 15 else None


def _lowest_code(multipliers: Sequence[Multiplier]) -> int:
    return min((-m.shift - 1 for m in multipliers if m.mantissa), default=0)


def mantissas(multipliers: Sequence[Multiplier], channels: int) -> Array:
    """int32 [channels]; one multiplier is repeated."""
    values = [m.mantissa for m in multipliers]
    return np.array(values * (channels if len(values) == 1 else 1), np.int32)


def folded_bias(layer: Operands, channel_axis: int, code_offset: int, factor: int = 1) -> Array:
    """int32 [channels]: factor * (bias - (code_offset + input zero point) * sum of the channel's weights), wrapped.

    Args:    code_offset: what the kernel adds to each input code before it multiplies.
    """
    weights = weights_of(layer)
    sums = weights.astype(np.int64).sum(axis=tuple(a for a in range(weights.ndim) if a != channel_axis))
    bias = np.zeros_like(sums) if layer.bias is None else _data(layer.bias.data).astype(np.int64).reshape(-1)
    folded: Array = (factor * (bias - (code_offset + layer.source.zero_point) * sums)).astype(np.int32)
    return folded


def with_folded_bias(step: Step, layer: Operands, channel_axis: int) -> Step:
    """The step of a portable kernel that never meets padding, to multiply bare codes as `folded_bias` has the rest.

    Without a zero point, or where a partial sum could leave int32 then, it stays as it is.
    """
    zero_point = layer.source.zero_point
    weights = np.abs(weights_of(layer).astype(np.int64))
    sums = weights.sum(axis=tuple(a for a in range(weights.ndim) if a != channel_axis))
    bias = 0 if layer.bias is None else np.abs(_data(layer.bias.data).astype(np.int64).reshape(-1))
    if zero_point == 0 or int((bias + (abs(zero_point) + 128) * sums).max()) > INT32_MAX:
        return step
    folded = Constant("bias", folded_bias(layer, channel_axis, 0), is_weight=True)
    return replace(
        step,
        params={**step.params, "input_offset": 0, "bias": Ref("bias")},
        constants=(*(c for c in step.constants if c.role != "bias"), folded),
    )


def wrapping_requantization(
    layer: Operands, channel_axis: int, portable: Mapping[str, ParamValue], constants: Sequence[Constant]
) -> tuple[Mapping[str, ParamValue], tuple[Constant, ...]]:
    """For kernels that multiply bare codes: as `requantization`, with the input's zero point folded into the bias."""
    params = {name: value for name, value in portable.items() if name != "input_offset"} | {"bias": Ref("bias")}
    data = {constant.role: constant.data for constant in constants}
    shifts = np.where(data["multipliers"] == 0, -1, data["shifts"]).astype(np.int8)
    return params, (
        Constant("weights", data["weights"], is_weight=True),
        Constant("bias", folded_bias(layer, channel_axis, 0), is_weight=True),
        Constant("multipliers", data["multipliers"]),
        Constant("shifts", shifts),
    )


def right_shift_obstacle(multipliers: Sequence[Multiplier]) -> str | None:
    """Why the requantization of firmware/kernels/mve.h, which shifts to the right, is not for this layer."""
    for channel, multiplier in enumerate(multipliers):
        if multiplier.shift >= 0 and multiplier.mantissa != 0:
            return f"channel {channel} is multiplied by 1/2 or more"
    return None


def rows_by(weights: Array, rows_at_once: int) -> Array:
    """int8 weights [rows, depth]: of rows_at_once rows a group of four each in turn; the rows left over one by one.

    The depth is rounded up to four with zeros.
    """
    rows, depth = weights.shape
    padded = np.zeros((rows, -(-depth // 4) * 4), np.int8)
    padded[:, :depth] = weights
    together = rows // rows_at_once * rows_at_once
    blocks = padded[:together].reshape(-1, rows_at_once, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.concatenate([blocks.reshape(-1), padded[together:].reshape(-1)])


def pairs_obstacle(depth: int) -> str | None:
    """Why `with_paired_weights` is not for runs of so many weights."""
    return f"a depth of {depth}, which is no multiple of 4" if depth % 4 else None


def with_paired_weights(step: Step) -> Step:
    """The step of a portable int16 kernel for its DSP twin: of each four weights the third comes before the second."""
    constants = (replace(c, data=paired(c.data)) if c.role == "weights" else c for c in step.constants)
    return replace(twin(step, "dsp"), constants=tuple(constants))


def paired(weights: Array) -> Array:
    """Weights of which each four have the third before the second: SXTB16 makes two neighbours of every other byte."""
    pairs: Array = weights.reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(weights.shape)
    return pairs


def weights_of(layer: Operands) -> Array:
    """The codes of a layer's weights."""
    return _data(layer.weights.data)


def _data(data: Array | None) -> Array:
    if data is None:
        raise ValueError("the operands were not checked")
    return data
