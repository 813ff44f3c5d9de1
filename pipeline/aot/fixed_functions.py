"""Functions of TFLite's quantized kernels in fixed point. The C twins are fixed_exp.h and inverse_sqrt.h.

Qm.n is an int32 with n fractional bits and m + n = 31. The order of the roundings is part of the result.
Source: gemmlowp's fixedpoint.h, and TFLite GetInvSqrtQuantizedMultiplierExp, tensorflow/lite/kernels/internal/common.h.
"""

from __future__ import annotations

from pipeline.fixedpoint import INT32_MAX, INT32_MIN, Multiplier, high_product, rounding_shift

_EXP_OF_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
# exp(-1/4), exp(-1/2), .. exp(-16)
_EXP_OF_MINUS_POWER = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_C48_OVER_17, _C32_OVER_17 = 1515870810, 1010580540  # Q2.29
_HALF_SQRT_2 = 1518500250  # Q0.31


def exp_negative(x: int, integer_bits: int) -> int:
    """exp(x) in Q0.31 of x in (-2**integer_bits, 0], Q[integer_bits]; integer_bits in 0..5."""
    if x == 0:
        return INT32_MAX
    quarter = 1 << (29 - integer_bits)
    fraction = (x & (quarter - 1)) - quarter
    powers = fraction - x
    result = _exp_quarter(fraction << integer_bits)
    for i in range(integer_bits + 2):
        if powers & (quarter << i):
            result = high_product(result, _EXP_OF_MINUS_POWER[i])
    return result


def _exp_quarter(x: int) -> int:
    """exp(x) in Q0.31 of x in [-1/4, 0), Q0.31: the Taylor polynomial of degree 4 around -1/8."""
    t = x + (1 << 28)
    t2 = high_product(t, t)
    t3, t4 = high_product(t2, t), high_product(t2, t2)
    tail = high_product(rounding_shift(t4, 2) + t3, _THIRD) + t2
    return _EXP_OF_MINUS_EIGHTH + high_product(_EXP_OF_MINUS_EIGHTH, t + rounding_shift(tail, 1))


def _twice_reciprocal_of_one_plus(x: int) -> int:
    """2 / (1 + x) in Q2.29 of x in [0, 1], Q0.31: three Newton steps."""
    half = (x + (1 << 31)) >> 1
    y = _C48_OVER_17 + high_product(half, -_C32_OVER_17)
    for _ in range(3):
        y += _saturated(high_product(y, (1 << 29) - high_product(half, y)) * 4)
    return y


def logistic(x: int) -> int:
    """1 / (1 + exp(-x)) in Q0.31 of x in Q4.27."""
    if x == 0:
        return 1 << 30
    of_magnitude = _saturated(_twice_reciprocal_of_one_plus(exp_negative(-abs(x), 4)) * 2)
    return of_magnitude if x > 0 else INT32_MAX - of_magnitude


def tanh(x: int) -> int:
    """tanh(x) = (1 - exp(-2 x)) / (1 + exp(-2 x)) in Q0.31 of x in Q4.27."""
    if x == 0:
        return 0
    of_magnitude = _saturated((_twice_reciprocal_of_one_plus(exp_negative(-abs(x), 5)) - (1 << 29)) * 4)
    return of_magnitude if x > 0 else -of_magnitude


def inverse_sqrt(x: int) -> Multiplier:
    """1 / sqrt(x) of an integer x in 0..2**31 - 1, by five Newton steps; that of 0 is that of 1."""
    if x <= 1:
        return Multiplier(INT32_MAX, 0)
    shift = 11
    while x >= 1 << 29:
        x //= 4
        shift += 1
    while x < 1 << 27:
        x *= 4
        shift -= 1
    x //= 2
    half = rounding_shift(x, 1)
    y = 1 << 28  # Q3.28, as all here
    for _ in range(5):
        cubed = _saturated(high_product(high_product(y, y), y) * 64)
        y = _saturated((high_product((1 << 28) + (1 << 27), y) - high_product(half, cubed)) * 8)
    y = high_product(y, _HALF_SQRT_2)
    return Multiplier(y << -shift, 0) if shift < 0 else Multiplier(y, -shift)


def _saturated(value: int) -> int:
    return max(INT32_MIN, min(value, INT32_MAX))
