"""What PAD, CONCATENATION, RESHAPE, SQUEEZE and EXPAND_DIMS become, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def refused(model: TfliteBuilder) -> str:
    with pytest.raises(UnsupportedError) as caught:
        lower(model.graph())
    return caught.value.message


def pad(
    paddings: Any = ((1, 1), (0, 2)),
    shape: tuple[int, ...] = (2, 3),
    output: tuple[int, ...] = (4, 5),
    dtype: str = "int32",
    value_scale: float | None = None,
) -> TfliteBuilder:
    model = TfliteBuilder()
    x = model.input(shape, scale=0.1)
    operands = [x, model.constant(np.array(paddings, dtype))]
    if value_scale is not None:
        operands.append(model.constant(np.array([7], np.int8), scale=value_scale))
    y = model.output(output, scale=0.1)
    model.op("PAD" if value_scale is None else "PADV2", operands, [y])
    return model


def test_padding_of_dimensions_without_any_merges_them() -> None:
    (step,) = lower(pad([[0, 0], [1, 2], [0, 0]], (2, 3, 4), (2, 6, 4)).graph())
    assert step.params["input_shape"] == (1, 1, 2, 12)
    assert step.params["before"] == (0, 0, 0, 4)
    assert step.params["output_shape"] == (1, 1, 2, 24)


def test_a_padded_shape_that_does_not_add_up_is_refused() -> None:
    assert "output [4, 4]; an output of [4, 5] is needed" in refused(pad(output=(4, 4)))


def test_negative_paddings_are_refused() -> None:
    assert "none may be negative" in refused(pad(((-1, 0), (0, 0)), output=(1, 3)))


def test_paddings_of_int64_are_refused_as_by_tflm() -> None:
    assert "int64; int32 is needed" in refused(pad(dtype="int64"))


def test_paddings_of_another_rank_are_refused() -> None:
    assert "2 paddings of an input of [2, 3]" in refused(pad(((1, 1),)))
    assert "at most 5 dimensions" in refused(pad(((0, 0),) * 6, (1,) * 6, (1,) * 6))


def test_padding_of_five_dimensions_at_once_is_refused() -> None:
    assert "5 dimensions are padded; the aot kernel pads 4" in refused(pad(((1, 0),) * 5, (2,) * 5, (3,) * 5))


def test_a_value_of_another_scale_is_refused() -> None:
    assert "they have to be the same" in refused(pad(value_scale=0.2))


def test_computed_paddings_are_refused() -> None:
    model = TfliteBuilder()
    x, paddings = model.input((2,), scale=0.1), model.input((1, 2), dtype="int32")
    model.op("PAD", [x, paddings], [model.output((4,), scale=0.1)])
    assert "its paddings (t1) are computed" in refused(model)


def concatenation(
    shapes: tuple[tuple[int, ...], ...] = ((2, 3), (2, 4)),
    output: tuple[int, ...] = (2, 7),
    dtype: str = "int8",
    last_scale: float = 0.1,
    zero_point: int = 0,
    **options: Any,
) -> TfliteBuilder:
    model = TfliteBuilder()
    scales = [0.1] * (len(shapes) - 1) + [last_scale]
    operands = [
        model.input(shape, dtype=dtype, scale=scale, zero_point=zero_point)
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    y = model.output(output, dtype=dtype, scale=0.1, zero_point=zero_point)
    model.op("CONCATENATION", operands, [y], **{"axis": 1} | options)
    return model


def test_concatenation_copies_rows_of_bytes() -> None:
    (step,) = lower(concatenation(dtype="int16", axis=-1).graph())
    assert step.input_array
    assert (step.params["rows"], step.params["inputs"]) == (2, 2)
    assert step.constants[0].data.tolist() == [6, 8]


@pytest.mark.parametrize("axis", [0, 2, -3])
def test_concatenation_along_an_axis_that_does_not_fit_is_refused(axis: int) -> None:
    assert f"inputs of [[2, 3], [2, 4]], axis {axis}, output [2, 7]" in refused(concatenation(axis=axis))


def test_concatenation_that_does_not_fill_its_output_is_refused() -> None:
    assert "they have to fill the output" in refused(concatenation(output=(2, 8)))


def test_concatenation_of_more_inputs_than_tflm_takes_is_refused() -> None:
    assert "11 inputs; at most 10 are possible" in refused(concatenation(((2, 1),) * 11, (2, 11)))


def test_concatenation_of_other_scales_is_refused() -> None:
    assert "input t1 is quantized with" in refused(concatenation(last_scale=0.2))


def test_concatenation_of_uint8_is_refused_as_by_tflm() -> None:
    assert "uint8 goes in and uint8 comes out" in refused(concatenation(dtype="uint8"))


def test_concatenation_of_int16_with_a_zero_point_is_refused() -> None:
    assert "int16 with zero points 3 and 3" in refused(concatenation(dtype="int16", zero_point=3))


def test_concatenation_with_an_activation_is_refused() -> None:
    assert "a fused activation RELU" in refused(concatenation(fused_activation_function="RELU"))


def new_shape(op: str, shape: tuple[int, ...], output: tuple[int, ...], *dtypes: str) -> TfliteBuilder:
    model = TfliteBuilder()
    x = model.input(shape, dtype=dtypes[0])
    y = model.output(output, dtype=dtypes[-1])
    model.op(op, [x, model.constant(np.array(0, np.int32))] if op == "EXPAND_DIMS" else [x], [y])
    return model


@pytest.mark.parametrize("op", ["RESHAPE", "SQUEEZE", "EXPAND_DIMS"])
def test_a_new_shape_is_an_alias(op: str) -> None:
    step: Step
    (step,) = lower(new_shape(op, (2, 3), (1, 2, 3), "int8").graph())
    assert step.is_alias and len(step.inputs) == 1


@pytest.mark.parametrize("op", ["RESHAPE", "SQUEEZE", "EXPAND_DIMS"])
def test_a_new_shape_of_another_size_or_type_is_refused(op: str) -> None:
    assert "the same number of elements" in refused(new_shape(op, (2, 3), (2, 2), "int8"))
    assert "int8 goes in and int16 comes out" in refused(new_shape(op, (2, 3), (2, 3), "int8", "int16"))


def test_expand_dims_of_int32_is_refused_as_by_tflm() -> None:
    assert "int32 goes in" in refused(new_shape("EXPAND_DIMS", (2, 3), (1, 2, 3), "int32"))


def test_expand_dims_of_a_computed_axis_is_refused() -> None:
    model = TfliteBuilder()
    x, axis = model.input((2,)), model.input((), dtype="int32")
    model.op("EXPAND_DIMS", [x, axis], [model.output((1, 2))])
    assert "its axis is missing or computed" in refused(model)
