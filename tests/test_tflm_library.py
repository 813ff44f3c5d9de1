"""TFLM libraries: which one a board gets, and what a model may not ask of it.

TENSORFLASH_TFLM_LIBRARY names a TFLM library folder that is ready for PlatformIO and has code for the Cortex-M4 and the
Cortex-M55: then published models run on it, on emulated cores.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import board, check, golden, interpreters, project, recipe, runtimes, tflite, tflm, tflm_library, vectors
from pipeline.errors import ModelError, ToolError, UnsupportedError
from pipeline.run import run_recipe
from pipeline.tflite import quantized_model
from pipeline.tflm_library import BY_FRAMEWORK, CHIRALE, ESP_TFLITE_MICRO, EXISTING, Library
from pipeline.verification import verify_model
from tests.tflite_builder import TfliteBuilder

INTERPRETER = "tensorflow/lite/micro/micro_interpreter.h"
TARGET = os.environ.get(tflm_library.VARIABLE)


@pytest.fixture(autouse=True)
def no_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tflm_library.VARIABLE, raising=False)


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arena that needs no TFLM on this host."""
    size = interpreters.ArenaSize(1456, 2048, "tflite-micro", "1.2.3")
    monkeypatch.setattr(interpreters, "tflm_arena", lambda model, inputs: size)


def library_folder(folder: Path, interpreter: str, dense: str | None = None, sources: str = "src") -> Path:
    """A folder with headers that say what a library's do; nothing compiles against it."""
    (folder / sources / INTERPRETER).parent.mkdir(parents=True)
    (folder / sources / INTERPRETER).write_text(interpreter)
    (folder / "library.json").write_text('{"name": "mine"}')
    if dense is not None:
        (folder / sources / "tensorflow/lite/micro/kernels").mkdir()
        (folder / sources / "tensorflow/lite/micro/kernels/fully_connected.h").write_text(dense)
    return folder


def dense(folder: Path, scales: list[float], name: str = "dense") -> tflite.Graph:
    """One FULLY_CONNECTED, 8 inputs, 4 outputs, with these weight scales."""
    rng = np.random.default_rng(3)
    builder = TfliteBuilder()
    x = builder.input((1, 8), scale=0.02, zero_point=5, name="x")
    codes = rng.integers(-127, 128, (4, 8)).astype(np.int8)
    weights = builder.constant(codes, scale=scales if len(scales) > 1 else scales[0], axis=0)
    y = builder.output((1, 4), scale=0.1, zero_point=-3, name="y")
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y])
    path = folder / f"{name}.tflite"
    path.write_bytes(builder.build())
    return tflite.read(path)


@pytest.mark.parametrize("target", board.all_boards(), ids=[b.id for b in board.all_boards()])
def test_a_board_gets_its_frameworks_library(target: board.Board) -> None:
    framework = target.platformio.framework if target.platformio else None
    assert tflm_library.choose(target) == {"arduino": EXISTING[0], "espidf": EXISTING[1]}.get(framework or "")


def test_a_build_without_a_library_is_refused_with_the_reason() -> None:
    for name in ("qemu_cortex_m4", "nucleo_f767zi"):
        with pytest.raises(ToolError, match=f"{name}: the tflm runtime needs the TFLM library") as found:
            tflm_library.require(board.load(name))
        assert tflm_library.VARIABLE in str(found.value)


def test_a_library_is_named_by_the_environment_or_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = library_folder(tmp_path / "mine", "bool preserve_all_tensors = false", "bool is_per_channel;")
    monkeypatch.setenv(tflm_library.VARIABLE, str(folder))
    chosen = tflm_library.require(board.load("qemu_cortex_m4"))
    assert chosen.dependency == f"symlink://{folder.resolve()}"
    assert tflm_library.choose(board.load("qemu_cortex_m4"), "tflm_cortexm") == EXISTING[2]
    (tmp_path / "net.tflite").write_bytes(b"")
    text = "name: r\nmodel: {tflite: net.tflite}\ntargets: [{board: native, runtime: tflm}]\ntflm: {library: mine}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    named = recipe.load(tmp_path / "recipe.yaml").tflm.library
    assert named is not None and tflm_library.choose(None, named) == chosen


@pytest.mark.parametrize("name", ["Chirale_TensorFLowLite", "spaziochirale/chirale_tensorflowlite@2.0.0"])
def test_a_known_library_is_found_by_its_name(name: str) -> None:
    assert tflm_library.choose(None, name) is CHIRALE


