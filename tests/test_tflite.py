"""The .tflite reader: what it understands, and that no file can hurt it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline import tflite
from pipeline.errors import ModelError
from tests.endless import many_names, many_options, many_scales
from tests.tflite_builder import TfliteBuilder

FULL = os.environ.get("TENSORFLASH_FULL") == "1"


def small_model() -> bytes:
    rng = np.random.Generator(np.random.PCG64(7))
    model = TfliteBuilder()
    x = model.input((1, 6, 6, 2), scale=0.05, zero_point=-7, name="image", shape_signature=(-1, 6, 6, 2))
    weights = rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8)
    w = model.constant(weights, scale=[0.01, 0.02, 0.03], axis=0, name="weights")
    b = model.constant(np.array([5, -6, 7], np.int32), scale=[0.0005, 0.001, 0.0015], axis=0)
    y = model.tensor((1, 3, 3, 3), scale=0.1, zero_point=3)
    options = {"padding": "SAME", "stride_w": 2, "stride_h": 2, "fused_activation_function": "RELU6"}
    model.op("CONV_2D", [x, w, b], [y], version=3, **options)
    z = model.output((1, 27), scale=0.1, zero_point=3, name="flat")
    model.op("RESHAPE", [y], [z], new_shape=np.array([-1, 27], np.int32))
    return model.build()


def read(content: bytes) -> tflite.Graph:
    return tflite.parse(content, Path("small.tflite"))


def test_a_model_reads_back_as_it_was_written() -> None:
    graph = read(small_model())
    assert [op.name for op in graph.ops] == ["CONV_2D", "RESHAPE"]
    conv = graph.ops[0]
    assert conv.version == 3
    assert conv.options["padding"] == "SAME"
    assert conv.options["stride_w"] == 2
    assert conv.options["fused_activation_function"] == "RELU6"
    assert conv.options["dilation_wfactor"] == 1
    assert graph.ops[1].options["new_shape"] == (-1, 27)
    weights = graph.tensor(conv.inputs[1])
    assert weights.shape == (3, 3, 3, 2)
    assert weights.quantized_dimension == 0
    assert weights.scales.tolist() == pytest.approx([0.01, 0.02, 0.03])
    assert weights.data is not None and weights.data.dtype == np.int8
    image = graph.tensor(graph.inputs[0])
    assert (image.name, image.shape, image.zero_point) == ("image", (1, 6, 6, 2), -7)
    assert image.scale == np.float32(0.05)


def test_int4_weights_are_unpacked() -> None:
    codes = np.array([[-8, 7, -1], [0, 1, -2]], np.int8)
    model = TfliteBuilder()
    x = model.input((1, 3), scale=0.1)
    w = model.constant(codes, dtype="int4", scale=0.1)
    y = model.output((1, 2), scale=0.1)
    model.op("FULLY_CONNECTED", [x, w, -1], [y])
    tensor = read(model.build()).tensor(w)
    assert tensor.dtype == "int4"
    assert np.array_equal(tensor.data, codes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("kws_ref_model", "kws_ref_model"),
        ("My Model (v2)", "my_model_v2"),
        ("2024-net", "model_2024_net"),
        ("struct", "model_struct"),
        ("日本", "model"),
        ("a" * 90, "a" * 48),
        ("*/ int main(){}//", "int_main"),
    ],
)
def test_any_file_name_gives_a_c_identifier(name: str, identifier: str) -> None:
    assert tflite.c_identifier(name) == identifier


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x1c\x00\x00\x00TFL", "not a .tflite file"),
        (b"PK\x03\x04 a Keras archive", "not a .tflite file"),
        (b"\xff\xff\xff\xffTFL3" + b"\xff" * 64, "damaged or cut short"),
        (b"\x08\x00\x00\x00TFL3" + b"\x00" * 64, "small.tflite"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.tflite: no such file"):
        tflite.read(tmp_path / "nothing.tflite")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        tflite.read(tmp_path)


def test_a_file_cut_at_any_length_is_refused_or_complete() -> None:
    content = small_model()
    for length in range(0, len(content), 1 if FULL else 7):
        try:
            graph = read(content[:length])
        except ModelError as error:
            assert str(error)
        else:
            assert len(graph.ops) == 2


def test_flipped_bits_never_give_anything_but_a_graph_or_a_model_error() -> None:
    content = small_model()
    rng = np.random.Generator(np.random.PCG64(11))
    refused = 0
    for _ in range(20_000 if FULL else 2_000):
        damaged = bytearray(content)
        for _ in range(int(rng.integers(1, 6))):
            damaged[int(rng.integers(8, len(damaged)))] ^= 1 << int(rng.integers(0, 8))
        try:
            read(bytes(damaged))
        except ModelError:
            refused += 1
    assert refused > 100


def test_a_tensor_read_before_it_is_computed_is_named() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    early = model.tensor((1, 4), scale=0.1, name="early")
    y = model.output((1, 4), scale=0.1)
    model.op("ADD", [x, early], [y])
    model.op("RELU", [x], [early])
    with pytest.raises(ModelError, match=r"op 0 \(ADD\) reads tensor 1 \(early\) before anything computes it"):
        read(model.build())


def test_a_variable_has_no_value_in_the_file() -> None:
    model = TfliteBuilder()
    kept = model.constant(np.ones((1, 4), np.int8), scale=0.1, is_variable=True, name="kept")
    model.op("ADD", [model.input((1, 4), scale=0.1), kept], [model.output((1, 4), scale=0.1)])
    with pytest.raises(ModelError, match=r"tensor 0 \(kept\): a variable with a value"):
        model.graph()


def test_an_output_that_nothing_computes_is_named() -> None:
    model = TfliteBuilder()
    model.input((1, 4), scale=0.1)
    model.output((1, 4), scale=0.1, name="orphan")
    with pytest.raises(ModelError, match=r"nothing computes the model output 1 \(orphan\)"):
        read(model.build())


def test_a_shape_that_contradicts_the_bytes_is_refused() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    w = model.constant(np.zeros((2, 4), np.int8), scale=0.1, name="weights")
    model._tensors[w].shape = np.array([3, 4], np.int32)
    y = model.output((1, 3), scale=0.1)
    model.op("FULLY_CONNECTED", [x, w, -1], [y])
    with pytest.raises(ModelError, match=r"weights\): 8 bytes for shape \[3, 4\] of int8, 12 are needed"):
        read(model.build())


def test_a_dynamic_shape_says_how_to_convert() -> None:
    model = TfliteBuilder()
    x = model.input((-1, 4), scale=0.1, name="batch")
    y = model.output((1, 4), scale=0.1)
    model.op("RELU", [x], [y])
    with pytest.raises(ModelError, match=r"batch\): shape \[-1, 4\] is not static"):
        read(model.build())


@pytest.mark.parametrize("content", [many_scales(), many_names(), many_options()], ids=["scales", "names", "options"])
def test_a_small_file_that_would_be_read_forever_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="refer to each other so often"):
        tflite.parse(content, Path("model.tflite"))


def test_tensors_that_share_a_buffer_share_its_bytes() -> None:
    model = TfliteBuilder()
    x, y = model.input((1, 1000), scale=0.1), model.output((1, 1000), scale=0.1)
    weights = [model.constant(np.ones((1, 1000), np.int8), scale=0.1) for _ in range(50)]
    for index in weights:
        model._tensors[index].buffer = model._tensors[weights[0]].buffer
    model.op("ADD", [x, weights[0]], [y])
    graph = model.graph()
    first = graph.tensor(weights[0]).data
    assert first is not None
    assert all(np.shares_memory(first, graph.tensor(index).data) for index in weights)  # type: ignore[arg-type]
