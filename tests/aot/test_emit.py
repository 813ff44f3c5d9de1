"""Emitted C: readable, free of surprises, and out of reach of what a model file says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline import aot, tflite
from pipeline.aot.emit import (
    c_float,
    c_integer,
    c_name,
    c_string,
    comment_text,
    kernel_files,
    model_symbol,
    step_names,
)
from pipeline.aot.lower import lower
from pipeline.errors import UnsupportedError
from tests.kernels.batch import HOST, Case, check
from tests.tflite_builder import TfliteBuilder

FIRMWARE = Path(__file__).parents[2] / "firmware"
HOSTILE = ["*/ #include </etc/passwd> /*", 'a"b\\', "new\nline", "??/", "//", "\u202e*/", "", "%s%n", "a" * 5000]


def compile_all(files: dict[str, bytes], folder: Path, *compiler: str) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for path in files:
        if path.endswith(".c"):
            command = [*compiler, f"-I{folder}", f"-I{FIRMWARE / 'runtime'}", "-c", str(folder / path)]
            done = subprocess.run([*command, "-o", "/dev/null"], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr


def network(names: list[str]) -> TfliteBuilder:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1, name=names[0])
    y = model.tensor((1, 4), scale=0.2, name=names[1 % len(names)])
    w = model.constant(np.arange(16, dtype=np.int8).reshape(4, 4), scale=0.1, name=names[2 % len(names)])
    model.op("FULLY_CONNECTED", [x, w, -1], [y])
    z = model.output((4, 1), scale=0.2, name=names[3 % len(names)])
    model.op("RESHAPE", [y], [z])
    return model


@pytest.mark.parametrize("name", HOSTILE)
def test_no_tensor_name_reaches_the_compiler(name: str, tmp_path: Path) -> None:
    files = dict(aot.export(network([name]).graph()).files)
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wcomment", "-Wtrigraphs", "-Werror", "-pedantic"]
    compile_all(files, tmp_path, "gcc", *strict)
    text = b"".join(c for p, c in files.items() if not p.startswith("kernels/"))
    assert b"/etc/passwd" not in text.replace(b"_", b" ") or b"#include </etc" not in text
    assert all(byte < 128 for byte in text)


@pytest.mark.parametrize(
    "stem",
    [
        "model",
        "string",
        "math",
        "frames",
        "printf",
        "main",
        "int",
        "7",
        "x y",
        "a.b",
        "INPUT",
        "arena",
        "inputs",
        "params",
        "run_t1",
    ],
)
def test_any_file_name_gives_a_library_that_compiles(stem: str, tmp_path: Path) -> None:
    graph = tflite.parse(network(["n"]).build(), Path(f"{stem}.tflite"))
    compile_all(dict(aot.export(graph).files), tmp_path, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wshadow")


def test_the_header_can_be_included_from_cpp(tmp_path: Path) -> None:
    exported = aot.export(network(["n"]).graph("net"))
    (tmp_path / exported.header).write_bytes(exported.files[exported.header])
    (tmp_path / "main.cpp").write_text(
        f'#include "{exported.header}"\nint main() {{ return {exported.symbol}.init() + net_invoke(); }}\n'
    )
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", f"-I{FIRMWARE / 'runtime'}", f"-I{tmp_path}"]
    done = subprocess.run(
        [*command, "-c", str(tmp_path / "main.cpp"), "-o", "/dev/null"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_handle_of_a_variable_is_no_model_output() -> None:
    model = network(["n"])
    handle = model.tensor((), dtype="resource", name="handle")
    model.op("VAR_HANDLE", [], [handle], shared_name="kept")
    model.as_output(handle)
    with pytest.raises(UnsupportedError, match=r"\(handle\): resource of rank 0 cannot go in or out"):
        aot.export(model.graph())


def test_equal_models_give_equal_bytes() -> None:
    first, second = (aot.export(network(["n"]).graph()) for _ in range(2))
    assert first.files == second.files


def test_equal_constants_are_stored_once() -> None:
    model = TfliteBuilder()
    weights = np.arange(16, dtype=np.int8).reshape(4, 4)
    x = model.input((1, 4), scale=0.1)
    for last in (False, True):
        y = (model.output if last else model.tensor)((1, 4), scale=0.1)
        model.op("FULLY_CONNECTED", [x, model.constant(weights, scale=0.1), -1], [y])
        x = y
    assert aot.export(model.graph()).weights_bytes == 16


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        ("functional_1/activation/Relu;functional_1/conv2d_4/Conv2D;functional_1/conv2d/Conv2D1", "conv2d"),
        ("functional_1/depthwise_conv2d/BiasAdd/ReadVariableOp/resource1", "depthwise_conv2d"),
        ("digits/quant_down_depthwise/depthwise1", "quant_down_depthwise"),
        ("StatefulPartitionedCall/sequential/dense/MatMul", "dense"),
        ("mobilenetv2_0.35_96/Conv1/Conv2D", "conv1"),
        ("StatefulPartitionedCall/model/Conv_1/BiasAdd/ReadVariableOp", "conv_1"),
        ("model/block/attention/MatMul;model/block/attention/query/BiasAdd/ReadVariableOp", "query"),
        ("StatefulPartitionedCall:0", ""),
        ("Identity", ""),
        ("tfl.quantize", "tfl_quantize"),
        ("*/ int main() {", "int_main"),
        ("\u0130\u00df\u202e", ""),
    ],
)
def test_a_tensor_is_called_in_c_what_its_layer_is_called(tensor: str, name: str) -> None:
    assert c_name(tensor) == name


def test_steps_with_the_same_name_are_told_apart() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    for op, output in (("RELU", "m/a/Relu"), ("RELU6", "m/a/Relu6"), ("RELU", "m/a/Relu_1"), ("TANH", "Identity")):
        y = model.output((1, 4), scale=0.1 if op != "TANH" else 1 / 128, name=output)
        model.op(op, [x], [y])
    assert step_names(model.graph(), lower(model.graph())) == ("a", "a_relu6", "a_relu", "tanh")


def test_different_constants_have_different_names_whatever_the_tensors_are_called(tmp_path: Path) -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    for value in (1, 2):
        y = model.output((1, 4), scale=0.2, name="same")
        model.op("ADD", [x, model.constant(np.array([value], np.int8), scale=0.1, name="same")], [y])
    files = dict(aot.export(model.graph()).files)
    assert b" model_same_value[1] = {" in files["model_constants.c"]
    assert b" model_same_value_2[1] = {" in files["model_constants.c"]
    compile_all(files, tmp_path, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror")


def test_the_table_of_the_arena_tells_which_ops_use_what() -> None:
    model = TfliteBuilder()
    x, _ = (model.input((1, 16), scale=0.1, name=name) for name in ("read", "unread"))
    y, z = model.tensor((16, 1), scale=0.1), model.output((16, 1), scale=0.1, name="last")
    model.op("RESHAPE", [x], [y])
    model.op("RELU", [y], [z])
    code = aot.export(model.graph()).files["model.c"].decode()
    rows = dict(re.findall(r"^ \* +\d+ +16 +(\d\.\.\d) +(.*?)(?: \*/)?$", code, re.MULTILINE))
    assert rows == {"0..1": "read", "0..0": "unread"}  # which the output takes over


@pytest.mark.golden
def test_outputs_may_be_inputs_constants_intermediates_and_each_other(tmp_path: Path) -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1, zero_point=3)
    w = model.constant(np.arange(16, dtype=np.int8).reshape(4, 4), scale=0.1)
    y, z = model.tensor((1, 4), scale=0.2), model.tensor((2, 2), scale=0.2)
    model.op("FULLY_CONNECTED", [x, w, -1], [y])
    model.op("RESHAPE", [y], [z], new_shape=np.array([2, 2], np.int32))
    for index in (x, y, z):
        model.as_output(index)
    samples = tuple((np.array([[a, -a, 127, -128]], np.int8),) for a in (0, 1, 100))
    check([Case("outputs", model.build(), samples)], HOST, tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0e+00f"), (0.1, "1.0e-01f"), (1.0, "1.0e+00f"), (3.4028235e38, "3.4028235e+38f"), (1e-45, "1.0e-45f")],
)
def test_floats_are_written_so_that_they_read_back_exactly(value: float, text: str) -> None:
    assert c_float(value) == text
    assert np.float32(text[:-1]) == np.float32(value)


def test_the_smallest_integer_has_no_literal_of_its_own() -> None:
    assert c_integer(-(2**31)) == "INT32_MIN"
    assert c_integer(2**31) == "2147483648u"
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        c_integer(2**32)


def test_text_of_a_model_is_made_harmless() -> None:
    assert comment_text("*/ x /* //") == "_/ x /_ /_"
    assert c_string('a"\\b') == '"a__b"'
    assert model_symbol("kws_ref_model") == "kws_ref_model"
    assert model_symbol("kws") == "kws_model"


def test_a_kernel_comes_with_the_functions_that_it_calls_and_no_others() -> None:
    sources = {path for path in kernel_files(["conv_2d_s8_w4"]) if path.endswith(".c")}
    assert sources == {"kernels/conv_2d_s8_w4.c", "kernels/filters_s8_w4.c"}
