"""AVERAGE_POOL_2D and MAX_POOL_2D in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check, check_many
from tests.kernels.random_cases import Draw, window_positions
from tests.tflite_builder import TfliteBuilder


def pool_2d_case(op: str, number: int, dtype: str = "int8") -> Case:
    draw = Draw(op, number, dtype)
    taps = draw.choice(((2, 2), (3, 3), (draw.integer(1, 6), draw.integer(1, 6))))
    stride = draw.choice(((1, 1), (2, 2), taps, (draw.integer(1, 4), draw.integer(1, 4))))
    padding = draw.choice(("SAME", "VALID"))
    height, width = (draw.integer(1 if padding == "SAME" else low, low + 6) for low in taps)
    if draw.chance(0.15):
        taps, padding = (height, width), "VALID"  # a global pool
    batches, channels = draw.choice((1, 1, 2)), draw.integer(1, 9)
    # Scales at which the bounds of RELU6 and RELU_N1_TO_1 fall inside the range, or on a tie.
    scale = draw.choice((draw.log_uniform(0.01, 0.2), 0.0625, draw.choice((2.0 / 3.0, 4.0))))
    zero = draw.output_zero_point()

    model = TfliteBuilder()
    shape = (batches, height, width, channels)
    x = model.input(shape, **draw.quantized(scale, zero))
    positions = window_positions((height, width), taps, stride, (1, 1), padding)
    y = model.output((batches, *positions, channels), **draw.quantized(scale, zero))
    model.op(
        op,
        [x],
        [y],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        filter_height=taps[0],
        filter_width=taps[1],
        fused_activation_function=draw.activation(),
    )
    return Case(draw.label, model.build(), draw.samples([(shape, zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("target", TARGETS)
def test_pools_give_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([pool_2d_case(op, number) for number in range(case_count())], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_pools_of_int16_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    ops = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    check_many([pool_2d_case(op, n, "int16") for op in ops for n in range(case_count(10))], target, tmp_path)
