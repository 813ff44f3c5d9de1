"""PAD, PADV2, CONCATENATION, RESHAPE, SQUEEZE and EXPAND_DIMS in C against TFLM, byte for byte."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot.ops import LOWERINGS
from pipeline.aot.steps import Core, Step
from pipeline.model import Array
from pipeline.tflite import Graph, Op
from tests.kernels.batch import HOST, TARGETS, Case, Target, case_count, check, check_many
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder


def values(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Array:
    """Any bit patterns, but for what is not a number."""
    if dtype == "float32":
        return draw.rng.normal(0, 1e3, shape).astype(np.float32)
    if dtype == "bool":
        return draw.rng.integers(0, 2, shape).astype(bool)
    limits = np.iinfo(dtype)
    return draw.rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def pad_case(op: str, number: int, dtype: str = "int8") -> Case:
    draw = Draw(op, number, dtype)
    rank = draw.choice((1, 2, 3, 4, 4, 4, 5))
    shape = tuple(draw.integer(1, 5) for _ in range(rank))
    padded = [0] * rank + [1] * min(rank, 4)
    paddings = [(draw.integer(0, 3), draw.integer(0, 3)) if draw.choice(padded) else (0, 0) for _ in shape]
    if rank == 4 and draw.chance(0.4):
        paddings[0] = paddings[3] = (0, 0)  # as an image
    if rank == 5:
        paddings[draw.integer(1, 4)] = (0, 0)  # at most four loops
    scale, zero = draw.log_uniform(1e-3, 1.0), draw.zero_point()
    model = TfliteBuilder()
    # TFLM copies codes whatever the input's scale is, and pads with the output's zero point.
    odd = draw.chance(0.1)
    x = model.input(shape, **draw.quantized(scale * 2 if odd else scale, draw.zero_point() if odd else zero))
    operands = [x, model.constant(np.array(paddings, np.int32))]
    if op == "PADV2":
        value = draw.integer(draw.low, draw.high)
        operands.append(model.constant(np.array([value], dtype), **draw.quantized(scale, zero)))
    larger = tuple(size + sum(p) for size, p in zip(shape, paddings, strict=True))
    model.op(op, operands, [model.output(larger, **draw.quantized(scale, zero))])
    return Case(draw.label, model.build(), draw.samples([(shape, zero)], 2))


def concatenation_case(number: int) -> Case:
    draw = Draw("CONCATENATION", number)
    dtype = draw.choice(("int8", "int8", "int8", "int16", "int32", "int64", "float32", "bool"))
    quantization = {"int8": {"scale": 0.1, "zero_point": draw.zero_point()}, "int16": {"scale": 0.1}}.get(dtype, {})
    rank = draw.integer(1, 5)
    axis = draw.integer(0, rank - 1)
    others = [draw.integer(1, 4) for _ in range(rank)]
    model = TfliteBuilder()
    operands: list[int] = []
    inputs: list[tuple[int, ...]] = []
    sizes: list[int] = []
    for position in range(draw.choice((1, 2, 2, 3, draw.integer(4, 10)))):
        shape = (*others[:axis], draw.integer(1, 5), *others[axis + 1 :])
        if position and draw.chance(0.15):
            operands.append(operands[0])  # the same tensor again
            sizes.append(sizes[0])
            continue
        if position and draw.chance(0.2):
            operands.append(model.constant(values(draw, dtype, shape), **quantization))
        else:
            operands.append(model.input(shape, dtype=dtype, **quantization))
            inputs.append(shape)
        sizes.append(shape[axis])
    y = model.output((*others[:axis], sum(sizes), *others[axis + 1 :]), dtype=dtype, **quantization)
    model.op("CONCATENATION", operands, [y], axis=axis - rank if draw.chance(0.3) else axis)
    samples = tuple(tuple(values(draw, dtype, shape) for shape in inputs) for _ in range(2))
    return Case(f"concatenation_{number}", model.build(), samples)


def shape_case(op: str, number: int) -> Case:
    draw = Draw(op, number)
    shape = tuple(draw.choice((1, 1, 2, 3, 5)) for _ in range(draw.integer(1, 4)))
    dtypes = (
        ("int8", "int8", "int16", "float32") if op == "EXPAND_DIMS" else ("int8", "int8", "int16", "int32", "float32")
    )
    dtype = draw.choice(dtypes)
    model = TfliteBuilder()
    x = model.input(shape, dtype=dtype)
    if op == "RESHAPE":
        new = draw.choice(((math.prod(shape),), (1, math.prod(shape)), shape[::-1], (*shape, 1)))
        given = [-1, *new[1:]] if draw.chance(0.3) else list(new)
        way = draw.choice(("input", "options", "both", "neither"))
        operands = [x, model.constant(np.array(given, np.int32))] if way in ("input", "both") else [x]
        y = model.output(new, dtype=dtype)
        model.op(op, operands, [y], **({"new_shape": given} if way in ("options", "both") else {}))
        if way == "neither":
            model.without_options()
    elif op == "SQUEEZE":
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        chosen = [axis for axis in ones if draw.chance(0.5)] or ones  # none named: all
        y = model.output([size for axis, size in enumerate(shape) if axis not in chosen], dtype=dtype)
        named = [] if chosen == ones else [axis - len(shape) if draw.chance(0.3) else axis for axis in chosen]
        model.op(op, [x], [y], squeeze_dims=named)
    else:
        axis = draw.integer(0, len(shape))
        given_axis = axis - len(shape) - 1 if draw.chance(0.3) else axis
        y = model.output((*shape[:axis], 1, *shape[axis:]), dtype=dtype)
        model.op(op, [x, model.constant(np.array(given_axis, np.int32))], [y])
    return Case(f"{op.lower()}_{number}", model.build(), ((values(draw, dtype, shape),),))


@pytest.mark.golden
@pytest.mark.parametrize("op", ["PAD", "PADV2"])
@pytest.mark.parametrize("target", TARGETS)
def test_padding_gives_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([pad_case(op, number) for number in range(case_count())], target, tmp_path)


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_pads_of_int16_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [pad_case(op, number, "int16") for op in ("PAD", "PADV2") for number in range(case_count(6))]
    check_many(cases, target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_concatenation_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([concatenation_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("op", ["RESHAPE", "SQUEEZE", "EXPAND_DIMS"])
@pytest.mark.parametrize("target", TARGETS)
def test_new_shapes_give_the_bytes_of_tflm(op: str, target: Target, tmp_path: Path) -> None:
    check([shape_case(op, number) for number in range(case_count(20))], target, tmp_path)


@pytest.mark.golden
def test_a_copy_gives_the_bytes_of_a_reshape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(graph: Graph, op: Op, core: Core) -> Step:
        size = graph.tensor(op.outputs[0]).bytes
        return Step(op, "copy", "a test", op.inputs[:1], op.outputs, {"bytes": size})

    monkeypatch.setitem(LOWERINGS, "RESHAPE", copy)
    check([shape_case("RESHAPE", number) for number in range(8)], HOST, tmp_path)
