from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline import display, graph_costs, tflite
from pipeline.aot import export
from pipeline.inspection import inspect
from tests.tflite_builder import TfliteBuilder


def convolution() -> TfliteBuilder:
    """int8 [1, 8, 6, 3] -> CONV_2D 5 of 3x3, stride 2, per channel -> RESHAPE to [1, 60]."""
    model = TfliteBuilder()
    x = model.input((1, 8, 6, 3), scale=0.5, zero_point=-3, name="pixels")
    w = model.constant(np.ones((5, 3, 3, 3), np.int8), scale=[0.1, 0.2, 0.3, 0.4, 0.05], axis=0, name="filters")
    b = model.constant(np.zeros(5, np.int32))
    y = model.tensor((1, 4, 3, 5), scale=0.25, zero_point=4)
    model.op("CONV_2D", [x, w, b], [y], version=3, padding="SAME", stride_h=2, stride_w=2)
    shape = model.constant(np.array([1, 60], np.int32))
    model.op("RESHAPE", [y, shape], [model.output((1, 60), scale=0.25, zero_point=4)])
    return model


def test_a_model_is_described_completely() -> None:
    found = inspect(convolution().graph("tiny"))

    assert found["model"]["name"] == "tiny"
    assert found["model"]["description"] == "made for a test"
    assert len(found["model"]["sha256"]) == 64
    assert (found["inputs"], found["outputs"]) == ([0], [5])
    assert found["ops"][0] == {
        "index": 0,
        "name": "CONV_2D",
        "custom_code": None,
        "version": 3,
        "inputs": [0, 1, 2],
        "outputs": [3],
        "output_shape": [1, 4, 3, 5],
        "macs": 4 * 3 * 5 * 3 * 3 * 3,
        "weight_bytes": 5 * 3 * 3 * 3 + 5 * 4,
    }
    assert found["tensors"][0] == {
        "index": 0,
        "name": "pixels",
        "shape": [1, 8, 6, 3],
        "dtype": "int8",
        "bytes": 144,
        "constant": False,
        "variable": False,
        "quantization": {"scale": 0.5, "zero_point": -3},
    }
    assert found["op_counts"] == {"CONV_2D": 1, "RESHAPE": 1}
    assert found["totals"] == {
        "ops": 2,
        "tensors": 6,
        "macs": 1620,
        "weights_bytes": 135 + 20,
        "constants_bytes": 135 + 20 + 8,
    }


def test_a_scale_for_each_channel_is_summarised() -> None:
    quantization = inspect(convolution().graph())["tensors"][1]["quantization"]
    assert quantization == {
        "dimension": 0,
        "channels": 5,
        "scale_min": float(np.float32(0.05)),
        "scale_max": float(np.float32(0.4)),
        "zero_point_min": 0,
        "zero_point_max": 0,
    }


def test_the_description_is_json_and_the_same_each_time() -> None:
    model = convolution()
    assert json.dumps(inspect(model.graph()), allow_nan=False) == json.dumps(inspect(model.graph()), allow_nan=False)


def test_macs_count_the_products_of_each_kind_of_op() -> None:
    model = TfliteBuilder()
    q = {"scale": 0.5}

    def constant(*shape: int) -> int:
        return model.constant(np.ones(shape, np.int8), **q)

    image = model.input((1, 6, 6, 4), **q)
    depthwise = model.tensor((1, 6, 6, 8), **q)
    model.op("DEPTHWISE_CONV_2D", [image, constant(1, 3, 3, 8), -1], [depthwise], depth_multiplier=2)
    transposed = model.tensor((1, 12, 12, 5), **q)
    sizes = model.constant(np.array([1, 12, 12, 5], np.int32))
    model.op("TRANSPOSE_CONV", [sizes, constant(5, 2, 2, 8), depthwise], [transposed])
    dense = model.tensor((1, 7), **q)
    model.op("FULLY_CONNECTED", [transposed, constant(7, 720), -1], [dense])
    rows = model.input((2, 3, 11), **q)
    product = model.output((2, 3, 13), **q)
    model.op("BATCH_MATMUL", [rows, constant(2, 11, 13)], [product])
    columns = model.input((2, 11, 3), **q)
    model.op("BATCH_MATMUL", [columns, constant(2, 11, 13)], [model.output((2, 3, 13), **q)], adj_x=True)
    grouped = model.output((1, 6, 6, 8), **q)
    model.op("CONV_2D", [image, constant(8, 3, 3, 2), -1], [grouped])
    model.op("SOFTMAX", [dense], [model.output((1, 7), **q)], beta=1.0)
    graph = model.graph()

    assert [graph_costs.macs(graph, op) for op in graph.ops] == [
        6 * 6 * 8 * 9,
        6 * 6 * 8 * 5 * 2 * 2,
        7 * 720,
        2 * 3 * 13 * 11,
        2 * 3 * 13 * 11,
        6 * 6 * 8 * 9 * 2,
        0,
    ]
    assert graph_costs.total_macs(graph) == sum(graph_costs.macs(graph, op) for op in graph.ops)


