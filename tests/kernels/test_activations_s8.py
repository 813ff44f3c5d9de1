"""LOGISTIC, RELU and RELU6 in C against TFLM, byte for byte, for all 256 codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def scales_and_zeros(draw: Draw, op: str) -> tuple[float, int, float, int]:
    """Of the input, then of the output."""
    zero = draw.zero_point()
    if op == "LOGISTIC":
        scale = draw.choice((draw.log_uniform(4e-9, 100.0), draw.log_uniform(0.005, 0.3), 2.0 ** draw.integer(-28, 6)))
        return scale, zero, 1 / 256, -128
    scale = draw.choice((draw.log_uniform(1e-3, 1.0), 6 / 255, 2.0 ** draw.integer(-9, 1), 12 / 17))
    if draw.chance(0.3):
        return scale, zero, scale, zero
    ratio = draw.choice((draw.log_uniform(0.2, 5.0), draw.log_uniform(1e-10, 1e6), 2.0 ** draw.integer(-4, 4)))
    return scale, zero, scale / ratio, draw.zero_point()


def activation_case(op: str, number: int) -> Case:
    draw = Draw(op, number)
    input_scale, input_zero, output_scale, output_zero = scales_and_zeros(draw, op)
    shape = draw.choice(((256,), (1, 16, 16), (2, 4, 8, 4)))
    model = TfliteBuilder()
    x = model.input(shape, scale=input_scale, zero_point=input_zero)
    y = model.output(shape, scale=output_scale, zero_point=output_zero)
    if draw.chance(0.3):
        model.as_output(x)  # which keeps the result out of its memory
    model.op(op, [x], [y])
    return Case(f"{op.lower()}_{number}", model.build(), ((np.arange(-128, 128).astype(np.int8).reshape(shape),),))


@pytest.mark.golden
@pytest.mark.parametrize("op", ["LOGISTIC", "RELU", "RELU6"])
@pytest.mark.parametrize("target", TARGETS)
def test_activations_give_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([activation_case(op, number) for number in range(case_count(60, 400))], target, tmp_path)
