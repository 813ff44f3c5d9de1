"""FULLY_CONNECTED in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check, check_many
from tests.kernels.random_cases import Draw, layer
from tests.tflite_builder import TfliteBuilder


def fully_connected_case(number: int, int4: bool = False, dtype: str = "int8") -> Case:
    draw = Draw("FULLY_CONNECTED", number, dtype)
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
    x = model.input(shape, **draw.quantized(random.input_scale, input_zero))
    operands = (random.as_int4(scales=1) if int4 else random).operands(model, x)
    y = model.output((*leading, outputs), **draw.quantized(random.output_scale, output_zero))
    activation = draw.activation()
    model.op(
        "FULLY_CONNECTED", operands, [y], keep_num_dims=keep, fused_activation_function=activation, **random.options
    )
    return Case(f"{draw.label}{'_int4' if int4 else ''}", model.build(), draw.samples([(shape, input_zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_fully_connected_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([fully_connected_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_fully_connected_with_int4_weights_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([fully_connected_case(number, int4=True) for number in range(case_count(20))], target, tmp_path)


def long_sum_case(number: int) -> Case:
    """Sums of int16 codes that no int32 holds, of about the longest runs for which one does."""
    draw = Draw("FULLY_CONNECTED long sums", number, "int16")
    depth = draw.choice((508, 511, 512, 513, 1016, 1024, draw.integer(505, 1500)))
    signs = draw.rng.choice([-128, 127], (2, 1)) if draw.chance(0.7) else draw.rng.choice([-128, 127], (2, depth))
    model = TfliteBuilder()
    x = model.input((1, depth), dtype="int16", scale=1e-4)
    weights = model.constant(np.broadcast_to(signs, (2, depth)).astype(np.int8), scale=0.01)
    bias = [model.constant(draw.rng.integers(-(1 << 40), 1 << 40, 2), scale=1e-6)] if draw.chance(0.5) else []
    y = model.output((1, 2), dtype="int16", scale=1e-6 * depth * 130)
    model.op("FULLY_CONNECTED", [x, weights, *bias], [y])
    ends = tuple((np.full((1, depth), end, np.int16),) for end in (-32768, 32767))
    return Case(f"long_{number}", model.build(), (*ends, *draw.samples([((1, depth), 0)])))


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_fully_connected_of_int16_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [fully_connected_case(number, dtype="int16") for number in range(case_count(20))]
    check_many([*cases, *(long_sum_case(number) for number in range(case_count(6, 100)))], target, tmp_path)