def test_a_bias_without_a_scale_is_a_weight_and_a_shape_is_not() -> None:
    graph = convolution().graph()
    conv, reshape = graph.ops
    assert [t.dtype for t in graph_costs.weights(graph, conv)] == ["int8", "int32"]
    assert graph_costs.weights(graph, reshape) == ()


def test_weights_that_two_ops_share_are_counted_once() -> None:
    model = TfliteBuilder()
    weights = model.constant(np.ones((4, 4), np.int8), scale=0.1)
    x, y, z = model.input((1, 4), scale=0.5), model.tensor((1, 4), scale=0.5), model.output((1, 4), scale=0.5)
    model.op("FULLY_CONNECTED", [x, weights, -1], [y])
    model.op("FULLY_CONNECTED", [y, weights, -1], [z])
    graph = model.graph()
    assert [graph_costs.weight_bytes(graph, op) for op in graph.ops] == [16, 16]
    assert graph_costs.total_weight_bytes(graph) == 16


def test_an_op_that_lacks_an_operand_costs_nothing_instead_of_crashing() -> None:
    model = TfliteBuilder()
    x, y = model.input((1, 4), scale=0.5), model.output((1, 4), scale=0.5)
    model.op("FULLY_CONNECTED", [x], [y])
    model.op("BATCH_MATMUL", [x, -1], [model.output((1, 4), scale=0.5)])
    graph = model.graph()
    assert [graph_costs.macs(graph, op) for op in graph.ops] == [0, 0]


def test_float_models_and_custom_ops_can_be_inspected() -> None:
    model = TfliteBuilder()
    x, y = model.input((1, 4), dtype="float32"), model.tensor((1, 3), dtype="float32")
    model.op("FULLY_CONNECTED", [x, model.constant(np.ones((3, 4), np.float32)), -1], [y])
    model.op("my_op", [y], [model.output((1, 3), dtype="float32")])
    found = inspect(model.graph())
    assert [(op["name"], op["custom_code"]) for op in found["ops"]] == [("FULLY_CONNECTED", None), ("CUSTOM", "my_op")]
    assert found["totals"]["weights_bytes"] == 48
    assert found["totals"]["macs"] == 12
    text = display.inspection(found, display.PLAIN)
    assert "CUSTOM my_op" in text
    assert "float32 1x4" in text


def test_names_from_a_file_cannot_steer_the_terminal() -> None:
    model = TfliteBuilder(description="\x1b[2Jgone")
    x = model.input((1, 4), scale=0.5, name="a\x1b]0;title\x07\nb")
    model.op("SOFTMAX", [x], [model.output((1, 4), scale=0.5)], beta=1.0)
    text = display.inspection(inspect(model.graph()), display.PLAIN)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a?]0;title??b" in text


def test_tables_align_and_columns_of_numbers_stand_right() -> None:
    lines = display.table(("name", "bytes"), [("a", 5), ("longer", 12_345), ("none", None)])
    assert lines == ["  name     bytes", "  a            5", "  longer  12,345", "  none         -"]


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("name", "macs", "weights_bytes"), [("kws_ref_model", 2_656_768, 24_368), ("ad01_int8", 264_192, 270_880)]
)
def test_published_models_cost_what_is_published(model_zoo: Path, name: str, macs: int, weights_bytes: int) -> None:
    totals = inspect(tflite.read(model_zoo / "mlperf_tiny" / f"{name}.tflite"))["totals"]
    assert (totals["macs"], totals["weights_bytes"]) == (macs, weights_bytes)


@pytest.mark.zoo
def test_every_model_of_the_zoo_can_be_inspected(model_zoo: Path) -> None:
    models = sorted(model_zoo.rglob("*.tflite"))
    assert models
    for path in models:
        found = inspect(tflite.read(path))
        json.dumps(found, allow_nan=False)
        assert display.inspection(found, display.PLAIN).count("\n") > len(found["ops"])
        for tensor in found["tensors"]:
            assert tensor["bytes"] >= math.prod(tensor["shape"]) or tensor["dtype"] not in {"int8", "uint8", "float32"}


@pytest.mark.zoo
@pytest.mark.parametrize("name", ["kws_ref_model", "ad01_int8"])
def test_the_compiler_counts_as_inspection_does(model_zoo: Path, name: str) -> None:
    graph = tflite.read(model_zoo / "mlperf_tiny" / f"{name}.tflite")
    compiled = export(graph)
    assert [k.macs for k in compiled.kernels] == [graph_costs.macs(graph, op) for op in graph.ops]
    assert [k.weight_bytes for k in compiled.kernels] == [graph_costs.weight_bytes(graph, op) for op in graph.ops]
    assert compiled.macs == graph_costs.total_macs(graph)
    assert compiled.weights_bytes == graph_costs.total_weight_bytes(graph)
