"""TRANSPOSE_CONV in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw, layer
from tests.tflite_builder import TfliteBuilder


def transpose_conv_case(number: int) -> Case:
    draw = Draw("TRANSPOSE_CONV", number)
    taps = draw.choice(((2, 2), (3, 3), (draw.integer(1, 5), draw.integer(1, 5))))
    stride = draw.choice(((1, 1), (2, 2), (2, 2), (draw.integer(1, 4), draw.integer(1, 4))))
    padding = draw.choice(("SAME", "VALID"))
    inputs = draw.integer(1, 5), draw.integer(1, 5)
    # Of the sizes that lead back to the input, not always the natural one: Keras' output_padding.
    outputs = tuple(
        (n - 1) * s + draw.integer(1, s) if padding == "SAME" else (n - 1) * s + t + draw.integer(0, s - 1)
        for n, s, t in zip(inputs, stride, taps, strict=True)
    )
    batches, depth, channels = draw.choice((1, 1, 2)), draw.integer(1, 7), draw.integer(1, 7)
    random = layer(draw, (channels, *taps, depth), 0)
    input_zero = draw.zero_point()

    model = TfliteBuilder()
    shape = (batches, *inputs, depth)
    size = model.constant(np.array((batches, *outputs, channels), np.int32))
    x = model.input(shape, scale=random.input_scale, zero_point=input_zero)
    operands = [size, model.constant(random.weights, scale=random.weight_scales), x]
    if random.bias is not None:
        operands.append(model.constant(random.bias, scale=random.bias_scales))
    elif draw.chance(0.5):
        operands.append(-1)
    y = model.output((batches, *outputs, channels), scale=random.output_scale, zero_point=draw.output_zero_point())
    model.op(
        "TRANSPOSE_CONV", operands, [y], version=4, padding=padding, stride_h=stride[0], stride_w=stride[1],
        fused_activation_function=draw.activation(),
    )  # fmt: skip
    return Case(f"transpose_conv_{number}", model.build(), draw.samples([(shape, input_zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_transpose_conv_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([transpose_conv_case(number) for number in range(case_count(20))], target, tmp_path)
