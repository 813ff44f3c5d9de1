"""What ops that only move bytes become, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder

Shape = Sequence[int]


def lowered(
    op: str,
    shape: Shape,
    outputs: Sequence[Shape] | Shape,
    *operands: Any,
    dtype: str = "int8",
    first: Any = None,
    integers: str = "int32",
    **options: Any,
) -> Step:
    """The op on an input of that shape and constants of integers after it, or one before it."""
    model = TfliteBuilder()
    x = model.input(shape, dtype=dtype, scale=0.1)
    before = [] if first is None else [model.constant(np.array(first, integers))]
    after = [model.constant(np.array(operand, integers)) for operand in operands]
    shapes = outputs if outputs and not isinstance(outputs[0], int) else [outputs]
    made = [model.output(shape, dtype=dtype, scale=0.1) for shape in shapes]  # type: ignore[arg-type]
    model.op(op, [*before, x, *after], made, **options)
    return lower(model.graph())[0]


def refused(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        lowered(*arguments, **keywords)
    return caught.value.message


def test_dimensions_that_stay_together_are_copied_as_one_run() -> None:
    params = lowered("TRANSPOSE", (2, 3, 4, 5), (3, 2, 4, 5), [1, 0, 2, 3]).params
    assert params == {"sizes": (1, 1, 1, 3, 2), "strides": (0, 0, 0, 20, 60), "first_byte": 0, "run_bytes": 20}


def test_strides_are_bytes() -> None:
    params = lowered("TRANSPOSE", (2, 3), (3, 2), [1, 0], dtype="int16").params
    assert params == {"sizes": (1, 1, 1, 3, 2), "strides": (0, 0, 0, 2, 6), "first_byte": 0, "run_bytes": 2}


def test_a_slice_backwards_has_negative_strides() -> None:
    params = lowered("STRIDED_SLICE", (4, 5), (2, 5), [3, 4], [-5, -6], [-2, -1]).params
    assert params == {"sizes": (1, 1, 1, 2, 5), "strides": (0, 0, 0, -10, -1), "first_byte": 19, "run_bytes": 1}


@pytest.mark.parametrize(
    "step",
    [
        lambda: lowered("TRANSPOSE", (1, 3, 1, 4), (3, 1, 1, 4), [1, 0, 2, 3]),
        lambda: lowered("SLICE", (2, 3), (2, 3), [0, 0], [2, -1]),
        lambda: lowered("STRIDED_SLICE", (2, 3), (2, 3), [0, 0], [9, 9], [1, 1]),
        lambda: lowered("DEPTH_TO_SPACE", (1, 2, 2, 4), (1, 2, 2, 4), block_size=1),
        lambda: lowered("SPACE_TO_DEPTH", (1, 2, 2, 4), (1, 2, 2, 4), block_size=1),
        lambda: lowered("SPACE_TO_BATCH_ND", (1, 2, 2, 4), (1, 2, 2, 4), [1, 1], [[0, 0], [0, 0]]),
        lambda: lowered("SPLIT", (2, 3), (2, 3), first=1, num_splits=1),
        lambda: lowered("UNPACK", (2, 1, 3), (2, 3), axis=1, num=1),
        lambda: lowered("CAST", (2, 3), (2, 3)),
    ],
)
def test_what_leaves_the_order_of_the_bytes_is_an_alias(step: Any) -> None:
    assert step().is_alias


def test_a_split_deals_out_rows() -> None:
    step = lowered("SPLIT_V", (2, 3, 2), [(2, 1, 2), (2, 2, 2)], [1, 2], 1, dtype="int32", num_splits=2)
    assert step.output_array and step.params["rows"] == 2
    assert step.constants[0].data.tolist() == [8, 16]


def test_pack_joins_rows_as_concatenation_does() -> None:
    model = TfliteBuilder()
    operands = [model.input((2, 3), scale=0.1) for _ in range(11)]
    model.op("PACK", operands, [model.output((2, 11, 3), scale=0.1)], axis=1, values_count=11)
    (step,) = lower(model.graph())
    assert (step.kernel, step.params["rows"]) == ("concatenation", 2)
    assert step.constants[0].data.tolist() == [3] * 11


REFUSALS: list[tuple[str, Any]] = [
    ("axes [0, 0] of [2, 3]; each axis once", lambda: refused("TRANSPOSE", (2, 3), (2, 2), [0, 0])),
    ("axes [1, 0] of [2, 3]; the output is [2, 3], [3, 2] is", lambda: refused("TRANSPOSE", (2, 3), (2, 3), [1, 0])),
    ("each axis once, at most 5", lambda: refused("TRANSPOSE", (1,) * 6, (1,) * 6, range(6))),
    ("axes (t1) are int64", lambda: refused("TRANSPOSE", (2, 3), (3, 2), [1, 0], integers="int64")),
    ("int32 goes in and int32", lambda: refused("TRANSPOSE", (2, 3), (3, 2), [1, 0], dtype="int32")),
    ("axes [0, 2] of [2, 3, 4]; neighbouring axes", lambda: refused("REVERSE_V2", (2, 3, 4), (2, 3, 4), [0, 2])),
    ("axes [0, 0] of [2]; neighbouring axes", lambda: refused("REVERSE_V2", (2,), (2,), [0, -1])),
    ("axes [] of [2]; neighbouring axes", lambda: refused("REVERSE_V2", (2,), (2,), [])),
    ("axis 1 of 1 dimensions", lambda: refused("REVERSE_V2", (2,), (2,), [1])),
    ("the output is [3, 2], [2, 3] is needed", lambda: refused("REVERSE_V2", (2, 3), (3, 2), [0])),
    ("what is taken has to be there", lambda: refused("SLICE", (4,), (2,), [3], [2])),
    ("what is taken has to be there", lambda: refused("SLICE", (4,), (2,), [-1], [2])),
    ("what is taken has to be there", lambda: refused("SLICE", (4,), (1,), [4], [-1])),
    ("one of each for every dimension", lambda: refused("SLICE", (4, 2), (2, 2), [1], [2])),
    ("the output is [3], [2] is needed", lambda: refused("SLICE", (4,), (3,), [1], [2])),
    ("an ellipsis", lambda: refused("STRIDED_SLICE", (4,), (4,), [0], [4], [1], ellipsis_mask=1)),
    ("an ellipsis", lambda: refused("STRIDED_SLICE", (4,), (1, 4), [0], [4], [1], new_axis_mask=1)),
    ("a stride of 0 along axis 0", lambda: refused("STRIDED_SLICE", (4,), (4,), [0], [4], [0])),
    ("a stride of -1", lambda: refused("STRIDED_SLICE", (4,), (), [0], [1], [-1], shrink_axis_mask=1)),
    ("nothing is left", lambda: refused("STRIDED_SLICE", (4,), (1,), [3], [3], [1])),
    ("nothing is left", lambda: refused("STRIDED_SLICE", (4,), (), [4], [5], [1], shrink_axis_mask=1)),
    ("at most 4, is needed", lambda: refused("STRIDED_SLICE", (1,) * 5, (1,) * 5, [0] * 5, [1] * 5, [1] * 5)),
    ("blocks of 0", lambda: refused("DEPTH_TO_SPACE", (1, 2, 2, 4), (1, 4, 4, 1), block_size=0)),
    ("[1, 4, 4, 1] is needed", lambda: refused("DEPTH_TO_SPACE", (1, 2, 2, 5), (1, 4, 5, 1), block_size=2)),
    ("four dimensions", lambda: refused("SPACE_TO_DEPTH", (2, 2, 4), (1, 1, 16), block_size=2)),
    ("[1, 1, 1, 4] is needed", lambda: refused("SPACE_TO_DEPTH", (1, 3, 3, 1), (1, 3, 3, 1), block_size=2)),
    (
        "TFLM leaves the value of padding to chance",
        lambda: refused("SPACE_TO_BATCH_ND", (1, 3, 1), (2, 2, 1), [2], [[1, 0]]),
    ),
    ("have to fill the input", lambda: refused("SPACE_TO_BATCH_ND", (1, 3, 1), (2, 1, 1), [2], [[0, 0]])),
    ("a multiple of the blocks", lambda: refused("BATCH_TO_SPACE_ND", (3, 3, 1), (1, 6, 1), [2], [[0, 0]])),
    ("the output is [1, 6, 1]", lambda: refused("BATCH_TO_SPACE_ND", (2, 3, 1), (1, 6, 1), [2], [[1, 0]])),
    ("two crops of at least 0", lambda: refused("BATCH_TO_SPACE_ND", (2, 3, 1), (1, 7, 1), [2], [[-1, 0]])),
    ("three or four dimensions", lambda: refused("BATCH_TO_SPACE_ND", (2, 1), (1, 2), [2], [[0, 0]])),
    ("in 2 equal parts", lambda: refused("SPLIT", (3,), [(1,), (2,)], first=0, num_splits=2)),
    ("[2] is needed", lambda: refused("SPLIT", (4,), [(1,), (3,)], first=0, num_splits=2)),
    ("axis 1 of 1 dimensions", lambda: refused("SPLIT", (4,), [(2,), (2,)], first=1, num_splits=2)),
    ("axes [0, 0]; one is needed", lambda: refused("SPLIT", (4,), [(2,), (2,)], first=[0, 0], num_splits=2)),
    ("have to be the input", lambda: refused("SPLIT_V", (4,), [(1,), (2,)], [1, 2], 0, num_splits=2)),
    ("dimensions have to be the same", lambda: refused("SPLIT_V", (4, 2), [(2, 1), (2, 2)], [2, 2], 0, num_splits=2)),
    ("all have to be the same number", lambda: refused("UNPACK", (3, 2), [(2,), (2,)], axis=0, num=2)),
    ("the output is [3]", lambda: refused("UNPACK", (2, 2), [(3,), (3,)], axis=0, num=2)),
    ("indices from 0 to 4, there are entries 0 to 3", lambda: refused("GATHER", (4,), (2,), [0, 4])),
    ("indices from -1", lambda: refused("GATHER", (4,), (1,), [-1])),
    ("begin with the batch dimensions", lambda: refused("GATHER", (4, 2), (4, 2), [0], axis=1, batch_dims=1)),
    ("the output is [3]", lambda: refused("GATHER", (4,), (3,), [0, 1])),
    ("are int64", lambda: refused("GATHER", (4,), (1,), [0], integers="int64")),
    ("float32 to float32", lambda: refused("CAST", (2,), (2,), dtype="float32")),
    ("the same number of elements", lambda: refused("CAST", (2,), (3,))),
]


@pytest.mark.parametrize(("words", "refusal"), REFUSALS, ids=[str(number) for number in range(len(REFUSALS))])
def test_what_the_kernels_cannot_do_is_refused(words: str, refusal: Any) -> None:
    assert words in refusal()


@pytest.mark.parametrize("position", [1, 2])
def test_a_slice_whose_place_is_computed_is_refused(position: int) -> None:
    model = TfliteBuilder()
    operands = [model.input((4,)), *(model.constant(np.array([1], np.int32)) for _ in range(2))]
    operands[position] = model.input((1,), dtype="int32", name="where")
    model.op("SLICE", operands, [model.output((1,))])
    with pytest.raises(UnsupportedError, match=r"\(where\) are computed; the aot kernel takes constants"):
        lower(model.graph())


def test_inputs_of_pack_of_different_shapes_are_refused() -> None:
    model = TfliteBuilder()
    operands = [model.input((2,)), model.input((3,))]
    model.op("PACK", operands, [model.output((2, 2))], axis=0, values_count=2)
    with pytest.raises(UnsupportedError, match="as many of one shape are needed"):
        lower(model.graph())
