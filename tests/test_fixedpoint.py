"""The integer arithmetic against exact fractions, against gemmlowp's formulas, and against its C twin."""

from __future__ import annotations

import ctypes
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    Multiplier,
    activation_range,
    high_product,
    quantize_multiplier,
    requantize,
    requantize_wide,
    rounding_shift,
    upper_half,
)

INT32 = st.integers(INT32_MIN, INT32_MAX)
KERNELS = Path(__file__).parents[1] / "firmware" / "kernels"


def half_upward(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away_from_zero(value: Fraction) -> int:
    rounded = half_upward(abs(value))
    return rounded if value >= 0 else -rounded


def truncated(numerator: int, denominator: int) -> int:
    return abs(numerator) // denominator * (1 if numerator >= 0 else -1)


@given(INT32, INT32)
@example(INT32_MIN, INT32_MIN)
@example(-1, 1 << 30)
@example(1, 1 << 30)
def test_the_high_product_is_the_rounded_one_and_gemmlowps(a: int, b: int) -> None:
    nudge = (1 << 30) if a * b >= 0 else 1 - (1 << 30)
    gemmlowp = INT32_MAX if a == b == INT32_MIN else truncated(a * b + nudge, 1 << 31)
    assert high_product(a, b) == gemmlowp
    assert high_product(a, b) == min(half_upward(Fraction(a * b, 1 << 31)), INT32_MAX)


@given(INT32, st.integers(0, 31))
@example(-3, 1)
@example(3, 1)
@example(INT32_MIN, 31)
def test_the_rounding_shift_rounds_ties_away_from_zero(value: int, exponent: int) -> None:
    assert rounding_shift(value, exponent) == half_away_from_zero(Fraction(value, 1 << exponent))


@given(st.floats(2.0**-32, 2.0**29))
@example(1.0)
@example(math.nextafter(1.0, 0.0))
@example(0.5)
def test_a_multiplier_is_the_nearest_of_its_form(real: float) -> None:
    multiplier = quantize_multiplier(real)
    assert 1 << 30 <= multiplier.mantissa < 1 << 31
    assert -31 <= multiplier.shift <= 30
    step = Fraction(2) ** (multiplier.shift - 31)
    assert abs(multiplier.mantissa * step - Fraction(real)) <= step / 2


def test_a_tiny_multiplier_becomes_zero() -> None:
    assert quantize_multiplier(0.0) == Multiplier(0, 0)
    assert quantize_multiplier(2.0**-33) == Multiplier(0, 0)
    assert quantize_multiplier(2.0**-32) == Multiplier(1 << 30, -31)
    assert quantize_multiplier(5e-324) == Multiplier(0, 0)


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf, 2.0**30, 2.0**30 * (1 - 2.0**-40), 1e300])
def test_an_impossible_multiplier_is_refused(real: float) -> None:
    with pytest.raises(ValueError, match="a multiplier of"):
        quantize_multiplier(real)


def test_requantization_rounds_twice() -> None:
    quarter = Multiplier(1 << 30, -1)
    assert requantize(5, quarter) == 2  # 1.25: 2.5 becomes 3, then 1.5 becomes 2
    assert requantize(-5, quarter) == -1  # -2.5 becomes -2, then -1
    assert requantize(-3, quarter) == -1  # -1.5 becomes -1, then -0.5 becomes -1
    assert requantize(4, quarter) == 1


def test_requantization_refuses_what_a_left_shift_pushes_out() -> None:
    assert requantize((1 << 20) - 1, quantize_multiplier(1024.0)) == (1 << 30) - 1024
    with pytest.raises(ValueError, match="not an int32"):
        requantize(1 << 20, quantize_multiplier(1024.0))


@given(st.integers(-(1 << 47), 1 << 47), st.integers(1 << 30, INT32_MAX), st.integers(-31, 7))
@example(1, 1 << 30, 0)  # a tie
@example(-1, 1 << 30, 0)
@example(1 << 47, INT32_MAX, 7)
def test_wide_requantization_rounds_once_with_16_bits_of_the_multiplier(value: int, mantissa: int, shift: int) -> None:
    half = min(half_upward(Fraction(mantissa, 1 << 16)), (1 << 15) - 1)
    assert upper_half(mantissa) == half
    expected = half_upward(value * half * Fraction(2) ** (shift - 15))
    assert requantize_wide(value, Multiplier(mantissa, shift)) == expected


@pytest.mark.parametrize(("value", "shift"), [((1 << 47) + 1, 0), (-(1 << 47) - 1, 0), (1, 8)])
def test_wide_requantization_refuses_what_tflite_leaves_undefined(value: int, shift: int) -> None:
    with pytest.raises(ValueError, match="are the most"):
        requantize_wide(value, Multiplier(1 << 30, shift))


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.1, 5, (-128, 127)),
        ("RELU", 0.1, 5, (5, 127)),
        ("RELU", 0.1, -128, (-128, 127)),
        ("RELU6", 0.1, 5, (5, 65)),
        ("RELU6", 0.01, 5, (5, 127)),
        ("RELU6", 4.0, 0, (0, 2)),  # 1.5: away from zero
        ("RELU_N1_TO_1", 2.0 / 3.0, 0, (-2, 2)),  # 1.5 in float32; the quotient in double is below 1.5
        ("RELU_N1_TO_1", 2.0, 0, (-1, 1)),  # 0.5
    ],
)
def test_an_activation_leaves_its_codes(
    activation: str, scale: float, zero_point: int, expected: tuple[int, int]
) -> None:
    assert activation_range(activation, float(np.float32(scale)), zero_point) == expected


