"""Projects of real boards: what PlatformIO would be given, and that its C and C++ compile for each core.

The framework's headers are not here, so one file of a project is left out: the framework's own port, which has only
the calls that firmware/ports/framework.h declares. For Xtensa cores there is no compiler here. The C++ of the tflm
runtime compiles against the TFLM library that TENSORFLASH_TFLM_LIBRARY names.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import board, cli, interpreters, preprocessing, project, recipe, runtimes, tflite, tflm_library, vectors
from pipeline.board import Board
from pipeline.model import Export
from pipeline.tflite import quantized_model
from tests.test_project import RENDERED, compare_with_golden, tree
from tests.toy_export import toy_export

GOLDEN = Path(__file__).parent / "golden" / "project"
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits"
TFLM = os.environ.get(tflm_library.VARIABLE, "")
HARDWARE = [b for b in board.all_boards() if b.is_hardware]
COMPILED = [b for b in HARDWARE if b.toolchain is not None]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]


def names(boards: list[Board]) -> list[str]:
    return [b.id for b in boards]


@pytest.mark.parametrize("name", ["nano_33_ble_sense", "esp32_s3_devkitc_1", "pico", "nucleo_f767zi"])
def test_rendered_files_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    project.render(toy_export(), board.load(name), tmp_path / "out")
    extra = ("sdkconfig.defaults",)
    found = {p: c for p, c in tree(tmp_path / "out").items() if RENDERED.fullmatch(p) or p in extra}
    compare_with_golden(GOLDEN / name, found)


@pytest.mark.parametrize("name", ["nano_33_ble_sense", "esp32_s3_devkitc_1", "pico"])
def test_the_projects_of_the_example_are_what_its_recipe_gives(name: str, tmp_path: Path) -> None:
    """Of a model that was trained once and is kept beside them: other processors train other weights."""
    request, target = recipe.load(EXAMPLE / "recipe.yaml"), board.load(name)
    export = runtimes.export(tflite.read(EXAMPLE / "projects/digits.tflite"), target, "aot")
    project.render(preprocessing.attach(export, request.contract, request.labels), target, tmp_path / "out")
    compare_with_golden(EXAMPLE / "projects" / name, tree(tmp_path / "out"))


@pytest.mark.parametrize("target", HARDWARE, ids=names(HARDWARE))
def test_platformio_is_given_the_pinned_platform_and_no_core_dir(target: Board, tmp_path: Path) -> None:
    made = project.render(toy_export(), target, tmp_path / "out")
    assert made.environments == ("release", "verify", "trace")
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(tmp_path / "out" / "platformio.ini")
    assert target.platformio is not None
    assert ini["env"]["platform"] == target.platformio.platform
    assert ini["env"]["board"] == target.platformio.board
    assert "core_dir" not in ini["platformio"]
    assert not (tmp_path / "out" / "platform").exists()


@pytest.mark.parametrize("target", COMPILED, ids=names(COMPILED))
@pytest.mark.parametrize("environment", ["release", "trace"])
def test_all_but_the_frameworks_calls_compiles_for_the_core(target: Board, environment: str, tmp_path: Path) -> None:
    compile_project(toy_export(), target, environment, tmp_path)


def compile_project(export: Export, target: Board, environment: str, folder: Path) -> None:
    """Each C file of the project's environment, but for the framework's own port, becomes an object file."""
    assert target.toolchain is not None
    compiler = shutil.which(f"{target.toolchain.prefix}gcc")
    if compiler is None:
        pytest.skip(f"not installed: {target.toolchain.prefix}gcc")
    out = folder / "out"
    project.render(export, target, out, "mlperf-tiny" if environment == "mlperf_tiny" else None)
    port = {f"{target.port}.c", f"{target.port}.cpp"}
    program = {"release": "app_main.c", "mlperf_tiny": "mlperf_main.c"}.get(environment, "main.c")
    sources = [out / "src" / program, *(p for p in sorted(out.glob("lib/*/src/**/*.c")) if p.name not in port)]
    assert [p.name for p in out.glob("lib/tensorflash_port/src/*.c*") if p.name in port]  # only this is left out
    includes = [f"-I{folder}" for folder in sorted(out.glob("lib/*/include")) + sorted(out.glob("lib/*/src"))]
    defines = ["-DTFLASH_TRACE"] if environment == "trace" else []
    command = [compiler, *target.toolchain.cpu_flags, "-std=c11", "-O1", *WARNINGS, *defines, *includes, "-c"]
    (folder / "objects").mkdir()
    done = subprocess.run(
        [*command, *map(str, sources)], cwd=folder / "objects", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "objects").glob("*.o"))) == len(sources)


@pytest.mark.tflm_target
@pytest.mark.golden
@pytest.mark.zoo
@pytest.mark.parametrize("target", COMPILED, ids=names(COMPILED))
def test_the_cpp_of_tflm_compiles_for_the_core(
    target: Board, model_zoo: Path, tmp_path: Path, one_arena: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not TFLM:
        pytest.skip(f"{tflm_library.VARIABLE} is not set: there are no TFLM headers to compile against")
    assert target.toolchain is not None
    compiler = shutil.which(f"{target.toolchain.prefix}g++")
    probe = [str(compiler), *target.toolchain.cpu_flags, "-x", "c++", "-fsyntax-only", "-include", "cstdint", "-"]
    if compiler is None or subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=60).returncode:
        pytest.skip(f"not installed: {target.toolchain.prefix}g++ with its C++ library")
    monkeypatch.setenv(tflm_library.VARIABLE, TFLM)
    graph = tflite.read(model_zoo / "mlperf_tiny/kws_ref_model.tflite")
    export = runtimes.export(graph, target, "tflm")
    out = project.render(export, target, tmp_path / "out").path
    sources = sorted(out.glob("lib/kws_ref_model/src/*.cc"))
    includes = [f"-I{folder}" for folder in out.glob("lib/*/include")] + ["-isystem", str(library_headers(Path(TFLM)))]
    options = [*WARNINGS, "-std=c++17", "-fno-exceptions", "-fno-rtti", "-DTF_LITE_STATIC_MEMORY", "-DTFLASH_TRACE"]
    done = subprocess.run(
        [compiler, *target.toolchain.cpu_flags, *options, *includes, "-c", *map(str, sources)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.glob("*.o")) == ["kws_ref_model", "kws_ref_model_model_data"]


def library_headers(library: Path) -> Path:
    return library / "src" if (library / "src/tensorflow").is_dir() else library


@pytest.fixture(scope="module")
def kws_arena(model_zoo: Path) -> interpreters.ArenaSize:
    """Measured once, not for each board."""
    model = quantized_model(tflite.read(model_zoo / "mlperf_tiny/kws_ref_model.tflite"))
    return interpreters.tflm_arena(model, vectors.make(model, 1, seed=0).inputs)


@pytest.fixture
def one_arena(kws_arena: interpreters.ArenaSize, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "tflm_arena", lambda model, inputs: kws_arena)


@pytest.mark.golden
@pytest.mark.zoo
@pytest.mark.parametrize("runtime", ["aot", "tflm"])
def test_a_published_model_becomes_a_project_for_every_board(
    runtime: str, model_zoo: Path, tmp_path: Path, one_arena: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pytest.importorskip("platformio.project.config")
    monkeypatch.delenv(tflm_library.VARIABLE, raising=False)
    graph = tflite.read(model_zoo / "mlperf_tiny/kws_ref_model.tflite")
    for target in board.all_boards():
        if target.edgetpu is not None:
            continue
        out = tmp_path / target.id
        made = project.render(runtimes.export(graph, target, runtime), target, out)
        monkeypatch.chdir(out)
        assert config.ProjectConfig.lint("platformio.ini") == {"errors": [], "warnings": []}, target.id
        assert config.ProjectConfig("platformio.ini").envs() == list(made.environments)


@pytest.mark.golden
@pytest.mark.parametrize("command", ["project", "check", "verify"])
def test_a_board_that_runs_no_firmware_gets_none(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")] if command == "project" else []
    assert cli.main([command, str(EXAMPLE / "projects/digits.tflite"), "--board", "coral_usb", *out]) == 2
    said = capsys.readouterr().err
    assert "coral_usb runs a bundle and no firmware" in said
    assert "Try: `tensorflash edgetpu`" in said


@pytest.mark.slow
@pytest.mark.zoo
@pytest.mark.parametrize("target", COMPILED, ids=names(COMPILED))
def test_a_published_model_compiles_for_every_core(target: Board, model_zoo: Path, tmp_path: Path) -> None:
    graph = tflite.read(model_zoo / "mlperf_tiny/kws_ref_model.tflite")
    compile_project(runtimes.export(graph, target, "aot"), target, "trace", tmp_path)


def test_the_page_of_boards_is_current() -> None:
    script = Path(__file__).parents[1] / "scripts" / "write_boards.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
