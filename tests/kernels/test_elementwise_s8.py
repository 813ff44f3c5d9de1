"""Ops on two tensors in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import TARGETS, Case, Target, case_count, check, check_many
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

OPS = ("ADD", "SUB", "MUL")
MORE_OPS = ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU")  # without a fused activation


def scales(draw: Draw, op: str) -> tuple[float, float, float]:
    """Scales of both inputs and the output: ordinary, powers of two (ties!), or far apart."""
    style = draw.choice(("ordinary", "ordinary", "ties", "far apart"))
    first, spread = draw.log_uniform(1e-3, 1.0), 1000.0 if style == "far apart" else 4.0
    second = first * draw.log_uniform(1 / spread, spread)
    natural = {
        "MUL": first * second * 128,
        "SQUARED_DIFFERENCE": max(first, second) ** 2 * 128,
        "PRELU": max(first, first * second * 128),
    }.get(op, max(first, second) * 2)
    output = natural * draw.log_uniform(1 / spread, spread)
    if style == "ties":
        first, second, output = (2.0 ** round(float(np.log2(v))) for v in (first, second, output))
    return first, second, output


def shapes(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: equal, one a scalar, one shorter, or each repeating somewhere."""
    rank = draw.choice((1, 2, 3, 4, 4, 4, 5))
    full = tuple(draw.integer(1, 6 if rank > 2 else 20) for _ in range(rank))
    style = draw.choice(("equal", "equal", "scalar", "shorter", "mixed", "mixed"))
    if style == "equal":
        return full, full
    if style == "scalar":
        pair = [full, draw.choice(((1,), (), (1,) * rank))]
    elif style == "shorter":
        pair = [full, full[draw.integer(0, rank - 1) :]]
    else:
        alternations = [draw.integer(0, 2) for _ in range(min(rank, 4))]  # at most four loops
        alternations += alternations[-1:] * (rank - 4)
        pair = [tuple(1 if a == side else size for a, size in zip(alternations, full, strict=True)) for side in (1, 2)]
    return (pair[1], pair[0]) if draw.chance(0.5) else (pair[0], pair[1])


def activation(draw: Draw, op: str) -> dict[str, str]:
    return {"fused_activation_function": draw.activation()} if op in OPS else {}


def elementwise_case(op: str, number: int, dtype: str = "int8") -> Case:
    draw = Draw(op, number, dtype)
    one, two = shapes(draw)
    twice = one == two and draw.chance(0.2)  # the same tensor on both sides
    constant = None if twice else draw.choice((None, None, 0, 1))
    first, second, output = scales(draw, op)
    output = output if dtype == "int8" else max(output, 1e-6)  # TFLM refuses a clamp beyond int32
    zeros = draw.zero_point(), draw.zero_point(), draw.zero_point()

    model = TfliteBuilder()
    operands, inputs = [], []
    for side, (shape, scale) in enumerate(((one, first), (two, second))):
        quantization = draw.quantized(scale, zeros[side])
        if side == constant:
            operands.append(model.constant(draw.codes(shape, zeros[side]), **quantization))
        elif side == 1 and twice:
            operands.append(operands[0])
        else:
            operands.append(model.input(shape, **quantization))
            inputs.append((shape, zeros[side]))
    result = model.output(np.broadcast_shapes(one, two), **draw.quantized(output, zeros[2]))
    if draw.chance(0.3):
        model.as_output(operands[0 if constant != 0 else 1])  # which keeps the result out of its memory
    model.op(op, operands, [result], **activation(draw, op))
    return Case(draw.label, model.build(), draw.samples(inputs))


def all_pairs_case(op: str, number: int) -> Case:
    """Every code with every code."""
    draw = Draw(f"{op} all pairs", number)
    first, second, output = scales(draw, op)
    zeros = draw.zero_point(), draw.zero_point(), draw.zero_point()
    model = TfliteBuilder()
    a = model.input((256, 1), scale=first, zero_point=zeros[0])
    b = model.input((1, 256), scale=second, zero_point=zeros[1])
    y = model.output((256, 256), scale=output, zero_point=zeros[2])
    model.op(op, [a, b], [y], **activation(draw, op))
    codes = np.arange(-128, 128).astype(np.int8)
    return Case(f"{op.lower()}_all_{number}", model.build(), ((codes.reshape(256, 1), codes.reshape(1, 256)),))


@pytest.mark.golden
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("target", TARGETS)
def test_elementwise_ops_give_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([elementwise_case(op, number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("target", TARGETS)
def test_elementwise_ops_give_the_bytes_of_tflm_for_every_pair_of_codes(
    op: str, target: Target, tmp_path: Path
) -> None:
    check([all_pairs_case(op, number) for number in range(case_count(4, 20))], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_elementwise_ops_of_int16_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    ops = (*OPS, "MAXIMUM", "MINIMUM")
    check_many([elementwise_case(op, n, "int16") for op in ops for n in range(case_count(6))], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_more_elementwise_ops_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [elementwise_case(op, number) for op in MORE_OPS for number in range(case_count(12))]
    check_many(cases, target, tmp_path)
    pairs = [all_pairs_case(op, number) for op in MORE_OPS for number in range(case_count(2, 20))]
    check_many(pairs, target, tmp_path / "pairs", at_once=25)  # 64 KiB of codes each