@pytest.mark.parametrize(
    ("interpreter", "header", "api", "outcome"),
    [
        ("bool preserve_all_tensors = false", "bool is_per_channel;", 2, "right"),
        ("MicroProfilerInterface* profiler = nullptr", "int32_t output_multiplier;", 1, "wrong"),
        ("ErrorReporter* error_reporter", None, 0, "wrong"),
    ],
)
@pytest.mark.parametrize("sources", ["src", "."])
def test_a_folder_is_known_by_its_headers(
    interpreter: str, header: str | None, api: int, outcome: str, sources: str, tmp_path: Path
) -> None:
    found = tflm_library.choose(None, str(library_folder(tmp_path / "mine", interpreter, header, sources)))
    assert found is not None
    assert (found.api, found.per_channel_dense, found.can_trace) == (api, outcome, api == 2)


def test_a_folder_that_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not a TFLM library"):
        tflm_library.choose(None, str(tmp_path))
    (library_folder(tmp_path / "mine", "") / "library.json").unlink()
    with pytest.raises(ToolError, match="not ready for PlatformIO"):
        tflm_library.choose(None, str(tmp_path / "mine"))


@pytest.mark.golden
def test_a_library_that_takes_one_scale_for_all_outputs_would_answer_wrongly(tmp_path: Path) -> None:
    """What the refusal prevents: each output with the first one's scale, as those libraries compute."""
    scales = [0.01, 0.02, 0.04, 0.005]
    right = dense(tmp_path, scales)
    given = vectors.make(quantized_model(right), 20, seed=1)
    layers = golden.all_layers(right)
    truth = golden.compute(quantized_model(right), given, layers, 1).outputs[0].reshape(20, 4)
    first = dense(tmp_path, scales[:1], "first")
    theirs = golden.compute(quantized_model(first), given, golden.all_layers(first), 1).outputs[0].reshape(20, 4)
    assert np.array_equal(truth[:, 0], theirs[:, 0])
    assert (truth[:, 1:] != theirs[:, 1:]).mean() > 0.5


@pytest.mark.parametrize("library", EXISTING, ids=[library.name for library in EXISTING])
def test_per_channel_dense_is_refused_where_it_would_not_be_right(
    library: Library, tmp_path: Path, arena: None
) -> None:
    graph = dense(tmp_path, [0.01, 0.02, 0.04, 0.005])
    if library.per_channel_dense == "right":
        assert tflm.export(graph, None, library).lib_deps == (library.dependency,)
        return
    with pytest.raises(
        UnsupportedError, match=r"op 0 \(FULLY_CONNECTED\): its weights have a scale for each of 4"
    ) as found:
        tflm.export(graph, None, library)
    assert "--runtime aot" in str(found.value)
    assert tflm.preflight(dense(tmp_path, [0.01], "one"), library) == ()
    assert tflm.preflight(dense(tmp_path, [0.01] * 4, "equal"), library) == ()


def test_check_refuses_it_for_a_board_with_such_a_library(tmp_path: Path, arena: None) -> None:
    graph = dense(tmp_path, [0.01, 0.02, 0.04, 0.005])
    with pytest.raises(UnsupportedError, match="computes with the first for all of them: wrong answers, and no error"):
        check.check_model(graph.path, board.load("nano_33_ble_sense"), "tflm")
    assert check.check_model(graph.path, board.load("nano_33_ble_sense"), "aot").fits
    assert check.check_model(graph.path, board.load("esp32_s3_devkitc_1"), "tflm").fits


def test_an_op_that_came_after_a_librarys_snapshot_is_refused(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    x, y = builder.input((1, 4), scale=0.1), builder.output((1, 4), scale=0.1)
    axis = builder.constant(np.array([1], dtype=np.int32))
    builder.op("REVERSE_V2", [x, axis], [y])
    (tmp_path / "m.tflite").write_bytes(builder.build())
    graph = tflite.read(tmp_path / "m.tflite")
    assert tflm.preflight(graph) == ()
    assert tflm.preflight(graph, CHIRALE) == (f"op 0 (REVERSE_V2): {CHIRALE.name} has no kernel for it.",)


@pytest.mark.parametrize("library", EXISTING, ids=[library.name for library in EXISTING])
def test_an_op_version_that_came_after_a_librarys_snapshot_is_refused(library: Library, tmp_path: Path) -> None:
    def problems(version: int) -> tuple[str, ...]:
        builder = TfliteBuilder()
        x, y = builder.input((1, 4), scale=0.1), builder.output((1, 4), scale=1 / 256, zero_point=-128)
        builder.op("SOFTMAX", [x], [y], version=version, beta=1.0)
        path = tmp_path / f"v{version}.tflite"
        path.write_bytes(builder.build())
        return tflm.preflight(tflite.read(path), library)

    assert problems(3) == ()
    old = f"op 0 (SOFTMAX): version 4 of the op, and {library.name} was made when 3 was the newest."
    assert problems(4) == ((old,) if library.versions else ())
    assert bool(library.versions) == (library is not ESP_TFLITE_MICRO)


@pytest.mark.parametrize("name", ["nano_33_ble_sense", "esp32_s3_devkitc_1", "qemu_cortex_m4"])
def test_a_hybrid_model_is_refused_before_anything_is_built(name: str, tmp_path: Path) -> None:
    builder = TfliteBuilder()
    x, y = builder.input((1, 8), dtype="float32"), builder.output((1, 4), dtype="float32")
    weights = builder.constant(np.ones((4, 8), np.int8), scale=0.01)
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y])
    (tmp_path / "hybrid.tflite").write_bytes(builder.build())
    with pytest.raises(ModelError, match=r"hybrid"):
        check.check_model(tmp_path / "hybrid.tflite", board.load(name), "tflm")


