"""Ops that move bytes, and CAST, in C against TFLM, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.model import Array
from tests.kernels.batch import TARGETS, Case, Target, case_count, check_many
from tests.kernels.random_cases import Draw
from tests.kernels.test_data_movement import values
from tests.tflite_builder import TfliteBuilder

Shape = tuple[int, ...]


class Move:
    """A model of one op under construction: its input, which may be a constant, and constants of int32."""

    def __init__(self, op: str, number: int, *dtypes: str) -> None:
        self.op, self.number = op, number
        self.draw = Draw(op, number)
        self.model = TfliteBuilder()
        self.dtype = "int8" if self.draw.chance(0.7) else str(self.draw.choice(dtypes))
        self.quantization = {"scale": 0.1, "zero_point": self.draw.zero_point()} if self.dtype == "int8" else {}
        self.inputs: list[Array] = []

    def shape(self, rank: int, largest: int = 5) -> Shape:
        return tuple(self.draw.integer(1, largest) for _ in range(rank))

    def source(self, shape: Shape) -> int:
        self.inputs.append(values(self.draw, self.dtype, shape))
        return self.model.input(shape, dtype=self.dtype, **self.quantization)

    def integers(self, data: object, dtype: str = "int32") -> int:
        return self.model.constant(np.array(data, dtype))

    def output(self, shape: Shape) -> int:
        return self.model.output(shape, dtype=self.dtype, **self.quantization)

    def case(self, inputs: list[int], outputs: list[int], **options: object) -> Case:
        self.model.op(self.op, inputs, outputs, **options)
        return Case(f"{self.op.lower()}_{self.number}", self.model.build(), (tuple(self.inputs),))


def transpose_case(op: str, number: int) -> Case:
    move = Move(op, number, "int16", "float32")
    shape = move.shape(move.draw.choice((1, 2, 3, 4, 4, 5)), 6)
    order = move.draw.rng.permutation(len(shape))
    x = move.source(shape)
    return move.case([x, move.integers(order)], [move.output(tuple(shape[axis] for axis in order))])


def reverse_case(op: str, number: int) -> Case:
    """Some neighbouring axes, in any order, counted from either end."""
    move = Move(op, number, "int16", "int32", "float32", "bool")
    shape = move.shape(move.draw.integer(1, 5), 6)
    first = move.draw.integer(0, len(shape) - 1)
    axes = move.draw.rng.permutation(range(first, move.draw.integer(first, len(shape) - 1) + 1))
    x = move.source(shape)
    return move.case([x, move.integers(axes - move.draw.choice((0, len(shape))))], [move.output(shape)])


def slice_case(op: str, number: int) -> Case:
    move = Move(op, number, "int16", "int32", "float32", "bool")
    shape = move.shape(move.draw.integer(1, 5), 7)
    begins = [move.draw.integer(0, size - 1) if move.draw.chance(0.6) else 0 for size in shape]
    sizes = [move.draw.integer(1, size - begin) for size, begin in zip(shape, begins, strict=True)]
    sizes = [size - b if move.draw.chance(0.4) else n for size, b, n in zip(shape, begins, sizes, strict=True)]
    rest = [b + n == size and move.draw.chance(0.5) for size, b, n in zip(shape, begins, sizes, strict=True)]
    given = [-1 if r else n for r, n in zip(rest, sizes, strict=True)]
    dtype = move.draw.choice(("int32", "int32", "int64"))
    x = move.source(shape)
    return move.case([x, move.integers(begins, dtype), move.integers(given, dtype)], [move.output(tuple(sizes))])


def strided_slice_case(op: str, number: int) -> Case:
    move = Move(op, number, "int16", "int32", "float32", "bool")
    draw = move.draw
    shape = move.shape(draw.integer(1, 4), 7)
    masks = {name: draw.integer(0, 15) if draw.chance(0.4) else 0 for name in ("begin_mask", "end_mask")}
    shrink, begins, ends, strides, kept = 0, [], [], [], []
    for axis, size in enumerate(shape):
        while True:
            begin, end = draw.integer(-size - 2, size + 2), draw.integer(-size - 2, size + 2)
            stride = draw.choice((1, 1, 1, 2, 3, -1, -2))
            chosen = range(*slice(
                None if masks["begin_mask"] >> axis & 1 else begin,
                None if masks["end_mask"] >> axis & 1 else end,
                stride,
            ).indices(size))  # fmt: skip
            if draw.chance(0.1) and stride > 0 and chosen.start < size:
                shrink |= 1 << axis
                break
            if chosen:
                kept.append(len(chosen))
                break
        begins.append(begin)
        ends.append(end)
        strides.append(stride)
    x = move.source(shape)
    operands = [x, move.integers(begins), move.integers(ends), move.integers(strides)]
    return move.case(operands, [move.output(tuple(kept))], shrink_axis_mask=shrink, **masks)


def blocks_case(op: str, number: int) -> Case:
    """DEPTH_TO_SPACE or SPACE_TO_DEPTH."""
    move = Move(op, number, "float32")
    batches, height, width, depth = move.shape(4, 4)
    block = move.draw.choice((1, 2, 2, 3))
    fine, coarse = (
        (batches, height * block, width * block, depth),
        (batches, height, width, depth * block * block),
    )
    before, after = (coarse, fine) if op == "DEPTH_TO_SPACE" else (fine, coarse)
    return move.case([move.source(before)], [move.output(after)], block_size=block)


def batches_case(op: str, number: int) -> Case:
    """SPACE_TO_BATCH_ND or BATCH_TO_SPACE_ND."""
    move = Move(op, number, "float32")
    space = move.draw.choice((1, 2, 2))
    block, parts = move.shape(space, 3), move.shape(space, 4)
    edges = [size * edge for size, edge in zip(parts, block, strict=True)]
    pairs = [(move.draw.integer(0, 2), move.draw.integer(0, 2)) for _ in edges]
    cropped = op == "BATCH_TO_SPACE_ND" and move.draw.chance(0.7)  # paddings are refused
    pairs = [pair if cropped and sum(pair) < edge else (0, 0) for pair, edge in zip(pairs, edges, strict=True)]
    batches, depth = move.draw.integer(1, 3), move.draw.integer(1, 4)
    image = (batches, *(edge - sum(pair) for edge, pair in zip(edges, pairs, strict=True)), depth)
    pieces = (batches * int(np.prod(block)), *parts, depth)
    before, after = (image, pieces) if op == "SPACE_TO_BATCH_ND" else (pieces, image)
    x = move.source(before)
    return move.case([x, move.integers(block), move.integers(pairs)], [move.output(after)])


def split_case(op: str, number: int) -> Case:
    move = Move(op, number, "int16", "int32", "float32")
    rank = move.draw.integer(1, 5)
    axis, others = move.draw.integer(0, rank - 1), move.shape(rank, 4)
    count = move.draw.choice((1, 2, 2, 3, 5))
    even = move.draw.integer(1, 4)
    parts = [even if op == "SPLIT" else move.draw.integer(1, 4) for _ in range(count)]
    x = move.source((*others[:axis], sum(parts), *others[axis + 1 :]))
    named = move.integers(axis - rank if move.draw.chance(0.3) else axis)
    inputs = [named, x] if op == "SPLIT" else [x, move.integers(parts), named]
    outputs = [move.output((*others[:axis], part, *others[axis + 1 :])) for part in parts]
    return move.case(inputs, outputs, num_splits=count)


def stack_case(op: str, number: int) -> Case:
    """PACK or UNPACK, sometimes of more tensors than fit a CONCATENATION."""
    move = Move(op, number, "int16", "int32", "float32", *(["int64"] if op == "PACK" else []))
    shape = move.shape(move.draw.integer(0, 4), 4)
    axis = move.draw.integer(0, len(shape))
    count = move.draw.choice((1, 2, 3, 3, 12))
    stacked = (*shape[:axis], count, *shape[axis:])
    named = axis - len(stacked) if move.draw.chance(0.3) else axis
    if op == "PACK":
        inputs = [move.source(shape) for _ in range(count)]
        if count > 1 and move.draw.chance(0.2):
            inputs[-1] = inputs[0]  # the same tensor again
            move.model._inputs.pop()
            move.inputs.pop()
        return move.case(inputs, [move.output(stacked)], axis=named, values_count=count)
    x = move.source(stacked)
    return move.case([x], [move.output(shape) for _ in range(count)], axis=named, num=count)


def gather_case(op: str, number: int) -> Case:
    move = Move(op, number, "float32")
    draw = move.draw
    shape = move.shape(draw.integer(1, 4), 6)
    axis = draw.integer(0, len(shape) - 1)
    batch = draw.integer(0, axis) if draw.chance(0.3) else 0
    positions = (*shape[:batch], *move.shape(draw.integer(0, 2), 4))
    result = shape[:axis] + positions[batch:] + shape[axis + 1 :]
    indices = draw.rng.integers(0, shape[axis], positions).astype(np.int32)
    table = draw.chance(0.3)  # a constant with computed indices, as an embedding
    x = move.model.constant(values(draw, move.dtype, shape), **move.quantization) if table else move.source(shape)
    if table or draw.chance(0.4):
        move.inputs.append(indices)
        which = move.model.input(positions, dtype="int32")
    else:
        which = move.integers(indices)
    options = {
        "axis": axis - len(shape) if draw.chance(0.3) else axis,
        "batch_dims": batch - len(positions) if 0 < batch < len(positions) and draw.chance(0.3) else batch,
    }
    return move.case([x, which], [move.output(result)], **options)


def cast_case(op: str, number: int) -> Case:
    move = Move(op, number, "int8", "int16", "int32", "bool")
    shape, after = move.shape(move.draw.integer(0, 3), 9), move.draw.choice(("int8", "int16", "int32", "bool"))
    x = move.source(shape)
    return move.case([x], [move.model.output(shape, dtype=after, scale=0.1 if after == "int8" else None)])


CASES: dict[str, Callable[[str, int], Case]] = {
    "TRANSPOSE": transpose_case,
    "SLICE": slice_case,
    "STRIDED_SLICE": strided_slice_case,
    "REVERSE_V2": reverse_case,
    "DEPTH_TO_SPACE": blocks_case,
    "SPACE_TO_DEPTH": blocks_case,
    "SPACE_TO_BATCH_ND": batches_case,
    "BATCH_TO_SPACE_ND": batches_case,
    "SPLIT": split_case,
    "SPLIT_V": split_case,
    "PACK": stack_case,
    "UNPACK": stack_case,
    "GATHER": gather_case,
    "CAST": cast_case,
}


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_moved_bytes_are_those_of_tflm(target: Target, tmp_path: Path) -> None:
    check_many([case(op, n) for op, case in CASES.items() for n in range(case_count(5))], target, tmp_path)
