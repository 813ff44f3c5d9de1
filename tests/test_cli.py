from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import __version__, cli
from pipeline.errors import BoardError, BudgetError, DeviceError, GateError, ModelError, ToolError, UnsupportedError
from tests.tflite_builder import TfliteBuilder

COMMANDS = ("run", "verify", "project", "check", "inspect", "edgetpu", "boards", "doctor")
HEAVY = {"numpy", "tflite", "flatbuffers", "jinja2", "pydantic", "yaml", "rich", "serial", "elftools", "platformio",
         "tensorflow", "tf_keras", "keras"}  # fmt: skip
TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}


def small_model() -> TfliteBuilder:
    model = TfliteBuilder()
    x, y = model.input((1, 4), scale=0.5, zero_point=-1), model.tensor((1, 3), scale=0.25, zero_point=2)
    weights = model.constant(np.arange(12, dtype=np.int8).reshape(3, 4), scale=0.1)
    bias = model.constant(np.array([1, -2, 3], np.int32), scale=0.05)
    model.op("FULLY_CONNECTED", [x, weights, bias], [y], version=4)
    model.op("SOFTMAX", [y], [model.output((1, 3), scale=1 / 256, zero_point=-128)], version=2, beta=1.0)
    return model


def float_model() -> TfliteBuilder:
    model = TfliteBuilder()
    x, y = model.input((1, 4), dtype="float32"), model.output((1, 3), dtype="float32")
    model.op("FULLY_CONNECTED", [x, model.constant(np.ones((3, 4), np.float32)), -1], [y])
    return model


def hybrid_model() -> TfliteBuilder:
    model = TfliteBuilder()
    x, y = model.input((1, 4), dtype="float32"), model.output((1, 3), dtype="float32")
    model.op("FULLY_CONNECTED", [x, model.constant(np.ones((3, 4), np.int8), scale=0.1), -1], [y])
    return model


def custom_model() -> TfliteBuilder:
    model = TfliteBuilder()
    model.op("my_op", [model.input((1, 4), scale=0.5)], [model.output((1, 4), scale=0.5)])
    return model


def unsupported_model() -> TfliteBuilder:
    model = TfliteBuilder()
    x, y = model.input((1, 4), scale=0.5), model.output((1, 4), scale=0.5)
    model.op("SEGMENT_SUM", [x, model.constant(np.zeros(4, np.int32))], [y])
    return model


# What cannot be read as a model at all, and words of what is said about it.
UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "random": (np.random.Generator(np.random.PCG64(1)).bytes(4096), "not a .tflite file"),
    "truncated": (small_model().build()[:-400], "damaged or cut short"),
    "only_a_head": (small_model().build()[:8], "damaged or cut short"),
}
# What is a model, but not one that a microcontroller's int8 runtime can carry.
UNSUITABLE: dict[str, tuple[Callable[[], TfliteBuilder], str]] = {
    "float": (float_model, "float"),
    "hybrid": (hybrid_model, "float"),
    "custom": (custom_model, "my_op"),
    "unsupported": (unsupported_model, "SEGMENT_SUM"),
}


def command_line(command: str, model: Path, tmp_path: Path) -> list[str]:
    """A whole command for a model; every command but inspect needs a board."""
    return {
        "inspect": ["inspect", str(model)],
        "check": ["check", str(model), "--board", "native"],
        "verify": ["verify", str(model), "--board", "native", "--samples", "3"],
        "project": ["project", str(model), "--board", "native", "--out", str(tmp_path / "out")],
    }[command]


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