@pytest.mark.parametrize("name", ["nano_33_ble_sense", "esp32_c3_devkitm_1", "nucleo_f446re", "qemu_cortex_m4"])
def test_a_project_asks_for_its_library(name: str, tmp_path: Path, arena: None) -> None:
    target = board.load(name)
    export = runtimes.export(dense(tmp_path, [0.01]), target, "tflm")
    made = project.render(export, target, tmp_path / "out")
    ini = (tmp_path / "out/platformio.ini").read_text()
    code = (tmp_path / "out/lib/dense/src/dense.cc").read_text()
    framework = target.platformio.framework if target.platformio else None
    assert ("lib_deps =\n    spaziochirale/Chirale_TensorFLowLite@^2.0.0\n" in ini) == (framework == "arduino")
    assert ("[env:trace]" in ini) == ("trace" in made.environments) == (framework != "arduino")
    assert f"#define TFLASH_TFLM_API {1 if framework == 'arduino' else 2}\n" in code
    assert "-DTF_LITE_STATIC_MEMORY" in ini  # a library's and a model's view of TFLM's structs must be the same
    component = tmp_path / "out/src/idf_component.yml"
    assert component.is_file() == (framework == "espidf")
    if component.is_file():
        assert component.read_text() == 'dependencies:\n  espressif/esp-tflite-micro: "~1.4.0"\n'


def test_all_libraries_in_use_round_as_the_golden_answers_do() -> None:
    assert {library.rounding for library in BY_FRAMEWORK.values()} == {"twice"}
    assert replace(CHIRALE, api=2).can_trace


@pytest.mark.tflm_target
@pytest.mark.emulated
@pytest.mark.golden
@pytest.mark.zoo
@pytest.mark.parametrize("model", ["kws_ref_model", "ad01_int8"])
@pytest.mark.parametrize("name", ["qemu_cortex_m4", "qemu_cortex_m55"])
def test_a_published_model_verifies_on_tflm_itself(
    name: str, model: str, model_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not TARGET:
        pytest.skip(f"{tflm_library.VARIABLE} is not set: there is no TFLM library to build with")
    monkeypatch.setenv(tflm_library.VARIABLE, TARGET)
    found = verify_model(
        model_zoo / f"mlperf_tiny/{model}.tflite",
        board=name,
        runtime="tflm",
        samples=3,
        seed=0,
        inputs=None,
        golden_file=None,
        transport="fast",
        out=tmp_path,
        progress=lambda stage, done, total: None,
    )
    assert (found["mismatched_samples"], found["layer_mismatches"]) == (0, 0)
    assert f"Measured on {name}: TFLM takes" in found["notes"][-1]
    assert found["layers_compared"] > 0


@pytest.mark.tflm_target
@pytest.mark.emulated
@pytest.mark.golden
@pytest.mark.zoo
def test_a_recipe_with_tflm_is_proved_with_an_arena_of_the_board(model_zoo: Path, tmp_path: Path) -> None:
    if not TARGET:
        pytest.skip(f"{tflm_library.VARIABLE} is not set: there is no TFLM library to build with")
    shutil.copy(model_zoo / "mlperf_tiny/ad01_int8.tflite", tmp_path / "net.tflite")
    (tmp_path / "recipe.yaml").write_text(
        "name: net\nmodel: {tflite: net.tflite}\ntargets: [{board: qemu_cortex_m4, runtime: tflm}]\n"
        f"verify: {{samples: 3}}\ntflm: {{library: {TARGET}}}\n"
    )
    work = tmp_path / "work"
    found = run_recipe(tmp_path / "recipe.yaml", out=work, progress=lambda stage, done, total: None)
    (target,) = found.targets
    assert target["exact"] and target["verify"]["mismatched_samples"] == target["verify"]["layer_mismatches"] == 0
    (header,) = work.glob("firmware-*/project/lib/net/*/net_arena.h")
    assert f"NET_ARENA_BYTES {target['verify']['arena_bytes']}u" in header.read_text()
    assert "Measured on qemu_cortex_m4: TFLM takes" in header.read_text()