@pytest.mark.parametrize(
    ("activation", "scale"), [("TANH", 0.1), ("SIGN_BIT", 0.1), ("RELU6", 1e-12), ("RELU6", 1e-45)]
)
def test_an_activation_without_codes_is_refused(activation: str, scale: float) -> None:
    with pytest.raises(ValueError, match=r"needed|32 bits"):
        activation_range(activation, scale, 0)


@pytest.fixture(scope="module")
def c_twin(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("requant")
    (folder / "twin.c").write_text(
        '#include "dsp.h"\n'
        '#include "requant.h"\n'
        "int32_t product(int32_t a, int32_t b) { return tflash_high_product(a, b); }\n"
        "int32_t of_halves(int32_t a, int32_t b) { return tflash_product_of_halves(a, b); }\n"
        "int32_t shifted(int32_t v, int32_t n) { return tflash_rounding_shift(v, n); }\n"
        "int32_t whole(int32_t v, int32_t m, int32_t n) { return tflash_requantize(v, m, n); }\n"
        "int32_t wide(int64_t v, int32_t m, int32_t n) { return tflash_requantize_wide(v, m, n); }\n"
        "int32_t narrow(int32_t v, int32_t m, int32_t n) { return tflash_requantize_narrow(v, m, n); }\n"
    )
    command = ["gcc", "-std=c11", "-O2", "-shared", "-fPIC", f"-I{KERNELS}", str(folder / "twin.c")]
    subprocess.run([*command, "-o", str(folder / "twin.so")], check=True, timeout=60)
    return ctypes.CDLL(str(folder / "twin.so"))


@settings(max_examples=500)
@given(INT32, INT32, st.integers(0, 31))
@example(INT32_MIN, INT32_MIN, 31)
@example(-1, 1 << 30, 0)
@example(INT32_MIN, INT32_MAX, 31)
def test_c_and_python_agree(c_twin: ctypes.CDLL, a: int, b: int, exponent: int) -> None:
    assert c_twin.product(a, b) == high_product(a, b)
    assert c_twin.shifted(a, exponent) == rounding_shift(a, exponent)
    assert c_twin.whole(a, abs(b) & INT32_MAX, -exponent) == requantize(a, Multiplier(abs(b) & INT32_MAX, -exponent))
    left = min(exponent, 30)
    small = a >> left if a >= 0 else -(-a >> left)
    assert c_twin.whole(small, abs(b) & INT32_MAX, left) == requantize(small, Multiplier(abs(b) & INT32_MAX, left))


@settings(max_examples=500)
@given(INT32, INT32)
@example(INT32_MIN, INT32_MAX)
@example(INT32_MIN + 1, INT32_MIN)
@example(-1, 1 << 30)
def test_a_product_of_halves_is_the_high_product(c_twin: ctypes.CDLL, a: int, b: int) -> None:
    assume((a, b) != (INT32_MIN, INT32_MIN))
    assert c_twin.of_halves(a, b) == high_product(a, b)


def test_requantization_in_c_has_no_undefined_behaviour_at_the_edges(tmp_path: Path) -> None:
    """Every pair of values next to a power of two, with every right shift; products of halves against whole ones."""
    edges = sorted({s * (1 << n) + d for n in range(32) for s in (-1, 1) for d in (-1, 0, 1)})
    edges = [edge for edge in edges if INT32_MIN < edge <= INT32_MAX]
    (tmp_path / "edges.c").write_text(
        '#include "requant.h"\n'
        f"static const int32_t edges[] = {{INT32_MIN, {', '.join(map(str, edges))}}};\n"
        "static const int32_t count = sizeof edges / sizeof edges[0];\n"
        "int main(void) {\n"
        "  for (int32_t i = 0; i < count; ++i) {\n"
        "    for (int32_t j = 1; j < count; ++j) {\n"
        "      const int64_t product = (int64_t)edges[i] * edges[j];\n"
        "      if (tflash_product_of_halves(edges[i], edges[j]) != (product + (1 << 30)) >> 31) { return 1; }\n"
        "      if (tflash_product(edges[i], edges[j]) != (product + (1 << 30)) >> 31) { return 2; }\n"
        "      for (int32_t n = 0; n <= 31 && edges[j] >= 0; ++n) {\n"
        "        const int32_t twice = tflash_rounding_shift(tflash_high_product(edges[i], edges[j]), n);\n"
        "        if (tflash_requantize(edges[i], edges[j], -n) != twice) { return 3; }\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "  return 0;\n"
        "}\n"
    )
    command = ["gcc", "-std=c11", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover", f"-I{KERNELS}"]
    program = str(tmp_path / "edges")
    subprocess.run([*command, str(tmp_path / "edges.c"), "-o", program], check=True, timeout=60)
    assert subprocess.run([program], timeout=60).returncode == 0


@given(st.integers(-(1 << 47), 1 << 47), st.integers(1 << 30, INT32_MAX), st.integers(-31, 7))
@example(-1, 1 << 30, 0)
def test_c_and_python_agree_on_wide_values(c_twin: ctypes.CDLL, value: int, mantissa: int, shift: int) -> None:
    expected = ctypes.c_int32(requantize_wide(value, Multiplier(mantissa, shift)))  # GCC wraps what does not fit
    assert c_twin.wide(ctypes.c_int64(value), upper_half(mantissa), shift) == expected.value


@given(INT32, st.integers(1 << 30, INT32_MAX), st.integers(-31, -2))
@example(-1, 1 << 30, -2)
@example(INT32_MIN, INT32_MAX, -31)
def test_wide_and_narrow_requantization_agree_on_an_int32(
    c_twin: ctypes.CDLL, value: int, mantissa: int, shift: int
) -> None:
    expected = requantize_wide(value, Multiplier(mantissa, shift))
    assert c_twin.narrow(value, upper_half(mantissa), -2 - shift) == expected
