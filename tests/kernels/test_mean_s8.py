"""MEAN in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def mean_case(number: int) -> Case:
    draw = Draw("MEAN", number)
    rank = draw.choice((1, 2, 3, 4, 4, 4, 5))
    shape = tuple(draw.integer(1, 7 if rank > 2 else 30) for _ in range(rank))
    axes = [axis for axis in range(rank) if draw.chance(0.5)] or [draw.integer(0, rank - 1)]
    if rank == 4 and draw.chance(0.4):
        axes = [1, 2]  # a global average
    given = [axis - rank if draw.chance(0.3) else axis for axis in axes]
    if draw.chance(0.2):
        given = [*given[::-1], given[0]]
    keep = draw.chance(0.5)
    input_scale = draw.log_uniform(1e-3, 1.0)
    ratio = draw.choice((1.0, draw.log_uniform(0.3, 4.0), 2.0 ** draw.integer(-2, 2)))
    if draw.chance(0.1):
        ratio = draw.log_uniform(1e-9, 1e3)
    input_zero, output_zero = draw.zero_point(), draw.output_zero_point()

    model = TfliteBuilder()
    x = model.input(shape, scale=input_scale, zero_point=input_zero)
    scalar = len(given) == 1 and draw.chance(0.3)
    axis = model.constant(np.array(given[0] if scalar else given, np.int32))
    kept = tuple(1 if i in axes else size for i, size in enumerate(shape) if keep or i not in axes)
    y = model.output(kept, scale=input_scale / ratio, zero_point=output_zero)
    model.op("MEAN", [x, axis], [y], keep_dims=keep)
    return Case(f"mean_{number}", model.build(), draw.samples([(shape, input_zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_mean_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([mean_case(number) for number in range(case_count())], target, tmp_path)
