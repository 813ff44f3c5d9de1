"""MEAN, SUM, REDUCE_MAX, ARG_MAX and L2_NORMALIZATION in C against TFLM, byte for byte."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import HOST, TARGETS, Case, Target, case_count, check, check_many
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def reduce_case(op: str, number: int, dtype: str = "int8") -> Case:
    draw = Draw(op, number, dtype)
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
    if op == "SUM":
        count = math.prod(shape[axis] for axis in axes)
        largest = 1e3 if dtype == "int8" else 32767 / count  # a sum of int16 codes has less room in an int32
        ratio = min(ratio, largest) / draw.choice((1, count))
    if op == "REDUCE_MAX":
        ratio, output_zero = 1.0, input_zero

    model = TfliteBuilder()
    x = model.input(shape, **draw.quantized(input_scale, input_zero))
    scalar = len(given) == 1 and draw.chance(0.3)
    axis = model.constant(np.array(given[0] if scalar else given, np.int32))
    kept = tuple(1 if i in axes else size for i, size in enumerate(shape) if keep or i not in axes)
    y = model.output(kept, **draw.quantized(input_scale / ratio, output_zero))
    model.op(op, [x, axis], [y], keep_dims=keep)
    return Case(draw.label, model.build(), draw.samples([(shape, input_zero)]))


def arg_max_case(op: str, number: int) -> Case:
    draw = Draw(op, number)
    rank = draw.integer(1, 5)
    shape = tuple(draw.integer(1, 6 if rank > 2 else 20) for _ in range(rank))
    axis = draw.integer(0, rank - 1)
    model = TfliteBuilder()
    x = model.input(shape, scale=0.1, zero_point=draw.zero_point())
    named = model.constant(np.array([axis - rank if draw.chance(0.3) else axis], np.int32))
    model.op(op, [x, named], [model.output(shape[:axis] + shape[axis + 1 :], dtype="int32")])
    return Case(f"{op.lower()}_{number}", model.build(), draw.samples([(shape, 0)]))


def l2_normalization_case(op: str, number: int) -> Case:
    draw = Draw(op, number)
    shape = tuple(draw.integer(1, 5) for _ in range(draw.integer(0, 3)))
    shape += (draw.choice((1, 2, 3, draw.integer(1, 40), draw.integer(100, 3000))),)
    zero = draw.zero_point()
    model = TfliteBuilder()
    x = model.input(shape, scale=draw.log_uniform(1e-3, 1.0), zero_point=zero)
    model.op(op, [x], [model.output(shape, scale=1 / 128)])
    near_zero = np.clip(zero + draw.rng.integers(-1, 2, shape), -128, 127).astype(np.int8)  # sums of 0, 1, 2, ..
    return Case(f"{op.lower()}_{number}", model.build(), (*draw.samples([(shape, zero)]), (near_zero,)))


CASES = {
    "SUM": reduce_case,
    "REDUCE_MAX": reduce_case,
    "ARG_MAX": arg_max_case,
    "L2_NORMALIZATION": l2_normalization_case,
}


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_mean_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([reduce_case("MEAN", number) for number in range(case_count())], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_mean_and_sum_of_int16_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [reduce_case(op, number, "int16") for op in ("MEAN", "SUM") for number in range(case_count(10))]
    check_many(cases, target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_other_reductions_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check_many([case(op, n) for op, case in CASES.items() for n in range(case_count(12))], target, tmp_path)


@pytest.mark.golden
def test_the_root_is_that_of_tflm_for_sums_of_every_size(tmp_path: Path) -> None:
    """Vectors of one code and many zeros: the sum of squares is that code's, or a multiple."""
    cases = []
    for depth in (1, 2, 5, 100, 33_025):
        model = TfliteBuilder()
        x = model.input((1, depth), scale=0.1, zero_point=-128)
        model.op("L2_NORMALIZATION", [x], [model.output((1, depth), scale=1 / 128)])
        vectors = [np.full((1, depth), -128, np.int8) for _ in range(-128, 128)]
        for code, vector in enumerate(vectors, start=-128):
            vector[0, : 1 + depth * (code % 2)] = code
        cases.append(Case(f"depth_{depth}", model.build(), tuple((vector,) for vector in vectors[:: 1 + depth // 400])))
    check(cases, HOST, tmp_path)
