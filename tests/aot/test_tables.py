"""Functions of one code become one table: the bytes of TFLM, and one kernel instead of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.aot import Core, export
from pipeline.aot.ops.lookup import REASON
from pipeline.model import Export
from tests.kernels.batch import HOST, Case, case_count, check_many
from tests.kernels.random_cases import Draw
from tests.kernels.test_elementwise_s8 import MORE_OPS, OPS, activation, scales
from tests.tflite_builder import TfliteBuilder

CORES = [pytest.param(Core(frozenset(features)), id="-".join(features) or "plain") for features in ((), ("dsp", "mve"))]


def kernels(exported: Export) -> list[str]:
    return [choice.kernel.removeprefix("tflash_") for choice in exported.kernels]


def chain_case(number: int) -> Case:
    """Functions of one code after each other, of any scales; some also read by the world outside."""
    draw = Draw("functions of one code", number)
    model, size = TfliteBuilder(), draw.integer(1, 40)
    scale, zero = draw.log_uniform(0.01, 0.1), draw.zero_point()
    x = model.input((1, size), scale=scale, zero_point=zero)
    last, first = draw.integer(2, 5), zero
    for step in range(last + 1):
        op = draw.choice(("RELU", "RELU6", "QUANTIZE", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ABS"))
        scale, zero = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "RELU6": (scale, zero)}.get(
            op, (scale * draw.log_uniform(0.5, 2), draw.zero_point())
        )
        made = model.output if step == last or draw.chance(0.15) else model.tensor
        y = made((1, size), scale=scale, zero_point=zero)
        model.op(op, [x], [y], **({"alpha": 0.3} if op == "LEAKY_RELU" else {}))
        x = y
    return Case(f"chain_{number}", model.build(), draw.samples([((1, size), first)], 6))


def pair_case(number: int) -> Case:
    """An op on codes and a constant, on the same codes twice, or on one or two functions of them."""
    draw = Draw("two functions of one code", number)
    op = draw.choice((*OPS, *MORE_OPS))
    first, second, output = scales(draw, op)
    zero, zero2 = draw.zero_point(), draw.zero_point()
    style, shape = draw.choice(("constant", "filled", "twice", "gated", "both")), draw.choice(((256,), (4, 8, 8)))
    if style == "twice":
        second = first
    model = TfliteBuilder()
    x = model.input(shape, scale=first, zero_point=zero)

    def rescaled(source: int, scale: float, to: int) -> int:
        y = model.tensor(shape, scale=scale, zero_point=to)
        op_between = "LEAKY_RELU" if (scale, to) == (first, zero) else draw.choice(("QUANTIZE", "LEAKY_RELU"))
        model.op(op_between, [source], [y])
        return y

    if style in ("constant", "filled"):
        code = np.full(
            shape if style == "filled" else draw.choice(((), (1,), (1, 1))), draw.integer(-128, 127), np.int8
        )
        operands = [x, model.constant(code, scale=second, zero_point=zero2)]
    elif style == "twice":
        operands = [x, x]
    elif style == "gated":
        operands = [x, rescaled(x, second, zero2)]
    else:
        operands = [rescaled(x, first, zero2), rescaled(x, second, zero)]
    y = model.output(shape, scale=output, zero_point=draw.zero_point())
    model.op(op, operands[:: draw.choice((1, -1))], [y], **activation(draw, op))
    return Case(f"pair_{number}_{style}_{op}", model.build(), ((np.arange(-128, 128).astype(np.int8).reshape(shape),),))


@pytest.mark.golden
def test_chains_of_functions_of_one_code_give_the_bytes_of_tflm(tmp_path: Path) -> None:
    cases = [chain_case(number) for number in range(case_count(12, 500))]
    assert sum(len(export(case.graph()).hidden) for case in cases) > 2 * len(cases)
    check_many(cases, HOST, tmp_path)


@pytest.mark.golden
def test_ops_on_two_functions_of_one_code_are_one_table_with_the_bytes_of_tflm(tmp_path: Path) -> None:
    cases = [pair_case(number) for number in range(case_count(40, 1000))]
    assert {tuple(kernels(export(case.graph()))) for case in cases} == {("lookup_s8",)}
    check_many(cases, HOST, tmp_path)


def test_a_table_that_is_also_read_by_others_stays() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    a = model.output((1, 4), scale=1 / 256, zero_point=-128)
    model.op("LOGISTIC", [x], [a])
    model.op("QUANTIZE", [a], [model.output((1, 4), scale=0.2)])
    assert export(model.graph()).hidden == ()


def swish(model: TfliteBuilder, size: int, shown: bool = False) -> None:
    x = model.input((1, size), scale=0.1)
    gate = (model.output if shown else model.tensor)((1, size), scale=1 / 256, zero_point=-128, name="gate")
    model.op("LOGISTIC", [x], [gate])
    model.op("MUL", [x, gate], [model.output((1, size), scale=0.1)])


@pytest.mark.parametrize("core", CORES)
def test_swish_is_one_table_on_every_core(core: Core) -> None:
    model = TfliteBuilder()
    swish(model, 16)
    found = export(model.graph(), core)
    assert kernels(found) == ["lookup_s8"]
    assert found.kernels[0].reason == "one table for op 0 (LOGISTIC) as well"
    assert [(h.op_index, h.tensor, h.reason) for h in found.hidden] == [
        (0, "gate", "op 1 (MUL) has one table for both")
    ]


def test_a_second_table_has_to_pay() -> None:
    for size, expected in ((255, ["lookup_s8", "mul_s8"]), (256, ["lookup_s8", "lookup_s8"])):
        model = TfliteBuilder()
        swish(model, size, shown=True)
        assert kernels(export(model.graph())) == expected


def test_a_constant_of_several_values_is_no_function_of_one_code() -> None:
    model = TfliteBuilder()
    x = model.input((256, 2), scale=0.1)
    two = model.constant(np.array([1, 2], np.int8), scale=0.1)
    model.op("ADD", [x, two], [model.output((256, 2), scale=0.1)])
    assert kernels(export(model.graph())) == ["add_s8"]


def test_a_constant_of_one_value_is() -> None:
    model = TfliteBuilder()
    x = model.input((256, 2), scale=0.1)
    three = model.constant(np.array([[3]], np.int8), scale=0.1)
    model.op("ADD", [x, three], [model.output((256, 2), scale=0.1)])
    found = export(model.graph())
    assert kernels(found) == ["lookup_s8"]
    assert found.kernels[0].reason == REASON


def test_codes_that_repeat_along_a_constant_keep_their_kernel() -> None:
    model = TfliteBuilder()
    x = model.input((1, 1), scale=0.1)
    wide = model.constant(np.full((1, 300), 3, np.int8), scale=0.1)
    model.op("ADD", [x, wide], [model.output((1, 300), scale=0.1)])
    assert kernels(export(model.graph())) == ["add_s8"]
