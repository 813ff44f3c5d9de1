"""FULLY_CONNECTED in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw, layer
from tests.tflite_builder import TfliteBuilder


def fully_connected_case(number: int, int4: bool = False) -> Case:
    draw = Draw("FULLY_CONNECTED", number)
    outputs, depth = draw.integer(1, 24), draw.choice((1, draw.integer(2, 40), draw.integer(41, 400)))
    leading = draw.choice(((1,), (1,), (draw.integer(1, 4),), (2, draw.integer(1, 3))))
    random = layer(draw, (outputs, depth), 0)
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()

    model = TfliteBuilder()
    # A two-dimensional output of an input of any shape, or with keep_num_dims the input's shape but for its last axis.
    keep = len(leading) > 1 or draw.chance(0.3)
    shape = (*leading, depth)
    if not keep and leading == (1,) and depth % 2 == 0:
        shape = (1, 2, depth // 2)
    x = model.input(shape, scale=random.input_scale, zero_point=input_zero)
    operands = (random.as_int4(scales=1) if int4 else random).operands(model, x)
    y = model.output((*leading, outputs), scale=random.output_scale, zero_point=output_zero)
    model.op("FULLY_CONNECTED", operands, [y], keep_num_dims=keep, fused_activation_function=draw.activation())
    return Case(
        f"fully_connected_{number}{'_int4' if int4 else ''}", model.build(), draw.samples([(shape, input_zero)])
    )


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_fully_connected_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([fully_connected_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_fully_connected_with_int4_weights_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([fully_connected_case(number, int4=True) for number in range(case_count(20))], target, tmp_path)
