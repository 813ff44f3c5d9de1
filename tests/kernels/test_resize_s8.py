"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

OPTIONS = ((False, False), (True, False), (False, True), (True, True))  # align_corners, half_pixel_centers


def resize_case(op: str, number: int) -> Case:
    draw = Draw(op, number)
    corners, half = draw.choice(OPTIONS if op == "RESIZE_NEAREST_NEIGHBOR" else OPTIONS[:3])
    inputs = draw.integer(1, 9), draw.integer(1, 9)
    times = draw.choice((None, None, 2, 3))
    outputs = tuple(n * times if times else draw.choice((n, draw.integer(1, 25))) for n in inputs)
    shape = (draw.choice((1, 1, 2)), *inputs, draw.choice((1, 3, draw.integer(1, 8))))
    scale, zero = draw.log_uniform(1e-3, 1), draw.zero_point()

    model = TfliteBuilder()
    x = model.input(shape, scale=scale, zero_point=zero)
    size = model.constant(np.array(outputs, np.int32))
    y = model.output((shape[0], *outputs, shape[3]), scale=scale, zero_point=zero)
    model.op(op, [x, size], [y], version=3, align_corners=corners, half_pixel_centers=half)
    return Case(f"{op.lower()}_{number}", model.build(), draw.samples([(shape, zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("op", ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"])
@pytest.mark.parametrize("target", TARGETS)
def test_resizing_gives_the_bytes_of_tflm(target: Target, op: str, tmp_path: Path) -> None:
    check([resize_case(op, number) for number in range(case_count(20))], target, tmp_path)
