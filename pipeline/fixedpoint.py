"""Integer arithmetic of TFLite's quantized kernels, the one place in Python. Its C twin is firmware/kernels/requant.h.

All of it is gemmlowp's, with two roundings: first of the high product, to nearest with ties upward, then of the right
shift, to nearest with ties away from zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


@dataclass(frozen=True)
class Multiplier:
    """real = mantissa * 2**(shift - 31), mantissa 0 or in [2**30, 2**31), shift in -31..30; shift > 0 shifts left."""

    mantissa: int
    shift: int


def quantize_multiplier(real: float) -> Multiplier:
    """Split a real scale ratio into a Q31 multiplier and a power-of-two shift.

    Args:    real: input scale * weight scale / output scale; >= 0, dimensionless. Below 2**-32 it becomes 0.
    Raises:  ValueError: real is negative, not finite, or so large (2**30) that no int32 can be shifted that far.
    Source:  TFLite QuantizeMultiplier, tensorflow/lite/kernels/internal/quantization_util.cc.
    """
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"a multiplier of {real}; a finite number of at least 0 is needed")
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa //= 2
        shift += 1
    if shift < -31:
        return Multiplier(0, 0)
    if shift > 30:
        raise ValueError(f"a multiplier of {real:g}; less than 2**30 is needed")
    return Multiplier(mantissa, shift)


def high_product(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul: round(a * b / 2**31), ties upward, saturated to int32.

    gemmlowp adds a nudge that depends on the product's sign and then divides truncating, which is the same.
    """
    return min((a * b + (1 << 30)) >> 31, INT32_MAX)


def rounding_shift(value: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT: round(value / 2**exponent), ties away from zero; exponent in 0..31."""
    mask = (1 << exponent) - 1
    remainder = value & mask
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if remainder > threshold else 0)


def requantize(value: int, multiplier: Multiplier) -> int:
    """TFLite's MultiplyByQuantizedMultiplier with double rounding.

    Args:    value: an int32 that stays one when shifted left by the multiplier's shift.
    Raises:  ValueError: it does not; TFLite's result is then undefined.
    """
    left, right = max(multiplier.shift, 0), max(-multiplier.shift, 0)
    shifted = value << left
    if not INT32_MIN <= shifted <= INT32_MAX:
        raise ValueError(f"{value} * 2**{left} is not an int32")
    return rounding_shift(high_product(shifted, multiplier.mantissa), right)


def upper_half(mantissa: int) -> int:
    """The 16 bits that some kernels keep of a mantissa: round(mantissa / 2**16), at most 2**15 - 1.

    Source:  TFLite DownScaleInt32ToInt16Multiplier, tensorflow/lite/kernels/internal/common.h.
    """
    return min((mantissa + (1 << 15)) >> 16, (1 << 15) - 1)


def requantize_wide(value: int, multiplier: Multiplier) -> int:
    """TFLite's MultiplyByQuantizedMultiplier of an int64: one rounding, ties upward, and 16 bits of the mantissa.

    Args:    value: within +-2**47. multiplier: with a shift of at most 7.
    Raises:  ValueError: one of them is not; TFLite's result is then undefined.
    Source:  tensorflow/lite/kernels/internal/common.cc.
    """
    if abs(value) > 1 << 47 or multiplier.shift > 7:
        raise ValueError(f"{value} shifted left by {multiplier.shift}; +-2**47 and 7 are the most")
    right = 15 - multiplier.shift
    return (value * upper_half(multiplier.mantissa) + (1 << (right - 1))) >> right


def activation_range(
    activation: str, scale: float, zero_point: int, low: int = -128, high: int = 127
) -> tuple[int, int]:
    """The codes that a fused activation leaves, smallest and largest.

    Args:    activation: NONE, RELU, RELU_N1_TO_1 or RELU6. scale: the output's, a float32.
             low, high: the dtype's range.
    Raises:  ValueError: another activation, or a scale so small that its bounds are no int32.
    Source:  TFLite CalculateActivationRangeQuantized, tensorflow/lite/kernels/kernel_util.cc: float32 throughout.
    """
    bounds = {"NONE": (None, None), "RELU": (0.0, None), "RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0)}
    if activation not in bounds:
        raise ValueError(f"a fused activation {activation}; one of {', '.join(bounds)} is needed")
    lower, upper = bounds[activation]
    return (
        low if lower is None else max(low, zero_point + _code(lower, scale)),
        high if upper is None else min(high, zero_point + _code(upper, scale)),
    )


def _code(real: float, scale: float) -> int:
    """round(real / scale) in float32, ties away from zero."""
    with np.errstate(all="ignore"):
        quotient = float(np.float32(real) / np.float32(scale))
    if not abs(quotient) < 1 << 31:
        raise ValueError(f"{real} / {scale:g} does not fit 32 bits")
    return int(math.copysign(math.floor(abs(quotient) + 0.5), quotient))