LIST_MODULES = """
import sys
from pipeline.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(f"exit {code}", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS), ["frobnicate"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = python(LIST_MODULES, *arguments).stderr.splitlines()[-1].split()
    assert loaded[:2] == ["exit", "2" if arguments == ["frobnicate"] else "0"]
    assert not HEAVY & set(loaded)
    assert "argparse" in loaded


@pytest.mark.parametrize(
    "command",
    ["inspect", "check", "project", pytest.param("verify", marks=[pytest.mark.golden, pytest.mark.emulated])],
)
def test_an_existing_model_never_loads_tensorflow(command: str, tmp_path: Path) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    done = python(LIST_MODULES, *command_line(command, model, tmp_path))
    loaded = done.stderr.splitlines()[-1].split()
    assert loaded[:2] == ["exit", "0"], done.stderr
    assert not TENSORFLOW & set(loaded)


@pytest.mark.parametrize("command", ["boards", "doctor"])
def test_lists_never_load_tensorflow_or_numpy(command: str) -> None:
    loaded = python(LIST_MODULES, command).stderr.splitlines()[-1].split()
    assert loaded[1] in ("0", "3")
    assert not (TENSORFLOW | {"numpy"}) & set(loaded)


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)
    assert all(f"\n  {code} " in text for code in (0, 1, 2, 3, 70, 130))


def test_the_help_of_run_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.run import STAGES

    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"stop after {', '.join(STAGES[:-1])} or {STAGES[-1]}" in text


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"tensorflash {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["inspect"], "required: MODEL.tflite"),
        (["verify", "m.tflite"], "required: --board"),
        (["verify", "m.tflite", "--board", "native", "--samples", "0"], "'0' is not a whole number of at least 1"),
        (["verify", "m.tflite", "--board", "native", "--samples", "many"], "'many' is not a whole number"),
        (["verify", "m.tflite", "--board", "native", "--seed", "-1"], "'-1' is not a whole number of at least 0"),
        (["verify", "m.tflite", "--board", "native", "--inputs", "a", "--golden", "b"], "not allowed with"),
        (["project", "m.tflite", "--board", "native"], "required: --out"),
        (["inspect", "m.tflite", "--boards"], "unrecognized arguments: --boards"),
        (["inspect", "m.tflite", "--js"], "unrecognized arguments: --js.\n  Try: tensorflash inspect --help"),
        (["edgetpu", "check", "m.tflite", "-x"], "arguments: -x.\n  Try: tensorflash edgetpu check --help"),
    ],
)
def test_a_wrong_command_line_is_a_bad_request(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "--help" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("command", ["inspect", "check", "verify", "project"])
@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_model_is_a_clear_error(
    command: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = UNREADABLE[what]
    model = tmp_path / f"{what}.tflite"
    if content is not None:
        model.write_bytes(content)
    assert cli.main(command_line(command, model, tmp_path)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(model) in shown.err
    assert words in shown.err
    assert "\n  Try: " in shown.err
    assert "Traceback" not in shown.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ([] if content is None else [model.name])


@pytest.mark.parametrize("command", ["check", "verify", "project"])
@pytest.mark.parametrize("what", UNSUITABLE)
def test_an_unsuitable_model_is_a_clear_error(
    command: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build, words = UNSUITABLE[what]
    model = tmp_path / "model.tflite"
    model.write_bytes(build().build())
    assert cli.main(command_line(command, model, tmp_path)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert "\n  Try: " in shown.err
    assert "Traceback" not in shown.err
    assert [p.name for p in tmp_path.iterdir()] == [model.name]


@pytest.mark.parametrize("what", UNSUITABLE)
def test_an_unsuitable_model_can_still_be_inspected(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(UNSUITABLE[what][0]().build())
    assert cli.main(["inspect", str(model)]) == 0
    assert str(model) in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "verify", "project"])
@pytest.mark.parametrize(("option", "value"), [("--board", "nativ"), ("--runtime", "aott")])
def test_an_unknown_board_or_runtime_names_the_nearest_one(
    command: str, option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    arguments = command_line(command, model, tmp_path)
    if option in arguments:
        arguments[arguments.index(option) + 1] = value
    else:
        arguments += [option, value]
    assert cli.main(arguments) == 2
    shown = capsys.readouterr().err
    assert f"'{value}'" in shown
    assert value[:-1] in shown.replace(f"'{value}'", "")
    assert [p.name for p in tmp_path.iterdir()] == [model.name]


@pytest.mark.parametrize("command", ["inspect", "check"])
def test_json_is_one_object_and_nothing_else(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    assert cli.main([*command_line(command, model, tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["path"] == str(model)
    assert len(found["ops"]) == 2


@pytest.mark.parametrize("arguments", [["inspect", "nowhere.tflite", "--json"], ["frobnicate", "--json"]])
def test_an_error_is_json_too_where_json_was_asked_for(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code = cli.main(arguments)
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert set(error) == {"message", "hint", "exit_code"}
    assert error["exit_code"] == exit_code == 2
    assert error["message"] in shown.err
    assert error["hint"] in shown.err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[str]:
    """A command line whose command raises this error."""
    fake = types.ModuleType("pipeline.inspection")

    def inspect(_graph: object) -> dict[str, Any]:
        raise error

    fake.inspect = inspect  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.inspection", fake)
    monkeypatch.setattr("pipeline.inspection", fake, raising=False)
    monkeypatch.setattr("pipeline.tflite.read", lambda path: path)
    return ["inspect", "any.tflite"]


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (BudgetError("too big."), 1),
        (GateError("wrong."), 1),
        (ModelError("odd."), 2),
        (UnsupportedError("no kernel."), 2),
        (BoardError("no board."), 2),
        (ToolError("no compiler."), 3),
        (DeviceError("silence."), 3),
        (OSError(28, "No space left on device", "model.c"), 2),
        (PermissionError(13, "Permission denied", "out"), 2),
        (ValueError("a broken invariant"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_no_traceback(
    error: BaseException, exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TENSORFLASH_DEBUG", raising=False)
    assert cli.main(failing(monkeypatch, error)) == exit_code
    shown = capsys.readouterr()
    assert shown.err.startswith("tensorflash: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_full_disk_names_the_file_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(failing(monkeypatch, OSError(28, "No space left on device", "model.c")))
    assert "model.c: No space left on device.\n  Try: free some space" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_where_an_error_was_raised(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = failing(monkeypatch, ValueError("a broken invariant"))
    if how == "option":
        arguments.append("--debug")
    else:
        monkeypatch.setenv("TENSORFLASH_DEBUG", "1")
    assert cli.main(arguments) == 70
    assert "Traceback" in capsys.readouterr().err


LITERT = {
    "package": "litert",
    "version": "1.2",
    "kernels": "reference",
    "mismatched_samples": 2,
    "max_abs_diff": 1,
    "first_difference": {"sample": 0, "op_index": 3, "op": "CONV_2D", "tensor": "t", "max_abs_diff": 1},
    "reason": None,
}


def verdict(**changes: Any) -> dict[str, Any]:
    """What a verification found, exact unless changed."""
    return {
        "model": {"path": "m.tflite", "sha256": "00"},
        "board": "native",
        "runtime": "aot",
        "samples": 100,
        "mismatched_samples": 0,
        "mismatched_bytes": 0,
        "max_abs_diff": 0,
        "first_divergence": None,
        "instructions": {"median": 12_345, "min": 12_000, "max": 13_000},
        "flash_bytes": 40_000,
        "ram_bytes": 9_000,
        "arena_bytes": 2_000,
        "stack_bytes": 512,
        "macs": 1_000,
        "golden": "tflite-micro 0.1",
        "litert": LITERT,
        "layers_compared": 13,
        "layer_mismatches": 0,
        "weights_bytes": 1_000,
        "model_flash_bytes": 3_000,
        "model_ram_bytes": 2_100,
        "notes": [],
        **changes,
    }


WRONG = {"sample": 7, "op_index": 3, "op": "CONV_2D", "tensor": "conv_3", "index": 5, "expected": 4, "actual": 5}


@pytest.mark.parametrize(
    ("changes", "exit_code", "words"),
    [
        ({}, 0, "exact  m.tflite on native (aot)"),
        ({}, 0, "12,345 an inference (12,000 to 13,000), not cycles"),
        ({"instructions": None, "stack_bytes": None}, 0, "0 of 100 samples differ"),
        ({}, 0, "litert 1.2 (reference): other bytes on 2 samples, by 1 at most, first in op 3 (CONV_2D)"),
        ({"litert": {**LITERT, "mismatched_samples": 0}}, 0, "litert 1.2 (reference): the same bytes"),
        ({"litert": dict.fromkeys(LITERT) | {"reason": "not installed"}}, 0, "no other interpreter: not installed"),
        ({"layer_mismatches": 1, "max_abs_diff": "nan"}, 1, "by nan at most"),
        ({"mismatched_samples": 2, "mismatched_bytes": 3, "max_abs_diff": 1}, 1, "WRONG"),
        ({"layer_mismatches": 1}, 1, "1 of 13 differ"),
        (
            {"mismatched_samples": 1, "first_divergence": WRONG},
            1,
            "sample 7: op 3 (CONV_2D), conv_3 [5] is 5, should be 4",
        ),
    ],
)
def test_verify_passes_its_options_on_and_its_verdict_is_the_exit_code(
    changes: dict[str, Any],
    exit_code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    def verify_model(model: Path, *, progress: Callable[[str, int, int], None], **options: Any) -> dict[str, Any]:
        asked.update(options, model=model)
        progress("samples", 0, 3)
        progress("samples", 3, 3)
        return verdict(**changes)

    fake = types.ModuleType("pipeline.verification")
    fake.verify_model = verify_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.verification", fake)
    arguments = ["--board", "native", "--seed", "9", "--port", "socket://shelf:1"]
    assert cli.main(["verify", "m.tflite", *arguments]) == exit_code
    shown = capsys.readouterr()
    assert words in shown.out
    assert "\x1b" not in shown.out
    assert shown.err == "samples: 0 of 3\nsamples: 3 of 3\n"
    assert asked == {
        "model": Path("m.tflite"),
        "board": "native",
        "runtime": "aot",
        "samples": 100,
        "seed": 9,
        "inputs": None,
        "golden_file": None,
        "transport": "fast",
        "out": None,
        "profile": False,
        "port": "socket://shelf:1",
        "serial_number": None,
        "flash": None,
    }
    assert cli.main(["verify", "m.tflite", "--board", "native", "--json"]) == exit_code
    assert json.loads(capsys.readouterr().out) == verdict(**changes)


def test_run_shows_accuracies_each_target_and_where_the_report_lies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}
    method = {"correct": 358, "total": 360, "accuracy": 358 / 360, "chosen": False}
    accuracy = {"correct": 358, "total": 360, "host_correct": 358, "mismatched_samples": 0}
    found = {
        "recipe": "recipe.yaml",
        "quantization": {"methods": [{**method, "name": "float"}, {**method, "name": "qat", "chosen": True}]},
        "warnings": ["layer conv: 3.0 % of its values on the test set are clipped.\x1b[2J"],
        "targets": [
            {"board": "native", "verify": verdict(), "device_accuracy": accuracy},
            {"board": "other", "verify": verdict(), "device_accuracy": None},
        ],
        "edgetpu": [],
        "stages": [{"stage": "data", "reused": True}, {"stage": "float", "reused": False}],
        "problems": ["accuracy: 2.0 points below float, the gate allows 1.0."],
        "report": "build/digits/report.html",
    }

    def run_recipe(recipe: Path, **options: Any) -> types.SimpleNamespace:
        asked.update(options, recipe=recipe)
        return types.SimpleNamespace(as_json=lambda: found, exit_code=1)

    fake = types.ModuleType("pipeline.run")
    fake.run_recipe = run_recipe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.run", fake)
    assert cli.main(["run", "recipe.yaml", "--board", "a", "b", "--board", "c", "--until", "golden", "--force"]) == 1
    shown = capsys.readouterr().out
    assert "  float         99.44 %  358 of 360\n  qat           99.44 %  358 of 360  <- this one\n" in shown
    assert "\nwarning  layer conv: 3.0 % of its values on the test set are clipped." in shown and "\x1b" not in shown
    assert shown.count("exact  m.tflite on native (aot)") == 2
    assert shown.count("358 of 360 right on the board, 358 on the host, 0 differ") == 1
    assert "2 steps, 1 of them reused" in shown
    assert shown.endswith("the gate allows 1.0.\nreport: build/digits/report.html\n")
    del asked["progress"]
    assert asked == {
        "recipe": Path("recipe.yaml"),
        "boards": ("a", "b", "c"),
        "until": "golden",
        "out": None,
        "force": True,
    }
    assert cli.main(["run", "recipe.yaml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == found

    found["problems"] = []
    cli.main(["run", "recipe.yaml"])
    assert "\nproved  the same bytes on native, other as on the host\nreport: " in capsys.readouterr().out


def test_numbers_that_json_lacks_become_strings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = types.ModuleType("pipeline.verification")
    found = verdict(max_abs_diff=float("inf"), first_divergence={**WRONG, "actual": float("nan")})
    fake.verify_model = lambda *_, **__: found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.verification", fake)
    cli.main(["verify", "m.tflite", "--board", "native", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["max_abs_diff"], shown["first_divergence"]["actual"]) == ("inf", "nan")


def test_progress_without_a_terminal_is_at_most_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with cli._Progress() as progress:
        progress("train", 0, 0)
        for done in range(1001):
            progress("samples", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train ..."
    assert lines[1:] == [f"samples: {done} of 1000" for done in range(0, 1001, 100)]


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_model().build())
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "inspect", str(model)],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_ends_with_its_code(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    pipe = tmp_path / "model.tflite"
    os.mkfifo(pipe)
    # A shell that starts a job in the background lets it ignore SIGINT, so the handler is put back.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, "inspect", str(pipe)], stderr=subprocess.PIPE) as process:
        writer = None
        while writer is None and process.poll() is None:
            try:  # opens as soon as the command waits for its model
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        if writer is not None:
            os.close(writer)
    assert process.returncode == exit_code
    assert b"Traceback" not in errors


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not cli._paint().enabled
    monkeypatch.setattr("sys.stdout", types.SimpleNamespace(isatty=lambda: True))
    assert cli._paint().enabled
    monkeypatch.setenv("NO_COLOR", "1")
    assert not cli._paint().enabled
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not cli._paint().enabled
