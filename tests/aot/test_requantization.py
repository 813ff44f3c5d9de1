"""The overflow proof: what it accepts runs without overflow at its very limit, one more is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.requantization import checked_multiplier, fused_range, prove_no_overflow
from pipeline.errors import UnsupportedError
from pipeline.fixedpoint import INT32_MAX, Multiplier
from pipeline.tflite import Op
from tests.kernels.batch import HOST, Case, check
from tests.tflite_builder import TfliteBuilder

OP = Op(3, "CONV_2D", 1, (0,), (1,), {})


def fully_connected(bias: int, sign: int, output_scale: float = 1e7, zero_point: int = 0) -> TfliteBuilder:
    """Eight weights of 127 and an input zero point of -128: the largest sum is 8 * 127 * 255 = 259,080."""
    model = TfliteBuilder()
    x = model.input((1, 8), scale=1.0, zero_point=-128)
    w = model.constant(np.full((2, 8), 127 * sign, np.int8), scale=[1.0, 1.0])
    b = model.constant(np.array([bias * sign, 0], np.int32), scale=[1.0, 1.0])
    y = model.output((1, 2), scale=output_scale, zero_point=zero_point)
    model.op("FULLY_CONNECTED", [x, w, b], [y])
    return model


SUM = 8 * 127 * 255
SAMPLES = tuple((np.full((1, 8), code, np.int8),) for code in (127, -128, 0, 126))


def at_the_limits() -> list[Case]:
    """Accumulators that reach the ends of int32 exactly, right-shifted and left-shifted."""
    builders = [fully_connected(INT32_MAX - SUM, sign) for sign in (1, -1)]
    # 2**12: the shift is 13, and 2**18 << 13 is one too many.
    builders += [fully_connected((1 << 18) - 1 - SUM, sign, 2.0**-12, -100) for sign in (1, -1)]
    return [Case(f"limit_{n}", builder.build(), SAMPLES) for n, builder in enumerate(builders)]


@pytest.mark.golden
def test_at_its_limit_nothing_overflows_and_all_bytes_are_right(tmp_path: Path) -> None:
    check(at_the_limits(), HOST, tmp_path)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_more_is_refused(sign: int) -> None:
    with pytest.raises(UnsupportedError, match=r"op 0 .* accumulator of channel 0 can reach 2,147,483,648"):
        lower(fully_connected(INT32_MAX - SUM + 1, sign).graph())
    with pytest.raises(UnsupportedError, match=r"shifted left, can reach 2,147,483,648"):
        lower(fully_connected((1 << 18) - SUM, sign, 2.0**-12, -100).graph())


def test_the_output_zero_point_counts() -> None:
    nearly_one = Multiplier(INT32_MAX, 0)
    prove_no_overflow(OP, [INT32_MAX - 127], [nearly_one], -128)
    with pytest.raises(UnsupportedError, match="the requantized value of channel 0 can reach 2,147,483,774"):
        prove_no_overflow(OP, [INT32_MAX], [nearly_one], -128)


def test_the_channel_that_overflows_is_named() -> None:
    one = Multiplier(1 << 30, -5)
    with pytest.raises(UnsupportedError, match="channel 2 "):
        prove_no_overflow(OP, [5, 6, 1 << 31], [one], 0)
    with pytest.raises(UnsupportedError, match="channel 1, shifted left"):
        prove_no_overflow(OP, [1 << 20, 1 << 20], [one, Multiplier(1 << 30, 11)], 0)


def test_a_multiplier_that_cannot_be_is_refused_with_the_op() -> None:
    with pytest.raises(UnsupportedError, match=r"op 3 \(CONV_2D\): its scales give a multiplier of inf"):
        checked_multiplier(OP, float("inf"))


def test_an_output_scale_too_small_for_its_activation_is_refused() -> None:
    model = fully_connected(0, 1, output_scale=1e-12)
    output = model.graph().tensor(3)
    with pytest.raises(UnsupportedError, match=r"op 3 .* 6.0 / 1e-12 does not fit 32 bits"):
        fused_range(Op(3, "CONV_2D", 1, (0,), (3,), {"fused_activation_function": "RELU6"}), output)
