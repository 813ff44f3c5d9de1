"""BATCH_MATMUL in C against TFLM, byte for byte."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def batch_matmul_case(number: int) -> Case:
    draw = Draw("BATCH_MATMUL", number)
    rows, columns, depth = (draw.integer(1, 9) for _ in range(3))
    batches = [draw.integer(1, 3) for _ in range(draw.choice((0, 0, 1, 1, 2, 3)))]
    transposed = draw.chance(0.4), draw.chance(0.4)
    shapes = []
    for side, matrix in enumerate(((rows, depth), (depth, columns))):
        own = [1 if draw.chance(0.2) else size for size in batches]
        own = own[draw.integer(0, len(own)) :] if side and draw.chance(0.3) else own
        shapes.append((*own, *(matrix[::-1] if transposed[side] else matrix)))
    whole = [max(sizes) for sizes in zip(*((1,) * (5 - len(s)) + s[:-2] for s in shapes), strict=True)]
    output = (*whole[3 - max(len(s) - 2 for s in shapes) :], rows, columns)

    scales, zeros = [draw.log_uniform(1e-3, 1) for _ in shapes], [draw.zero_point() for _ in shapes]
    model = TfliteBuilder()
    constant = draw.choice((None, None, 1, 1, 0))
    operands, inputs = [], []
    for side, shape in enumerate(shapes):
        quantized = {"scale": scales[side], "zero_point": zeros[side]}
        if side == constant:
            operands.append(model.constant(draw.codes(shape, zeros[side]), **quantized))
        else:
            operands.append(model.input(shape, **quantized))
            inputs.append((shape, zeros[side]))
    natural = math.prod(scales) * math.sqrt(depth) * 90
    scale = natural * draw.choice((1.0, draw.log_uniform(0.1, 10), draw.log_uniform(1e-2, 1e6)))
    y = model.output(output, scale=scale, zero_point=draw.output_zero_point())
    model.op("BATCH_MATMUL", operands, [y], version=2, adj_x=transposed[0], adj_y=transposed[1])
    return Case(f"batch_matmul_{number}", model.build(), draw.samples(inputs))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_batch_matmul_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([batch_matmul_case(number) for number in range(case_count(20))], target, tmp_path)
