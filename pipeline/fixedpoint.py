"""Integer arithmetic of TFLite's quantized kernels, the one place in Python. Its C twin is firmware/kernels/requant.h.

All of it is gemmlowp's: two roundings, first to nearest with ties away from zero on the high product, then the same
on the right shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


@dataclass(frozen=True)
class Multiplier:
    """real = mantissa * 2**(shift - 31), mantissa 0 or in [2**30, 2**31); shift > 0 shifts left."""

    mantissa: int
    shift: int


def quantize_multiplier(real: float) -> Multiplier:
    """Split a real scale ratio into a Q31 multiplier and a power-of-two shift.

    Args:    real: input scale * weight scale / output scale; >= 0, dimensionless. 0 gives mantissa 0.
    Raises:  ValueError: real is negative or not finite.
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
        return Multiplier(INT32_MAX, 30)
    return Multiplier(mantissa, shift)


def high_product(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul: round(a * b / 2**31), ties away from zero, int32."""
    if a == INT32_MIN and b == INT32_MIN:
        return INT32_MAX
    product = a * b
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    return -((-total) >> 31) if total < 0 else total >> 31


def rounding_shift(value: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT: round(value / 2**exponent), ties away from zero; exponent in 0..31."""
    mask = (1 << exponent) - 1
    remainder = value & mask
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if remainder > threshold else 0)


def requantize(value: int, multiplier: Multiplier) -> int:
    """TFLite's MultiplyByQuantizedMultiplier with double rounding, on an int32 value."""
    left, right = max(multiplier.shift, 0), max(-multiplier.shift, 0)
    shifted = (value << left) & 0xFFFFFFFF
    shifted -= (1 << 32) if shifted >= 1 << 31 else 0
    return rounding_shift(high_product(shifted, multiplier.mantissa), right)
