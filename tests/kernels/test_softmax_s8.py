"""SOFTMAX in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import tflite
from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from tests.kernels.batch import HOST, TARGETS, Case, Target, build, case_count, check, run, sources
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def softmax_model(shape: tuple[int, ...], scale: float, beta: float, zero_point: int = 0, keep: bool = False) -> bytes:
    model = TfliteBuilder()
    x = model.input(shape, scale=scale, zero_point=zero_point)
    y = model.output(shape, scale=1 / 256, zero_point=-128)
    if keep:
        model.as_output(x)  # which keeps the result out of its memory
    model.op("SOFTMAX", [x], [y], beta=beta)
    return model.build()


def scale_and_beta(draw: Draw) -> tuple[float, float]:
    """From scales at which all exponentials are the same to those at which the largest wins."""
    scale = draw.choice((draw.log_uniform(2e-8, 1e4), draw.log_uniform(0.005, 1.0), 2.0 ** draw.integer(-25, 8)))
    return scale, draw.choice((1.0, 1.0, draw.log_uniform(1.0, 10.0), 2.0))


def softmax_case(number: int, rows: int = 1) -> Case:
    """rows: instead of a random number of them."""
    draw = Draw("SOFTMAX", number)
    # TFLM stops where a sum of exponentials reaches 512.
    depth = draw.choice((1, 2, 3, 10, draw.integer(1, 50), draw.integer(50, 511)))
    shape = (*(draw.integer(1, 4) for _ in range(draw.integer(0, 3))), depth)
    shape = (rows, depth) if rows > 1 else shape
    zero = draw.zero_point()
    content = softmax_model(shape, *scale_and_beta(draw), zero, keep=draw.chance(0.3))
    return Case(f"softmax_{number}", content, draw.samples([(shape, zero)]))


def wide_softmax_case(number: int) -> Case:
    """Of int16 codes."""
    draw = Draw("SOFTMAX", number, "int16")
    depth = draw.choice((1, 2, 3, 10, draw.integer(1, 50), draw.integer(50, 2000)))
    shape = (*(draw.integer(1, 3) for _ in range(draw.integer(0, 3))), depth)
    scale = draw.choice((draw.log_uniform(1e-10, 0.4), draw.log_uniform(1e-5, 1e-3), 2.0 ** draw.integer(-25, -2)))
    model = TfliteBuilder()
    x = model.input(shape, dtype="int16", scale=scale)
    if draw.chance(0.3):
        model.as_output(x)
    y = model.output(shape, dtype="int16", scale=1 / 32768)
    model.op("SOFTMAX", [x], [y], beta=draw.choice((1.0, 1.0, draw.log_uniform(1.0, 10.0), 2.0)))
    return Case(draw.label, model.build(), draw.samples([(shape, 0)]))


def differences_cases(number: int) -> list[Case]:
    """Rows of two, with every difference between them: all in one for the table, in parts for the other kernel."""
    scale, beta = scale_and_beta(Draw("SOFTMAX all differences", number))
    cases = []
    for first, count in ((-128, 256), (-128, 127), (-1, 127), (126, 2)):
        rows = np.stack([np.full(count, 127), np.arange(first, first + count)], axis=1).astype(np.int8)
        content = softmax_model((count, 2), scale, beta)
        cases.append(Case(f"softmax_{number}_{count}_{first + 128}", content, ((rows,), (rows[:, ::-1].copy(),))))
    return cases


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_softmax_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([softmax_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_softmax_of_int16_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([wide_softmax_case(number) for number in range(case_count(20))], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_softmax_gives_the_bytes_of_tflm_for_every_difference_of_codes(target: Target, tmp_path: Path) -> None:
    check([case for number in range(case_count(10, 200)) for case in differences_cases(number)], target, tmp_path)


@pytest.mark.golden
def test_softmax_of_a_thousand_classes_gives_the_bytes_of_tflm(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    logits = np.clip(rng.normal(-20, 40, (8, 1, 1001)), -128, 127).astype(np.int8)
    content = softmax_model((1, 1001), 0.1, 1.0)
    check([Case("softmax_classes", content, tuple((row,) for row in logits))], HOST, tmp_path)


@pytest.mark.parametrize("depth", [512, 1000, 4095])
def test_softmax_of_more_equal_codes_than_tflm_can_add_up_is_zero(depth: int, tmp_path: Path) -> None:
    case = Case("softmax_flat", softmax_model((depth,), 0.1, 1.0), ((np.full(depth, 5, np.int8),),))
    assert run(build(sources([case]), HOST, tmp_path), [case], HOST, tmp_path) == [[(b"\x80" * depth,)]]


def test_many_outputs_have_a_table_of_no_more_exponentials_than_there_are() -> None:
    def lowered(shape: tuple[int, ...], scale: float) -> Step:
        return lower(tflite.parse(softmax_model(shape, scale, 1.0), Path("softmax.tflite")))[0]

    assert [lowered(shape, 0.1).kernel for shape in ((1, 255), (128, 2))] == ["softmax_s8", "softmax_s8_table"]
    assert [lowered((300,), scale).constants[0].data.size for scale in (0.01, 0.2, 100.0)] == [256, 125, 2]
