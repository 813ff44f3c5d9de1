"""What QUANTIZE and DEQUANTIZE become, and what they refuse."""

from __future__ import annotations

import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def lowered(
    op: str, start: str, end: str, input_scale: float = 0.1, output_scale: float = 0.1, output_zero_point: int = 0
) -> Step:
    model = TfliteBuilder()
    x = model.input((4,), dtype=start, scale=None if start == "float32" else input_scale)
    y = model.output((4,), dtype=end, scale=None if end == "float32" else output_scale, zero_point=output_zero_point)
    model.op(op, [x], [y])
    (step,) = lower(model.graph())
    return step


@pytest.mark.parametrize(
    ("start", "end"),
    [("float32", "uint8"), ("float32", "int32"), ("uint8", "uint8"), ("int16", "uint8"), ("int32", "int8")],
)
def test_quantization_between_types_without_a_kernel_is_refused(start: str, end: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{start} to {end}"):
        lowered("QUANTIZE", start, end)


@pytest.mark.parametrize(("start", "end"), [("int32", "float32"), ("float32", "float32"), ("int8", "int16")])
def test_dequantization_between_types_without_a_kernel_is_refused(start: str, end: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{start} to {end}"):
        lowered("DEQUANTIZE", start, end)


def test_quantization_that_changes_nothing_is_an_alias() -> None:
    assert lowered("QUANTIZE", "int8", "int8").is_alias
    assert not lowered("QUANTIZE", "int8", "int8", output_zero_point=1).is_alias
    assert not lowered("QUANTIZE", "int8", "int16").is_alias


def test_only_codes_of_one_byte_take_over_memory() -> None:
    assert lowered("QUANTIZE", "float32", "int8").in_place == 0
    assert lowered("QUANTIZE", "float32", "int16").in_place is None
    assert lowered("QUANTIZE", "int8", "uint8").in_place == 0
    assert lowered("QUANTIZE", "int16", "int16", output_scale=0.2).in_place is None


def test_scales_that_leave_int32_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="can reach"):
        lowered("QUANTIZE", "int16", "int8", input_scale=1.0, output_scale=1e-6)


def test_a_missing_scale_is_refused() -> None:
    model = TfliteBuilder()
    model.op("QUANTIZE", [model.input((4,), dtype="float32")], [model.output((4,))])
    with pytest.raises(UnsupportedError, match="needs one positive scale"):
        lower(model.graph())
