"""Layers whose dilation is taken away by putting rows side by side, against TFLM, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.aot import Core
from pipeline.aot.lower import lower
from tests.kernels.batch import CORTEX_M4, HOST, Case, Target, case_count, check
from tests.kernels.random_cases import Draw, layer, window_positions
from tests.kernels.test_mve import HELIUM
from tests.tflite_builder import TfliteBuilder

DSP = Core(frozenset({"dsp", "fpu"}))
TARGETS = [
    pytest.param(HOST, id="host", marks=pytest.mark.slow),
    pytest.param(replace(HOST, name="host-dsp", core=DSP), id="host-dsp", marks=pytest.mark.slow),
    pytest.param(replace(CORTEX_M4, name="cortex-m4-dsp", core=DSP), id="cortex-m4", marks=pytest.mark.emulated),
    pytest.param(HELIUM, id="cortex-m55", marks=pytest.mark.emulated),
]


def dilated_case(number: int) -> Case:
    """A column of taps on an image, or a row of them on a row of pixels; sometimes of a size that is left as it is."""
    draw = Draw("dilated", number)
    op = draw.choice(("CONV_2D", "DEPTHWISE_CONV_2D"))
    taps, dilation, padding = draw.integer(2, 5), draw.integer(2, 5), draw.choice(("SAME", "VALID"))
    length = dilation * (draw.integer(1, 4) + (taps - 1 if padding == "VALID" else 0)) + draw.choice((0, 0, 0, 1))
    across = draw.choice((1, draw.integer(2, 5)))
    depth, batches = draw.integer(1, 20), draw.choice((1, 1, 2))
    channels = draw.integer(1, 9) if op == "CONV_2D" else depth
    is_row = across == 1 and draw.chance(0.7)
    window, size, gaps = (pair[::-1] if is_row else pair for pair in ((taps, 1), (length, across), (dilation, 1)))
    weights, axis = ((channels, *window, depth), 0) if op == "CONV_2D" else ((1, *window, depth), 3)
    random = layer(draw, weights, axis)
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()

    model = TfliteBuilder()
    image = (batches, *size, depth)
    x = model.input(image, **draw.quantized(random.input_scale, input_zero))
    positions = window_positions(size, window, (1, 1), gaps, padding)
    y = model.output((batches, *positions, channels), **draw.quantized(random.output_scale, output_zero))
    model.op(
        op,
        random.operands(model, x, axis=axis),
        [y],
        padding=padding,
        stride_h=1,
        stride_w=1,
        dilation_h_factor=gaps[0],
        dilation_w_factor=gaps[1],
        fused_activation_function=draw.activation(),
        **({} if op == "CONV_2D" else {"depth_multiplier": 1}),
    )
    return Case(draw.label, model.build(), draw.samples([(image, input_zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_dilated_columns_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([dilated_case(number) for number in range(case_count(10, 500))], target, tmp_path)


def test_most_dilated_columns_have_the_kernels_of_layers_without_a_dilation() -> None:
    kernels = [lower(dilated_case(number).graph(), DSP)[0].kernel for number in range(40)]
    assert sum(kernel.endswith("_dsp") for kernel in kernels) >= 20
    assert any(kernel.endswith("_s8") for kernel in kernels)
