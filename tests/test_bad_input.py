"""Bad input from end to end: each has a clear message, its exit code, and leaves nothing half-written.

bad input                                       exit  tested in
missing, empty, truncated, random-bytes model   2     test_cli (all commands), here (run)
float, hybrid, custom op, unsupported op        2     test_cli, here (run); by op: test_audit, tests/aot/ops
float QUANTIZE or DEQUANTIZE at the edge        0     here, test_audit
dynamic shape                                   2     here, test_tflite
too large for the board: flash, RAM             1     here; what only the linker notices: test_build
unknown board, runtime                          2     test_cli, here (run)
recipe: unknown key, any other mistake          2     here, test_recipe with tests/bad_recipes
a board file with a mistake                     2     test_board with tests/bad_boards
representative data: missing, empty, NaN, shape 2     here, test_training, test_data
  that never reach a branch of the model        2     test_calibration, test_sensitivity
data normalised already, of another type        2     test_run, test_contract, test_data
class numbers or labels beyond the model's      2     test_quantize, test_data, test_preprocessing
Lambda, own classes, mixed precision, NaN       2     test_keras_models, test_quantize
layers that training cannot simulate            0     test_qat, test_quantize: calibrated, and named
dead channels, test data beyond the ranges      0     test_calibration, test_convert, test_run: a warning
a factory that raises                           2     here, test_train_worker
QEMU, a compiler, PlatformIO, TFLM missing      3     here, test_build, test_device, test_golden
disk full, unwritable folder                    2     here, test_workspace, test_train_worker, test_report
two runs in one folder, a killed run, Ctrl-C          test_killed_runs
wrong command lines, streams that are closed    2     test_cli, here
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cli
from tests import tiny_recipe
from tests.test_cli import UNREADABLE, UNSUITABLE, small_model
from tests.tflite_builder import TfliteBuilder
from tests.tiny_recipe import leftovers


def refused(
    arguments: list[str], exit_code: int, words: str, capsys: pytest.CaptureFixture[str], *, hint: bool = True
) -> str:
    """Carry out a command that has to fail in this way; returns what it said, without line breaks."""
    assert cli.main(arguments) == exit_code
    shown = capsys.readouterr()
    said = " ".join(shown.err.split())
    assert words in said
    assert shown.out == ""
    assert "Traceback" not in said and "internal error" not in said
    assert not hint or "\n  Try: " in shown.err
    return said


def on_each_command(model: Path, board: str, out: Path) -> dict[str, list[str]]:
    target = [str(model), "--board", board]
    return {
        "check": ["check", *target],
        "verify": ["verify", *target, "--samples", "2", "--out", str(out)],
        "project": ["project", *target, "--out", str(out)],
    }


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# Models


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("what", [*UNREADABLE, *UNSUITABLE])
def test_a_recipe_with_a_bad_model_is_refused(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe.write(tmp_path)
    content, words = UNREADABLE[what] if what in UNREADABLE else (UNSUITABLE[what][0]().build(), UNSUITABLE[what][1])
    if content is None:
        (tmp_path / "small.tflite").unlink()
    else:
        (tmp_path / "small.tflite").write_bytes(content)
    refused(["run", str(recipe), "--out", str(tmp_path / "work")], 2, words, capsys, hint=what != "missing")
    steps = {path.name.rpartition("-")[0] for path in (tmp_path / "work").glob("*-*")}
    assert steps <= {"data", "model"}, "nothing is built of a bad model"
    assert leftovers(tmp_path) == []


def dynamic_model() -> bytes:
    model = TfliteBuilder()
    x = model.input((-1, 4), scale=0.5, name="batch")
    model.op("RELU", [x], [model.output((-1, 4), scale=0.5)])
    return model.build()


@pytest.mark.parametrize("command", ["check", "verify", "project"])
def test_a_dynamic_shape_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "dynamic.tflite"
    model.write_bytes(dynamic_model())
    refused(on_each_command(model, "native", tmp_path / "out")[command], 2, "shape [-1, 4] is not static", capsys)
    assert tree(tmp_path) == {model.name}


def test_float_at_the_edge_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = TfliteBuilder()
    x, q = model.input((1, 4), dtype="float32"), model.tensor((1, 4), scale=0.5, zero_point=3)
    r = model.tensor((1, 4), scale=0.5, zero_point=3)
    model.op("QUANTIZE", [x], [q])
    model.op("RELU", [q], [r])
    model.op("DEQUANTIZE", [r], [model.output((1, 4), dtype="float32")])
    path = tmp_path / "edges.tflite"
    path.write_bytes(model.build())
    assert cli.main(["check", str(path), "--board", "native"]) == 0
    assert capsys.readouterr().err == ""


def large_model(kind: str) -> bytes:
    """1 MiB of weights, or 256 KiB between two layers: too much for the small boards."""
    model = TfliteBuilder()
    random = np.random.Generator(np.random.PCG64(1))
    if kind == "flash":
        x, y = model.input((1, 1024), scale=0.5), model.output((1, 1024), scale=0.5)
        weights = model.constant(random.integers(-127, 128, (1024, 1024)).astype(np.int8), scale=0.01)
        model.op("FULLY_CONNECTED", [x, weights, -1], [y], version=4)
    else:
        x, y = model.input((1, 512, 512), scale=0.5), model.output((1, 512, 512), scale=0.5)
        model.op("RELU", [x], [y])
    return model.build()


@pytest.mark.parametrize("kind", ["flash", "RAM"])
@pytest.mark.parametrize("command", ["check", "verify"])
def test_a_model_that_is_too_large_for_the_board_is_refused_before_anything_is_built(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "large.tflite"
    model.write_bytes(large_model(kind))
    assert cli.main(on_each_command(model, "qemu_cortex_m0", tmp_path / "out")[command]) == 1
    shown = capsys.readouterr()
    said = shown.out + shown.err
    assert kind in said and "too many" in said
    assert "Traceback" not in said
    assert tree(tmp_path) == {model.name}


@pytest.mark.parametrize("kind", ["flash", "RAM"])
def test_a_project_that_is_too_large_for_its_board_says_so(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "large.tflite"
    model.write_bytes(large_model(kind))
    assert cli.main(["project", str(model), "--board", "qemu_cortex_m0", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert f"{kind}: about " in shown and "too many" in shown


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("kind", ["flash", "RAM"])
def test_a_recipe_whose_model_is_too_large_for_the_board_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe.write(tmp_path, target="qemu_cortex_m0", data="", labels="")
    (tmp_path / "small.tflite").write_bytes(large_model(kind))
    refused(["run", str(recipe), "--out", str(tmp_path / "work")], 1, f"{kind}: about", capsys)
    assert tree(tmp_path / "work") <= {".lock"}


# Requests


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boards": "[native]"}, "recipe.yaml:7: the recipe has no key 'boards'"),
        ({"verify": "{sample: 5}"}, "recipe.yaml:5: verify has no key 'sample'"),
        ({"targets": "[{board: native, runtime: onnx}]"}, "recipe.yaml:4: targets[0].runtime is 'onnx'"),
        ({"targets": "[{board: natif}]"}, "there is no board 'natif'"),
        ({"model": "{tflite: nowhere.tflite}"}, "recipe.yaml:2: model.tflite is 'nowhere.tflite'"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_before_anything_is_made(
    changes: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe.write(tmp_path, **changes)
    refused(["run", str(recipe), "--out", str(tmp_path / "work")], 2, words, capsys, hint=False)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("board", ["", "natif", "../native", "Native", "nowhere.toml", "a\nb"])
def test_a_run_on_an_unknown_board_is_refused(board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny_recipe.write(tmp_path)
    refused(["run", str(recipe), "--board", board, "--out", str(tmp_path / "work")], 2, "board", capsys, hint=False)
    assert not (tmp_path / "work").exists()


@pytest.mark.golden
@pytest.mark.emulated
def test_a_run_takes_a_board_file_of_ones_own(tmp_path: Path) -> None:
    own = (Path(cli.__file__).parent / "boards" / "qemu_cortex_m4.toml").read_text()
    board = tmp_path / "mine.toml"
    board.write_text(own.replace('"qemu_cortex_m4"', '"mine"', 1))
    recipe = tiny_recipe.write(tmp_path)
    command = ["run", str(recipe), "--board", str(board), "--until", "golden", "--out", str(tmp_path / "work")]
    assert cli.main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", ""], "argument MODEL.tflite: a path is needed"),
        (["run", ""], "argument RECIPE: a path is needed"),
        (["run", "r.yaml", "--out", ""], "argument --out: a path is needed"),
        (["verify", "{model}", "--board", "native", "--samples", "2147483647"], "1 to 1,000,000 are possible"),
        (["verify", "{model}", "--board", "native", "--inputs", "{folder}"], "not a file; an .npz file is needed"),
        (["verify", "{model}", "--board", "native", "--golden", "/dev/zero"], "not a file; an .npz file is needed"),
        (["verify", "{model}", "--board", "native", "--inputs", "{model}"], "not an .npz file"),
        (["inspect", "{folder}"], "cannot be read: Is a directory"),
        (["inspect", "/dev/null"], "the file is empty"),
        (["run", "/dev/zero"], "this is not a recipe"),
    ],
)
@pytest.mark.golden
@pytest.mark.skipif(os.name == "nt", reason="needs devices in /dev")
def test_what_makes_no_sense_is_refused(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    refused([a.format(model=model, folder=tmp_path) for a in arguments], 2, words, capsys, hint=False)
    assert tree(tmp_path) == {model.name}


def test_a_model_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.tflite.MAX_FILE_BYTES", 1 << 20)
    refused(["inspect", "/dev/zero"], 2, "more than 1,048,576 bytes", capsys)


@pytest.mark.parametrize("name", ["with space", "ünïcödé ✓", "new\nline", "'quote\"", "-dash", "$(true);x", "9", "int"])
def test_any_file_name_is_a_model_s(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / f"{name}.tflite"
    model.write_bytes(small_model().build())
    for command in ("check", "project"):
        assert cli.main(on_each_command(model, "qemu_cortex_m4", tmp_path / "out")[command]) == 0
    assert capsys.readouterr().err == ""
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_links_are_followed_to_models_and_not_out_of_projects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "real").write_bytes(small_model().build())
    (tmp_path / "small.tflite").symlink_to("real")
    (tmp_path / "round.tflite").symlink_to("round.tflite")
    assert cli.main(["inspect", str(tmp_path / "small.tflite")]) == 0
    capsys.readouterr()
    refused(["inspect", str(tmp_path / "round.tflite")], 2, "cannot be read", capsys)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("x")
    (tmp_path / "out").symlink_to("theirs")
    refused(
        ["project", str(tmp_path / "small.tflite"), "--board", "native", "--out", str(tmp_path / "out")],
        2,
        "tensorflash did not write",
        capsys,
    )
    assert tree(tmp_path / "theirs") == {"file"}


# Data and factories


@pytest.mark.train
@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize(
    ("representative", "words"),
    [
        (None, "no representative data"),
        (np.ones((0, 4), np.float32), "x_representative is empty"),
        (np.eye(5, 3, dtype=np.float32), "samples of x_representative have shape [3]"),
        (np.full((5, 4), np.nan, np.float32), "x_representative holds NaN or infinity"),
    ],
)
def test_bad_representative_data_is_refused(
    representative: np.ndarray | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text("def build():\n    raise RuntimeError('it is never called')\n")
    recipe = tiny_recipe.write(tmp_path, model="{factory: net.py:build}", quantize="{method: ptq}")
    arrays: dict[str, Any] = {"x_test": np.ones((3, 4), np.float32), "y_test": np.arange(3)}
    if representative is not None:
        arrays["x_representative"] = representative
    np.savez(tmp_path / "data.npz", **arrays)
    refused(["run", str(recipe), "--out", str(tmp_path / "work")], 2, words, capsys, hint=False)
    assert tree(tmp_path / "work") <= {".lock", "logs"}


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def load():\n    return 1 / 0\n", "source.py:2: load() raised ZeroDivisionError"),
        ("import os\ndef load():\n    os._exit(5)\n", "ended with code 5"),
        ("def lod():\n    pass\n", "load"),
        ("def load(:\n", "source.py:1"),
    ],
)
def test_a_factory_that_raises_is_reported_with_its_line(
    code: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source.py").write_text(code)
    recipe = tiny_recipe.write(tmp_path, data="{factory: source.py:load}")
    exit_code = 3 if "_exit" in code else 2
    refused(["run", str(recipe), "--out", str(tmp_path / "work")], exit_code, words, capsys, hint=False)
    assert tree(tmp_path / "work") <= {".lock", "logs", "logs/data.log"}


# Tools


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("command", ["run", "verify"])
@pytest.mark.parametrize("missing", ["qemu-system-arm", "arm-none-eabi-gcc", "platformio", "SCons", "tflite_micro"])
def test_a_missing_tool_is_named_before_anything_is_made(
    missing: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe.write(tmp_path, target="qemu_cortex_m4")
    given = tree(tmp_path)
    which, find_spec = shutil.which, importlib.util.find_spec
    monkeypatch.setattr("shutil.which", lambda name, *more, **mode: None if name == missing else which(name))
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == missing else find_spec(name))
    arguments = {
        "run": ["run", str(recipe), "--out", str(tmp_path / "work")],
        "verify": ["verify", str(tmp_path / "small.tflite"), "--board", "qemu_cortex_m4", "--samples", "2"],
    }[command]
    refused(arguments, 3, missing.lower().replace("_", "-"), capsys)
    assert tree(tmp_path) == given


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system of its own, with options of mount."""
    made: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def with_out(command: str, folder: Path, out: Path) -> list[str]:
    recipe = tiny_recipe.write(folder)
    model = str(folder / "small.tflite")
    return {
        "run": ["run", str(recipe), "--out", str(out)],
        "verify": ["verify", model, "--board", "native", "--samples", "2", "--out", str(out)],
        "project": ["project", model, "--board", "native", "--out", str(out)],
        "library": ["project", model, "--board", "native", "--as-library", "--out", str(out)],
    }[command]


