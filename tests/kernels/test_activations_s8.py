"""Functions of one code in C against TFLM, byte for byte, for all 256 codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot.lower import lower
from tests.kernels.batch import HOST, TARGETS, Case, Target, case_count, check, check_many, differing, tflm_outputs
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

LOOKUPS = ("LOGISTIC", "TANH", "LEAKY_RELU", "HARD_SWISH", "ELU", "ABS", "RSQRT")


def scales_and_zeros(draw: Draw, op: str) -> tuple[float, int, float, int]:
    """Of the input, then of the output."""
    zero = draw.zero_point()
    if op in ("LOGISTIC", "TANH"):
        scale = draw.choice((draw.log_uniform(4e-9, 100.0), draw.log_uniform(0.005, 0.3), 2.0 ** draw.integer(-28, 6)))
        return (scale, zero, 1 / 256, -128) if op == "LOGISTIC" else (scale, zero, 1 / 128, 0)
    if op == "RSQRT":
        scale = draw.choice((draw.log_uniform(1e-6, 10.0), 2.0 ** draw.integer(-20, 4)))
        largest = draw.choice((0.05, 0.3, 1.0, 4.0)) / math.sqrt(scale)  # from 1 / sqrt(1 code) downwards
        return scale, -128, largest / 127, draw.zero_point()
    if op == "HARD_SWISH":
        scale = draw.choice((draw.log_uniform(3e-7, 1.0), draw.log_uniform(0.01, 0.2), 2.0 ** draw.integer(-10, 1)))
        ratio = draw.choice((draw.log_uniform(0.3, 3.0), draw.log_uniform(1 / 500, 127), 2.0 ** draw.integer(-4, 4)))
        return scale, zero, scale / ratio, draw.zero_point()
    if op == "ELU":
        scale = draw.choice((draw.log_uniform(1e-4, 1.0), 2.0 ** draw.integer(-9, 1)))
        output = draw.choice((draw.log_uniform(1e-4, 1.0), 1 / 127, scale, 2.0 ** draw.integer(-9, 1)))
        return scale, zero, output, draw.zero_point()
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
    alpha = {"alpha": draw.choice((0.0, 0.01, 0.3, 1.0, 2.5, 2.0**-7, draw.log_uniform(1e-4, 1.0)))}
    model.op(op, [x], [y], **(alpha if op == "LEAKY_RELU" else {}))
    return Case(f"{op.lower()}_{number}", model.build(), ((np.arange(-128, 128).astype(np.int8).reshape(shape),),))


# input, output: with a multiplier in float32, one code of RSQRT's differs.
ROOTS = (
    (0.02486521564424038, 0.00392639497295022),
    (0.002104766434058547, 0.011431745253503323),
    (0.010329150594770908, 0.006421310361474752),
)


def tie_case(op: str, number: int) -> Case:
    """Scales at which something is a tie, so that a multiplier in float32 instead of double shows."""
    draw = Draw(f"{op} in double", number)
    output, output_zero = draw.log_uniform(0.002, 1.0), draw.zero_point()
    source, zero = output * (draw.integer(0, 60) + 0.5) / draw.integer(1, 200), draw.zero_point()
    if op == "HARD_SWISH":  # a multiplier in the middle between two of 16 bits
        source = output * 2.0 ** -draw.integer(4, 8) * (draw.integer(1 << 14, (1 << 15) - 1) + 0.5) / 256
    if op == "RSQRT":
        (source, output), zero = ROOTS[number % len(ROOTS)], -128
    model = TfliteBuilder()
    x = model.input((256,), scale=source, zero_point=zero)
    y = model.output((256,), scale=output, zero_point=-128 if op == "RSQRT" else output_zero)
    model.op(op, [x], [y], **({"alpha": draw.log_uniform(0.01, 1.0)} if op == "LEAKY_RELU" else {}))
    return Case(f"{op.lower()}_{number}", model.build(), ((np.arange(-128, 128).astype(np.int8),),))


def check_tables(cases: Sequence[Case], folder: Path) -> None:
    tables = [[(lower(case.graph())[0].constants[0].data.tobytes(),)] for case in cases]
    golden = [[sample[:1] for sample in case] for case in tflm_outputs(cases, folder)]
    wrong = differing(cases, golden, tables)
    assert not wrong, f"{len(wrong)} of {len(cases)} tables differ from TFLM:\n" + "\n".join(wrong[:8])


@pytest.mark.golden
@pytest.mark.parametrize("op", LOOKUPS)
def test_tables_hold_the_bytes_of_tflm(op: str, tmp_path: Path) -> None:
    check_tables([activation_case(op, number) for number in range(case_count(60, 1000))], tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize(("op", "count"), [("ABS", 60), ("LEAKY_RELU", 60), ("HARD_SWISH", 120), ("RSQRT", len(ROOTS))])
def test_multipliers_of_tables_are_computed_in_double(op: str, count: int, tmp_path: Path) -> None:
    check_tables([tie_case(op, number) for number in range(count)], tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_lookups_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([activation_case(op, number) for op in LOOKUPS for number in range(case_count(2, 30))], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("op", ["RELU", "RELU6"])
@pytest.mark.parametrize("target", TARGETS)
def test_rectifiers_give_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([activation_case(op, number) for number in range(case_count(60, 400))], target, tmp_path)


WIDE = ("LOGISTIC", "TANH", "LEAKY_RELU", "RELU", "RELU6")
EVERY_CODE = np.arange(-32768, 32768).astype(np.int16)


def wide_activation_case(op: str, number: int, every_code: bool = False) -> Case:
    """A function of int16 codes, of some or of all of them."""
    draw = Draw(op, number, "int16")
    if op in ("LOGISTIC", "TANH"):
        power = 2.0 ** -draw.integer(10, 13)  # at 2**-12, of TANH also 2**-11, there is another formula
        near = power * (1 + draw.choice((0, 0.0006, -0.0006, 0.0008, -0.0008)))
        scale = draw.choice((draw.log_uniform(1e-12, 8 / 3), draw.log_uniform(5e-5, 1e-3), near))
        output = 1 / 32768
    else:
        scale = draw.choice((draw.log_uniform(2e-4, 0.01), 6 / 32767, 6 / 32768, 2.0 ** -draw.integer(5, 12)))
        output = scale / draw.choice((1.0, draw.log_uniform(0.2, 5.0), draw.log_uniform(1e-10, 3e4)))
    shape = EVERY_CODE.shape if every_code else (draw.integer(1, 300),)
    model = TfliteBuilder()
    x = model.input(shape, dtype="int16", scale=scale)
    y = model.output(shape, dtype="int16", scale=output)
    if draw.chance(0.3):
        model.as_output(x)
    alpha = {"alpha": draw.choice((0.0, 0.01, 0.3, 1.0, 2.0**-7))} if op == "LEAKY_RELU" else {}
    model.op(op, [x], [y], **alpha)
    return Case(draw.label, model.build(), ((EVERY_CODE,),) if every_code else draw.samples([(shape, 0)]))


@pytest.mark.slow
@pytest.mark.golden
def test_activations_of_all_int16_codes_give_the_bytes_of_tflm(tmp_path: Path) -> None:
    cases = [wide_activation_case(op, n, every_code=True) for op in WIDE for n in range(case_count(3))]
    check_many(cases, HOST, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_activations_of_int16_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check_many([wide_activation_case(op, n) for op in WIDE for n in range(case_count(4))], target, tmp_path)
