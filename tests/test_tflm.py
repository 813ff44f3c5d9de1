"""The tflm export: the model's bytes in C, exactly its ops, a measured arena, and code for more than one TFLM.

TENSORFLASH_TFLM_INCLUDE names the include folders of a TFLM tree and of what it needs (flatbuffers, gemmlowp, ruy),
separated as in PATH, the tree first: then the generated C++ is compiled against it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline import interpreters, tflite, tflm
from pipeline.errors import ModelError, ToolError, UnsupportedError
from pipeline.interpreters import ArenaSize
from pipeline.tflite import Graph
from tests.tflite_builder import TfliteBuilder

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden") / "tflm"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
CXX = shutil.which("g++") or shutil.which("c++")

needs_compiler = pytest.mark.skipif(CXX is None, reason="no C++ compiler is installed")


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch) -> ArenaSize:
    """An arena that needs no TFLM on this host."""
    size = ArenaSize(1456, 2048, "tflite-micro", "1.2.3")
    monkeypatch.setattr(interpreters, "tflm_arena", lambda model, inputs: size)
    return size


def graph_of(builder: TfliteBuilder, folder: Path, name: str = "tiny net") -> Graph:
    path = folder / f"{name}.tflite"
    path.write_bytes(builder.build())
    return tflite.read(path)


def tiny(folder: Path, name: str = "tiny net", description: str = "made for a test") -> Graph:
    """Two FULLY_CONNECTED, one RELU6, two inputs and two outputs."""
    builder = TfliteBuilder(description)
    x = builder.input((1, 4), scale=0.1, zero_point=-3, name="left")
    other = builder.input((1, 4), scale=0.2, name="right")
    weights = builder.constant(np.arange(-6, 6, dtype=np.int8).reshape(3, 4), scale=0.5)
    y = builder.output((1, 3), scale=0.3, zero_point=-4, name="first")
    z = builder.output((1, 3), scale=0.3, zero_point=-4, name="second")
    middle = builder.tensor((1, 3), scale=0.3, zero_point=-4, name="middle")
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y])
    builder.op("FULLY_CONNECTED", [other, weights, -1], [middle])
    builder.op("RELU6", [middle], [z])
    return graph_of(builder, folder, name)


def write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_the_rendered_files_are_those_a_person_has_read(tmp_path: Path, arena: ArenaSize):
    shutil.copy(GOLDEN.with_name("tiny_net.tflite"), tmp_path)
    export = tflm.export(tflite.read(tmp_path / "tiny_net.tflite"))
    if os.environ.get("TENSORFLASH_UPDATE_GOLDEN") == "1":
        GOLDEN.mkdir(parents=True, exist_ok=True)
        write(export.files, GOLDEN)
    assert sorted(export.files) == sorted(path.name for path in GOLDEN.iterdir())
    for name, content in export.files.items():
        assert content.decode() == (GOLDEN / name).read_text(), name


def test_the_resolver_has_each_op_once(tmp_path: Path, arena: ArenaSize):
    code = tflm.export(tiny(tmp_path)).files["tiny_net.cc"].decode()
    assert re.findall(r"resolver\.(\w+)\(\)", code) == ["AddFullyConnected", "AddRelu6"]
    assert "MicroMutableOpResolver<2>" in code


def test_the_export_says_what_is_in_it(tmp_path: Path, arena: ArenaSize):
    graph = tiny(tmp_path)
    export = tflm.export(graph)
    assert (export.runtime, export.symbol, export.header, export.language) == (
        "tflm", "tiny_net_model", "tiny_net_model.h", "c++",
    )  # fmt: skip
    assert (export.arena_bytes, export.weights_bytes, export.macs) == (arena.bytes, 12, 24)
    assert export.constant_bytes == len(graph.path.read_bytes())
    assert [(layer.op, layer.tensor) for layer in export.layers] == [
        ("FULLY_CONNECTED", "first"), ("FULLY_CONNECTED", "middle"), ("RELU6", "second"),
    ]  # fmt: skip
    assert [choice.kernel for choice in export.kernels][2] == "tflite::Register_RELU6"
    assert export.files == tflm.export(graph).files


@pytest.mark.golden
@pytest.mark.zoo
def test_the_arena_of_a_published_model_was_measured(model_zoo: Path):
    graph = tflite.read(model_zoo / "mlperf_tiny/kws_ref_model.tflite")
    export = tflm.export(graph)
    activations = max(graph.tensor(op.inputs[0]).bytes + graph.tensor(op.outputs[0]).bytes for op in graph.ops)
    assert activations < export.arena_bytes < 2 * activations
    header = export.files["kws_ref_model_arena.h"].decode()
    assert f"_ARENA_BYTES {export.arena_bytes}u" in header
    assert "tflite-micro" in header


@needs_compiler
def test_the_c_array_is_the_file_and_aligned(tmp_path: Path, arena: ArenaSize):
    graph = tiny(tmp_path)
    write(tflm.export(graph).files, tmp_path)
    (tmp_path / "main.cc").write_text(
        '#include <cstdint>\n#include <cstdio>\n#include "tiny_net_model_data.h"\n'
        "int main() {\n"
        "  if (reinterpret_cast<std::uintptr_t>(g_tiny_net_model_data) % 16 != 0) return 1;\n"
        "  return fwrite(g_tiny_net_model_data, 1, g_tiny_net_model_data_size, stdout) != g_tiny_net_model_data_size;\n"
        "}\n"
    )
    command = [str(CXX), "-std=c++11", *WARNINGS, "main.cc", "tiny_net_model_data.cc", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    said = subprocess.run([str(tmp_path / "main")], capture_output=True, check=True, timeout=60).stdout
    assert said == graph.path.read_bytes()
    assert graph.sha256 == hashlib.sha256(said).hexdigest()
    assert graph.sha256 in (tmp_path / "tiny_net_model_data.cc").read_text()


@needs_compiler
def test_the_header_is_c_and_cxx(tmp_path: Path, arena: ArenaSize):
    write(tflm.export(tiny(tmp_path)).files, tmp_path)
    include = f"-I{REPOSITORY / 'firmware/runtime'}"
    for language, standard in (("c", "c11"), ("c++", "c++11")):
        command = [
            str(CXX),
            "-x",
            language,
            f"-std={standard}",
            *WARNINGS,
            "-fsyntax-only",
            include,
            "tiny_net_model.h",
        ]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120)


@needs_compiler
@pytest.mark.parametrize("defines", [[], ["-DTFLASH_TRACE"], ["-DTFLASH_TFLM_API=1"]])
def test_the_model_compiles_against_tflm(tmp_path: Path, arena: ArenaSize, defines: list[str]):
    folders = os.environ.get("TENSORFLASH_TFLM_INCLUDE")
    if not folders:
        pytest.skip("TENSORFLASH_TFLM_INCLUDE is not set: there are no TFLM headers to compile against")
    write(tflm.export(tiny(tmp_path)).files, tmp_path)
    include = [f"-I{REPOSITORY / 'firmware/runtime'}", *(f"-isystem{folder}" for folder in folders.split(os.pathsep))]
    command = [str(CXX), "-std=c++17", *WARNINGS, "-fsyntax-only", *defines, *include, "tiny_net.cc"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)


def test_the_resolver_methods_are_tflms():
    folders = os.environ.get("TENSORFLASH_TFLM_INCLUDE")
    if not folders:
        pytest.skip("TENSORFLASH_TFLM_INCLUDE is not set: there is no resolver to compare with")
    header = Path(folders.split(os.pathsep)[0]) / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    found = re.findall(r"TfLiteStatus (Add\w+)\([^{]*\{[^}]*?BuiltinOperator_(\w+)", header.read_text())
    theirs = {op: method for method, op in found if op != "CUSTOM"}
    assert {op: theirs.get(op) for op in tflm.RESOLVER_METHODS} == tflm.RESOLVER_METHODS
    assert set(theirs) - set(tflm.RESOLVER_METHODS) == {"CALL_ONCE", "IF", "WHILE"}


def test_an_op_that_tflm_lacks_is_refused_by_name(tmp_path: Path):
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=0.1)
    a, b = builder.tensor((1, 4), scale=0.1), builder.output((1, 4), scale=0.1)
    builder.op("SIGN", [x], [a])
    builder.op("my_own", [a], [b])
    graph = graph_of(builder, tmp_path)
    assert tflm.preflight(graph) == (
        "op 0 (SIGN): TFLM has no kernel for it.",
        "op 1 (CUSTOM op 'my_own'): TFLM has no kernel for it.",
    )
    with pytest.raises(UnsupportedError, match=r"op 0 \(SIGN\)"):
        tflm.export(graph)
    assert tflm.preflight(tiny(tmp_path)) == ()


def test_text_from_the_model_cannot_leave_a_comment_or_a_string(tmp_path: Path, arena: ArenaSize):
    graph = tiny(tmp_path, 'a*／b"\\', '*/ int evil; /* " ?? \n #define x')
    for name, content in tflm.export(graph).files.items():
        text = content.decode("ascii")
        assert "*/ int evil" not in text and "int evil; /*" not in text, name
        assert text.count("/*") == text.count("*/"), name
        assert "#define x" not in text, name


def test_a_file_that_changed_in_between_is_refused(tmp_path: Path, arena: ArenaSize):
    graph = tiny(tmp_path)
    tiny(tmp_path, description="another")
    with pytest.raises(ModelError, match="has changed since it was read"):
        tflm.export(graph)


def test_without_a_tflm_on_the_host_the_arena_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interpreters, "has_tflm", lambda: False)
    with pytest.raises(ToolError, match="tflite-micro is not installed"):
        tflm.export(tiny(tmp_path))