COMMANDS_THAT_WRITE = ["run", "verify", "project", "library"]


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount")
@pytest.mark.parametrize("command", COMMANDS_THAT_WRITE)
def test_a_full_disk_is_named_and_nothing_half_written_is_left(
    command: str, disk: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = disk("size=32k")
    refused(with_out(command, tmp_path, full / "out"), 2, "No space left on device", capsys)
    assert leftovers(full) == []
    if command in ("project", "library"):
        assert tree(full) == set()
    assert not list(full.rglob("project"))


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount")
def test_a_disk_that_is_full_in_the_middle_of_a_build_is_named(
    disk: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = disk("size=600k")
    refused(with_out("run", tmp_path, full / "work"), 2, "the build was stopped by a full disk", capsys)
    assert leftovers(full) == []
    assert not list((full / "work").glob("firmware-*"))


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount")
@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_full_temporary_folder_is_named(
    command: str,
    disk: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = disk("size=4k")
    (full / "it").write_bytes(bytes(4096))
    monkeypatch.setattr("tempfile.tempdir", str(full))
    cli_exit = cli.main(with_out(command, tmp_path, tmp_path / "out"))
    said = capsys.readouterr().err
    assert cli_exit in (2, 3)
    assert "No space left on device" in said and "\n  Try: free " in said
    assert "internal error" not in said
    assert leftovers(full) == leftovers(tmp_path / "out") == []


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mount")
@pytest.mark.parametrize("command", COMMANDS_THAT_WRITE)
def test_a_disk_that_is_read_only_is_named(
    command: str, disk: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(with_out(command, tmp_path, disk("ro") / "out"), 2, "Read-only file system", capsys)


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("command", COMMANDS_THAT_WRITE)
@pytest.mark.parametrize("below", [True, False])
def test_a_file_in_place_of_a_folder_is_named_and_left_alone(
    below: bool, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    refused(with_out(command, tmp_path, tmp_path / "file" / "x" if below else tmp_path / "file"), 2, "file", capsys)
    assert (tmp_path / "file").read_text() == "mine"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("command", ["project", "library"])
def test_a_folder_of_somebody_elses_is_left_alone(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "src").mkdir(parents=True)
    (theirs / "src" / "main.c").write_text("int x;")
    refused(with_out(command, tmp_path, theirs), 2, "tensorflash did not write", capsys)
    assert tree(theirs) == {"src", "src/main.c"}


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(os.name == "nt", reason="no such names there")
@pytest.mark.parametrize("name", ["$(touch x)", "a;b", "it's", "line\nbreak"])
def test_a_folder_that_a_shell_would_misread_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(with_out("verify", tmp_path, tmp_path / name), 2, "PlatformIO cannot build in a folder with", capsys)
    assert leftovers(tmp_path) == []


@pytest.mark.golden
@pytest.mark.emulated
def test_modules_beside_the_user_do_not_take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("platformio", "SCons", "click", "json", "numpy"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('this is not the real one')\n")
    monkeypatch.chdir(elsewhere)
    assert cli.main(with_out("verify", tmp_path, tmp_path / "out")) == 0


# Streams


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("redirection", "exit_code"),
    [
        ("<&-", 0),
        (">&-", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        (">/dev/full", 2),
        ("2>/dev/full", 0),
        (">/dev/full 2>/dev/full", 2),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_streams_that_are_closed_or_full_are_no_traceback(
    redirection: str, exit_code: int, as_json: bool, tmp_path: Path
) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    script = f'"$0" -m pipeline project "$1" --board native --out "$2" {"--json" if as_json else ""} {redirection}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, str(model), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exit_code
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert (tmp_path / "out" / "tensorflash.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_mistake_keeps_its_exit_code_where_nobody_can_be_told(tmp_path: Path) -> None:
    script = '"$0" -m pipeline inspect nowhere.tflite --json >/dev/full 2>/dev/full'
    assert subprocess.run(["sh", "-c", script, sys.executable], timeout=60, check=False).returncode == 2
