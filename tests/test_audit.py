"""The audit: which models are let through, and what is said to the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline import audit, tflite
from pipeline.errors import ModelError, UnsupportedError
from tests.tflite_builder import TfliteBuilder

WEIGHTS = np.ones((3, 4), np.int8)


def dense(builder: TfliteBuilder, x: int, y: int, weights: np.ndarray = WEIGHTS, **weights_of: object) -> None:
    weights_of = weights_of or {"scale": 0.1}
    builder.op("FULLY_CONNECTED", [x, builder.constant(weights, **weights_of), -1], [y])


def int8_model() -> TfliteBuilder:
    builder = TfliteBuilder()
    dense(builder, builder.input((1, 4), scale=0.1), builder.output((1, 3), scale=0.1))
    return builder


def test_an_int8_model_passes():
    audit.require_int8(int8_model().graph())


def test_tensors_are_counted_by_type():
    assert audit.tensor_types(int8_model().graph()) == {"int8": 3}


def test_published_models_pass(model_zoo: Path):
    for name in ("kws_ref_model", "ad01_int8"):
        audit.require_int8(tflite.read(model_zoo / "mlperf_tiny" / f"{name}.tflite"))


@pytest.mark.parametrize("edge", ["float32", "uint8"])
def test_another_dtype_at_the_edges_passes(edge: str):
    builder = TfliteBuilder()
    scale = 0.1 if edge == "uint8" else None
    x = builder.input((1, 4), dtype=edge, scale=scale)
    q = builder.tensor((1, 4), scale=0.1)
    r = builder.tensor((1, 3), scale=0.1)
    y = builder.output((1, 3), dtype=edge, scale=scale)
    builder.op("QUANTIZE", [x], [q])
    dense(builder, q, r)
    builder.op("DEQUANTIZE" if edge == "float32" else "QUANTIZE", [r], [y])
    audit.require_int8(builder.graph())


def test_an_unresolved_batch_in_the_shape_signature_passes():
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=0.1, shape_signature=(-1, 4))
    dense(builder, x, builder.output((1, 3), scale=0.1, shape_signature=(-1, 3)))
    audit.require_int8(builder.graph())


def test_a_float_model_is_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4), dtype="float32")
    y = builder.output((1, 3), dtype="float32")
    builder.op("FULLY_CONNECTED", [x, builder.constant(WEIGHTS.astype(np.float32)), -1], [y])
    with pytest.raises(ModelError, match=r"a float model. First op 0 \(FULLY_CONNECTED\) works on float32") as found:
        audit.require_int8(builder.graph())
    assert "full-integer quantization" in str(found.value.hint)


def test_int8_weights_under_float_activations_are_a_hybrid_model():
    builder = TfliteBuilder()
    x = builder.input((1, 4), dtype="float32")
    dense(builder, x, builder.output((1, 3), dtype="float32"))
    with pytest.raises(ModelError, match=r"a hybrid model \(dynamic-range quantized\): weights are int8") as found:
        audit.require_int8(builder.graph())
    assert "representative_dataset" in str(found.value.hint)


def test_a_float_op_between_int8_ops_is_refused_by_name():
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=0.1)
    real = builder.tensor((1, 4), dtype="float32", name="the_island")
    sine = builder.tensor((1, 4), dtype="float32")
    back = builder.tensor((1, 4), scale=0.1)
    builder.op("DEQUANTIZE", [x], [real])
    builder.op("SIN", [real], [sine])
    builder.op("QUANTIZE", [sine], [back])
    dense(builder, back, builder.output((1, 3), scale=0.1))
    with pytest.raises(ModelError, match=r"a hybrid model: int8, but 3 of 4 ops on float.*the_island"):
        audit.require_int8(builder.graph())


def test_a_float_output_that_an_op_reads_again_is_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=0.1)
    y = builder.output((1, 4), dtype="float32")
    z = builder.output((1, 4), scale=0.1)
    builder.op("DEQUANTIZE", [x], [y])
    builder.op("QUANTIZE", [y], [z])
    with pytest.raises(ModelError, match="a hybrid model"):
        audit.require_int8(builder.graph())


def test_int16_codes_with_int8_weights_pass():
    builder = TfliteBuilder()
    x = builder.input((1, 4), dtype="int16", scale=0.1)
    dense(builder, x, builder.output((1, 3), dtype="int16", scale=0.1))
    audit.require_int8(builder.graph())


def test_uint8_models_are_refused():
    builder = TfliteBuilder()
    x = builder.input((1, 4), dtype="uint8", scale=0.1)
    dense(builder, x, builder.output((1, 3), dtype="uint8", scale=0.1), WEIGHTS.astype(np.uint8), scale=0.1)
    with pytest.raises(UnsupportedError, match="works on uint8"):
        audit.require_int8(builder.graph())


@pytest.mark.parametrize(
    ("code", "hint"),
    [("my_op", "replace the layer"), ("edgetpu-custom-op", "compiled for the Edge TPU")],
)
def test_custom_ops_are_refused_by_name(code: str, hint: str):
    builder = TfliteBuilder()
    builder.op(code, [builder.input((1, 4), scale=0.1)], [builder.output((1, 4), scale=0.1)])
    with pytest.raises(UnsupportedError, match=f"op 0 is the CUSTOM op '{code}'") as found:
        audit.require_int8(builder.graph())
    assert hint in str(found.value.hint)


def test_the_name_of_a_custom_op_cannot_steer_a_terminal():
    builder = TfliteBuilder()
    builder.op("evil\x1b[31m", [builder.input((1, 4), scale=0.1)], [builder.output((1, 4), scale=0.1)])
    with pytest.raises(UnsupportedError) as found:
        audit.require_int8(builder.graph())
    assert "\x1b" not in str(found.value)


@pytest.mark.parametrize("name", ["WHILE", "IF", "CALL"])
def test_control_flow_is_refused(name: str):
    builder = TfliteBuilder()
    builder.op(name, [builder.input((1, 4), scale=0.1)], [builder.output((1, 4), scale=0.1)])
    with pytest.raises(UnsupportedError, match=rf"op 0 \({name}\) is control flow"):
        audit.require_int8(builder.graph())


def test_several_subgraphs_are_refused():
    with pytest.raises(UnsupportedError, match="2 subgraphs"):
        audit.require_int8(dataclasses.replace(int8_model().graph(), subgraphs=2))


def test_a_shape_with_a_zero_is_refused():
    builder = TfliteBuilder()
    builder.op("RELU", [builder.input((0, 4), scale=0.1, name="x")], [builder.output((0, 4), scale=0.1)])
    with pytest.raises(UnsupportedError, match=r"tensor 0 \(x\) has shape \[0, 4\]"):
        audit.require_int8(builder.graph())


def test_a_model_without_ops_is_refused():
    builder = TfliteBuilder()
    builder.as_output(builder.input((1, 4), scale=0.1))
    with pytest.raises(ModelError, match="no ops"):
        audit.require_int8(builder.graph())


def test_a_model_without_int8_is_refused():
    builder = TfliteBuilder()
    builder.op("ADD", [builder.input((1,), dtype="int32")] * 2, [builder.output((1,), dtype="int32")])
    with pytest.raises(ModelError, match="no op works on int8"):
        audit.require_int8(builder.graph())
