"""DEPTHWISE_CONV_2D in C against TFLM, byte for byte."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.kernels.batch import HOST, TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw, layer, window_positions
from tests.tflite_builder import TfliteBuilder


def depthwise_conv_2d_case(number: int, int4: bool = False, dtype: str = "int8", many: bool = False) -> Case:
    """many: up to 40 outputs of neighbouring inputs, or of one."""
    draw = Draw("WIDE_DEPTHWISE_CONV_2D" if many else "DEPTHWISE_CONV_2D", number, dtype)
    taps = draw.choice(((3, 3), (3, 3), (draw.integer(1, 5), draw.integer(1, 5))))
    dilation = draw.choice(((1, 1), (1, 1), (draw.integer(1, 3), draw.integer(1, 3))))
    stride = draw.choice(((1, 1), (2, 2), (draw.integer(1, 4), draw.integer(1, 4))))
    padding = draw.choice(("SAME", "VALID"))
    smallest = [1 if padding == "SAME" else (t - 1) * d + 1 for t, d in zip(taps, dilation, strict=True)]
    height, width = (draw.integer(low, low + 6) for low in smallest)
    batches = draw.choice((1, 1, 1, 2))
    depth, multiplier = draw.integer(1, 9), draw.choice((1, 1, 2, 3))
    if many:
        depth, multiplier = draw.choice(((draw.integer(10, 40), 1), (draw.integer(1, 2), draw.integer(4, 40))))
    random = layer(draw, (1, *taps, depth * multiplier), 3, narrow_sums=False)
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()

    model = TfliteBuilder()
    shape = (batches, height, width, depth)
    x = model.input(shape, **draw.quantized(random.input_scale, input_zero))
    operands = (random.as_int4() if int4 else random).operands(model, x, axis=3)
    positions = window_positions((height, width), taps, stride, dilation, padding)
    y = model.output((batches, *positions, depth * multiplier), **draw.quantized(random.output_scale, output_zero))
    model.op(
        "DEPTHWISE_CONV_2D",
        operands,
        [y],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1],
        depth_multiplier=multiplier,
        fused_activation_function=draw.activation(),
    )
    return Case(f"{draw.label}{'_int4' if int4 else ''}", model.build(), draw.samples([(shape, input_zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_depthwise_conv_2d_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([depthwise_conv_2d_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
def test_depthwise_conv_2d_of_many_channels_gives_the_bytes_of_tflm(tmp_path: Path) -> None:
    packed, wide = partial(depthwise_conv_2d_case, int4=True), partial(depthwise_conv_2d_case, dtype="int16")
    makers, numbers = (depthwise_conv_2d_case, packed, wide), range(case_count(8))
    check([make(number, many=True) for number in numbers for make in makers], HOST, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_depthwise_conv_2d_with_int4_weights_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([depthwise_conv_2d_case(number, int4=True) for number in range(case_count(20))], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_depthwise_conv_2d_of_int16_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([depthwise_conv_2d_case(number, dtype="int16") for number in range(case_count(20))], target, tmp_path)
