"""The Helium kernels against TFLM, byte for byte, on an emulated Cortex-M55: nothing else here can run them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot import Core
from tests.kernels.batch import CORTEX_M55, Case, case_count, cases_with, check_many
from tests.kernels.random_cases import Draw, layer, window_positions
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case, long_sum_case
from tests.kernels.test_networks import network_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case
from tests.tflite_builder import TfliteBuilder

HELIUM = replace(CORTEX_M55, name="cortex-m55-mve", core=Core(frozenset({"dsp", "fpu", "mve"})))


def windowed_case(op: str, number: int, dtype: str = "int8") -> Case:
    """More channels than a vector has lanes, and images a few pixels wide."""
    draw = Draw(f"{op} for vectors", number, dtype)
    taps = draw.choice(((1, 1), (3, 3), (3, 3), (draw.integer(1, 5), draw.integer(1, 10))))
    dilation = draw.choice(((1, 1), (1, 1), (1, 1), (draw.integer(1, 2), draw.integer(1, 3))))
    stride = draw.choice(((1, 1), (2, 2), (draw.integer(1, 3), draw.integer(1, 3))))
    padding = draw.choice(("SAME", "SAME", "VALID"))
    smallest = [1 if padding == "SAME" else (t - 1) * d + 1 for t, d in zip(taps, dilation, strict=True)]
    height, width = (draw.integer(low, low + 6) for low in smallest)
    batches = draw.choice((1, 1, 2))
    depth = draw.choice((1, 3, 8, 16, 32, draw.integer(1, 50)))
    channels = draw.choice((4, 8, 16, draw.integer(1, 20))) if op == "CONV_2D" else depth
    shape = (channels, *taps, depth) if op == "CONV_2D" else (1, *taps, channels)
    axis = shape.index(channels) if op == "CONV_2D" else 3
    random = layer(draw, shape, axis, narrow_sums=op == "CONV_2D")
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()

    model = TfliteBuilder()
    image = (batches, height, width, depth)
    x = model.input(image, **draw.quantized(random.input_scale, input_zero))
    operands = random.operands(model, x, axis)
    positions = window_positions((height, width), taps, stride, dilation, padding)
    y = model.output((batches, *positions, channels), **draw.quantized(random.output_scale, output_zero))
    options = {} if op == "CONV_2D" else {"depth_multiplier": 1}
    model.op(
        op,
        operands,
        [y],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1],
        fused_activation_function=draw.activation(),
        **options,
    )
    name = f"wide_{op.lower()}_{number}{'' if dtype == 'int8' else f'_{dtype}'}"
    return Case(name, model.build(), draw.samples([(image, input_zero)], 3))


def wide_conv_2d_case(number: int, dtype: str = "int8") -> Case:
    return windowed_case("CONV_2D", number, dtype)


def wide_depthwise_conv_2d_case(number: int, dtype: str = "int8") -> Case:
    return windowed_case("DEPTHWISE_CONV_2D", number, dtype)


def wide_pool_2d_case(op: str, number: int) -> Case:
    draw = Draw(f"{op} for vectors", number)
    taps = draw.choice(((2, 2), (3, 3), (draw.integer(1, 12), draw.integer(1, 12)), (draw.integer(16, 40), 17)))
    height, width = (tap * draw.integer(1, 2) for tap in taps)
    channels, zero = draw.integer(10, 70), draw.output_zero_point()
    model = TfliteBuilder()
    x = model.input((1, height, width, channels), scale=0.05, zero_point=zero)
    y = model.output((1, height // taps[0], width // taps[1], channels), scale=0.05, zero_point=zero)
    model.op(
        op,
        [x],
        [y],
        padding="VALID",
        stride_h=taps[0],
        stride_w=taps[1],
        filter_height=taps[0],
        filter_width=taps[1],
        fused_activation_function=draw.activation(),
    )
    return Case(f"wide_{op.lower()}_{number}", model.build(), draw.samples([((1, height, width, channels), zero)]))


def wide_mean_case(op: str, number: int) -> Case:
    """Over neighbouring axes with some elements behind them, now and then more of them than int16 sums can be of."""
    draw = Draw(f"{op} for vectors", number)
    outer, inner = draw.choice((1, 1, 3)), draw.integer(3, 40)
    reduced = draw.choice(((draw.integer(1, 9), draw.integer(1, 9)), (draw.integer(2, 60),), (draw.integer(250, 700),)))
    axes = [axis + 1 for axis in range(len(reduced))]
    ratio = draw.choice((1.0, draw.log_uniform(0.3, 4.0), 2.0 ** draw.integer(-2, 2)))
    ratio /= draw.choice((1, math.prod(reduced))) if op == "SUM" else 1
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()
    model = TfliteBuilder()
    shape = (outer, *reduced, inner)
    x = model.input(shape, scale=0.05, zero_point=input_zero)
    y = model.output((outer, inner), scale=0.05 / ratio, zero_point=output_zero)
    model.op(op, [x, model.constant(np.array(axes, np.int32))], [y], keep_dims=False)
    return Case(f"wide_{op.lower()}_{number}", model.build(), draw.samples([(shape, input_zero)]))


CASES: dict[str, tuple[Callable[[int], Case], ...]] = {
    "add_s8_mve": (partial(elementwise_case, "ADD"), partial(elementwise_case, "SUB")),
    "average_pool_2d_s8_mve": (partial(pool_2d_case, "AVERAGE_POOL_2D"), partial(wide_pool_2d_case, "AVERAGE_POOL_2D")),
    "conv_2d_s8_mve": (conv_2d_case, wide_conv_2d_case),
    "conv_2d_s16_mve": (partial(conv_2d_case, dtype="int16"), partial(wide_conv_2d_case, dtype="int16")),
    "depthwise_conv_2d_s8_mve": (depthwise_conv_2d_case, wide_depthwise_conv_2d_case),
    "fully_connected_s8_mve": (fully_connected_case,),
    "fully_connected_s16_mve": (partial(fully_connected_case, dtype="int16"), long_sum_case),
    "mean_s8_mve": (partial(wide_mean_case, "MEAN"), partial(wide_mean_case, "SUM")),
    "mul_s8_mve": (partial(elementwise_case, "MUL"),),
    "max_pool_2d_s8_mve": (partial(pool_2d_case, "MAX_POOL_2D"), partial(wide_pool_2d_case, "MAX_POOL_2D")),
}


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("kernel", CASES)
def test_a_helium_kernel_gives_the_bytes_of_tflm(kernel: str, tmp_path: Path) -> None:
    """16 layers that have this kernel, 1,000 in a full run."""
    check_many(cases_with(kernel, CASES[kernel], HELIUM.core, case_count(16, 1000)), HELIUM, tmp_path)


@pytest.mark.golden
@pytest.mark.emulated
def test_random_networks_give_the_bytes_of_tflm_with_helium_kernels(tmp_path: Path) -> None:
    cases = [network_case(number, dtype) for number in range(case_count(16, 500)) for dtype in ("int8", "int16")]
    check_many(cases, HELIUM, tmp_path)
