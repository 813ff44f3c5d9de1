"""MLPerf Tiny's runner and the firmware that answers it: each benchmark, over pipes and over a pseudo terminal.

The runner's side is mlcommons/tiny's benchmark/runner: device_under_test.py, serial_device.py and script.py.
"""

from __future__ import annotations

import functools
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import board, build, cli, golden, project, runtimes, tflite
from pipeline.devices import emulator
from pipeline.devices.link import ByteStream
from pipeline.devices.process import open_pipes
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import RequestError, UnsupportedError
from pipeline.mlperf_tiny import BENCHMARKS, Benchmark, benchmark_of
from pipeline.model import Array, Export, TensorSpec
from pipeline.vectors import Vectors
from tests.conftest import FULL
from tests.devices.test_hardware import Socket
from tests.test_hardware_projects import COMPILED, GOLDEN, compile_project
from tests.test_project import compare_with_golden, tree
from tests.tflite_builder import TfliteBuilder

SANITIZED = (
    "-std=c11 -O1 -g -Wall -Wextra -Wconversion -Werror -pedantic -ffp-contract=off -fsanitize=address,undefined "
    "-fno-sanitize-recover=all"
)
BYTES_A_COMMAND = 31
_folder = tempfile.TemporaryDirectory(prefix="tensorflash-mlperf-")


def model_of(benchmark: Benchmark) -> TfliteBuilder:
    """A small model with the input and the output of a benchmark."""
    chance = np.random.default_rng(len(benchmark.id) + benchmark.elements)
    model = TfliteBuilder()
    x = model.input((1, benchmark.elements), scale=0.31, zero_point=9)
    if benchmark.input == "FEATURES":
        y = model.output((1, benchmark.scores), scale=0.4, zero_point=-7)
        moved = model.constant(chance.integers(-128, 128, (1, benchmark.elements)).astype(np.int8), scale=0.05)
        model.op("ADD", [x, moved], [y])
        return model
    weights = chance.integers(-127, 128, (benchmark.scores, benchmark.elements)).astype(np.int8)
    logits = model.tensor((1, benchmark.scores), scale=0.2, zero_point=3)
    y = model.output((1, benchmark.scores), scale=1 / 256, zero_point=-128)
    model.op("FULLY_CONNECTED", [x, model.constant(weights, scale=1 / benchmark.elements), -1], [logits])
    model.op("SOFTMAX", [logits], [y], beta=1.0)
    return model


def export_of(benchmark: Benchmark, folder: Path, target: board.Board) -> Export:
    path = folder / f"{benchmark.id}.tflite"
    path.write_bytes(model_of(benchmark).build())
    return runtimes.export(tflite.read(path), target, "aot")


def samples_of(benchmark: Benchmark, count: int) -> list[bytes]:
    """What the runner has in its files."""
    chance = np.random.default_rng(7)
    if benchmark.input == "FEATURES":
        values = chance.normal(0.0, 25.0, (count, benchmark.elements)).astype(np.float32)
        values[0, :7] = [1e30, -1e30, 0.155, -0.155, 0.465, np.float32(0.31) * np.float32(2.5), 0.0]
        return [row.tobytes() for row in values]
    return [chance.integers(0, 256, benchmark.elements).astype(np.uint8).tobytes() for _ in range(count)]


def codes_of(benchmark: Benchmark, data: bytes, spec: TensorSpec) -> Array:
    """The model's input for what the runner sends, as the benchmark's reference firmware makes it."""
    if benchmark.input == "FEATURES":
        scaled = np.frombuffer(data, np.float32) / np.float32(spec.scale)
        rounded = np.trunc(scaled.astype(np.float64) + np.copysign(0.5, scaled))
        return np.clip(rounded + spec.zero_point, -128, 127).astype(np.int8)
    pixels = np.frombuffer(data, np.uint8)
    return (pixels ^ np.uint8(0x80 if benchmark.input == "PIXELS" else 0)).view(np.int8)


def results_of(benchmark: Benchmark, export: Export, data: list[bytes]) -> list[str]:
    """The lines m-results-[..] for these samples: TFLM's codes, as real numbers of three places."""
    model = export.model
    inputs = np.stack([codes_of(benchmark, d, model.inputs[0]).reshape(model.inputs[0].shape) for d in data])
    truth = golden.compute(model, Vectors((inputs,), "the runner's"), (), 0)
    lines = []
    for codes, sent in zip(truth.outputs[0], data, strict=True):
        spec = model.outputs[0]
        values = (codes.reshape(-1).astype(np.int32) - spec.zero_point).astype(np.float32) * np.float32(spec.scale)
        if benchmark.input == "FEATURES":
            total = np.float32(0)
            with np.errstate(over="ignore"):
                for difference in values - np.frombuffer(sent, np.float32):
                    total = np.float32(total + np.float32(difference * difference))
            values = np.array([total / np.float32(len(values))])
        lines.append(f"m-results-[{','.join(f'{float(value):.3f}' for value in values)}]")
    return lines


class Runner:
    """The host's side of the protocol."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._received = ""

    def line(self) -> str:
        while "\n" not in self._received:
            data = self._stream.read(4096, 60.0)
            assert data, f"silent after {self._received!r}"
            self._received += data.decode("ascii")
        line, _, self._received = self._received.partition("\n")
        return line.strip("\r\0")

    def answer(self) -> list[str]:
        lines = [self.line()]
        while "m-ready" not in lines[-1]:
            lines.append(self.line())
        assert lines[-1] == "m-ready"
        return lines[:-1]

    def ask(self, command: str | bytes) -> list[str]:
        self._stream.write((command.encode() if isinstance(command, str) else command) + b"%")
        return self.answer()

    def load(self, data: bytes) -> None:
        assert self.ask(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        said = []
        for start in range(0, len(data), BYTES_A_COMMAND):
            said += self.ask(f"db {data[start : start + BYTES_A_COMMAND].hex()}")
        assert said == ["m-load-done"]

    def infer(self, count: int, warmups: int) -> str:
        """The results; the times have to be in order."""
        said = self.ask(f"infer {count} {warmups}")
        laps = [int(match[1]) for line in said if (match := re.fullmatch("m-lap-us-([0-9]+)", line))]
        assert len(laps) == 2 and laps[0] <= laps[1]
        expected = [f"m-warmup-start-{warmups}", "m-warmup-done", f"m-infer-start-{count}", "", "", "m-infer-done"]
        assert [line for line in said[:-1] if "lap" not in line] == [line for line in expected if line]
        return said[-1]


def boot(stream: ByteStream) -> Runner:
    runner = Runner(stream)
    first, lap, done = runner.answer()
    assert (first, done) == ("m-timestamp-mode-performance", "m-init-done") and re.fullmatch("m-lap-us-[0-9]+", lap)
    return runner


@functools.cache
def sanitized(benchmark: Benchmark) -> tuple[Path, Export]:
    """The firmware as a program for this computer, with sanitizers."""
    folder = Path(_folder.name) / benchmark.id
    folder.mkdir()
    export = export_of(benchmark, folder, board.load("native"))
    project.render(export, board.load("native"), folder / "project", "mlperf-tiny")
    sources = [folder / "project/src/mlperf_main.c", *sorted(folder.glob("project/lib/*/src/**/*.c"))]
    includes = [f"-I{path}" for path in (*folder.glob("project/lib/*/include"), *folder.glob("project/lib/*/src"))]
    command = ["gcc", *SANITIZED.split(), *includes, *map(str, sources), "-o", str(folder / "program")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program", export


@contextmanager
def running(benchmark: Benchmark, folder: Path) -> Iterator[tuple[Runner, Export]]:
    """The booted firmware. In the end it must have left by itself, with nothing said by a sanitizer."""
    program, export = sanitized(benchmark)
    with (folder / "log").open("wb") as log:
        stream = open_pipes([str(program)], folder, log, name=benchmark.id)
        stream._grace_s = 30.0
        try:
            yield boot(stream), export
        finally:
            stream.close()
    said = (folder / "log").read_text()
    assert stream._process.returncode == 0 and said.count("\n") == 1, said


# The protocol


@pytest.mark.golden
@pytest.mark.parametrize(
    "benchmark", [pytest.param(b, id=b.id, marks=pytest.mark.slow if b.id == "vww01" else []) for b in BENCHMARKS]
)
def test_a_benchmarks_results_are_tflms(benchmark: Benchmark, tmp_path: Path) -> None:
    data = samples_of(benchmark, 6 if FULL else 2)
    with running(benchmark, tmp_path) as (runner, export):
        assert runner.ask("name") == ["m-name-dut-[native]"]
        profile = ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", f"m-model-[{benchmark.id}]"]
        assert runner.ask("profile") == profile
        for sample, expected in zip(data, results_of(benchmark, export, data), strict=True):
            runner.load(sample)
            assert runner.infer(1, 0) == expected
            assert runner.infer(3, 2) == expected, "an inference may use its input's memory"
            assert runner.ask("results") == [expected]
        printed = "-".join(line.removeprefix("m-buffer-") for line in runner.ask("db print"))
        assert bytes.fromhex(printed.replace("-", "")) == data[-1]


def test_what_is_wrong_is_told_and_leads_to_no_result(tmp_path: Path) -> None:
    with running(BENCHMARKS[0], tmp_path) as (runner, _):
        for command, said in (
            ("", "e-[Unknown command: ]"),
            ("  ", "e-[Unknown command: ]"),
            ("names", "e-[Unknown command: names]"),
            ("\x1b[2J\xfftel", "e-[Unknown command: ?[2J??tel]"),
            ("x" * 81, "e-[A command has at most 80 characters]"),
            ("db " + "00" * 40, "e-[A command has at most 80 characters]"),
            ("db", "e-[Command 'db' requires a subcommand]"),
            ("db load", "e-[Command 'db load' requires the # of bytes]"),
            ("db load 49x", "e-[Command 'db load' requires the # of bytes]"),
            ("db load 4900000000000", "e-[Command 'db load' requires the # of bytes]"),
            ("db load 491", "e-[This model takes 490 bytes]"),
            ("db 00", "e-[No bytes are expected: db load comes first]"),
            ("results", "e-[There is no result: infer comes first]"),
            ("infer 0", "e-[Inference iterations must be >0]"),
            ("infer -1", "e-[Inference iterations must be >0]"),
            ("infer 1 -1", "e-[Inference warmup must be >=0]"),
            ("infer 1 0", "e-[Of the input 0 bytes are loaded, expected 490]"),
        ):
            assert runner.ask(command) == [said], command
        assert runner.ask("db load 490") == ["m-[Expecting 490 bytes]"]
        assert runner.ask("db 0") == ["e-[Insufficient number of hex digits]"]
        assert runner.ask("db 0g") == ["e-[Invalid hex digit]"]
        for _ in range(490 // 31):
            assert runner.ask("db " + "7F" * 31) == []
        assert runner.ask("db " + "00" * 31) == ["e-[More bytes than expected]"]
        assert runner.ask("infer 1 0") == ["e-[Of the input 465 bytes are loaded, expected 490]"]
        assert runner.ask("db " + "00" * 25) == ["m-load-done"]
        assert runner.ask("db 00") == ["e-[No bytes are expected: db load comes first]"]
        assert runner.infer(1, 10).startswith("m-results-[")
        assert runner.ask("\r\nresults\0")[0].startswith("m-results-["), "a terminal's line ends are no part of it"
        assert runner.ask("db load 490") and runner.ask("results") == ["e-[There is no result: infer comes first]"]
        assert len(runner.ask("help")) == 11


def test_each_command_of_any_bytes_is_answered_once(tmp_path: Path) -> None:
    chance = random.Random(3)
    words = [b"db", b"load", b"print", b"infer", b"results", b"490", b"1", b"0a0b", b"name", b"%", b"", b"\xff\0"]
    with running(BENCHMARKS[0], tmp_path) as (runner, _):
        for _ in range(2000 if FULL else 300):
            command = b" ".join(chance.choices(words, k=chance.randrange(1, 6)))
            if chance.random() < 0.3:
                command = chance.randbytes(chance.randrange(120)).replace(b"%", b"")
            commands = command.split(b"%")
            for part in commands:
                said = runner.ask(part)
                assert "m-ready" not in said and (said == [] or said[0][:2] in ("m-", "e-", "UL")), part


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b.id, marks=[] if b.id in ("native", "qemu_cortex_m4") else pytest.mark.slow)
        for b in board.all_boards()
        if b.is_host or b.emulator is not None
    ],
)
def test_a_board_is_driven_over_a_terminal(name: str, tmp_path: Path) -> None:
    """An emulated board's UART, or a process's pipes, as a port of this computer."""
    benchmark = BENCHMARKS[0]
    target = board.load(name)
    export = export_of(benchmark, tmp_path, target)
    made = project.render(export, target, tmp_path / "project", "mlperf-tiny")
    image = build.compile_project(made, ["mlperf_tiny"], extra_flags=("-Werror", "-Wconversion"))["mlperf_tiny"]
    data = samples_of(benchmark, 2)
    run = tmp_path / "run"
    run.mkdir()
    with (run / "log").open("wb") as log:
        if target.emulator is None:
            device = open_pipes([str(image.elf.resolve())], run, log, name=name)
        else:
            device = emulator.open_uart(target, target.emulator, image, run, log, count=False)
        socket = Socket(tmp_path / "ttyACM0")
        try:
            boot(device)
            socket.plug(device)
            port = SerialStream(str(socket.path))
            runner = Runner(port)
            assert runner.ask("name") == [f"m-name-dut-[{name}]"]
            for sample, expected in zip(data, results_of(benchmark, export, data), strict=True):
                runner.load(sample)
                assert runner.infer(2, 1) == expected
            times = [int(runner.ask("timestamp")[0].removeprefix("m-lap-us-")) for _ in range(3)]
            assert 0 < times[0] < times[1] < times[2]
            port.close()
        finally:
            socket.unplug()
            device.close()


# The project


def test_the_benchmark_is_known_by_the_models_input_and_output(tmp_path: Path) -> None:
    for benchmark in BENCHMARKS:
        model = export_of(benchmark, tmp_path, board.load("native")).model
        assert benchmark_of(model) is benchmark
        for other in (
            replace(model, inputs=model.inputs * 2),
            replace(model, outputs=(replace(model.outputs[0], shape=(1, 3)),)),
            replace(model, inputs=(replace(model.inputs[0], dtype="uint8"),)),
        ):
            with pytest.raises(UnsupportedError, match=r"no benchmark of MLPerf Tiny has a model like this: found in"):
                benchmark_of(other)


@pytest.mark.parametrize(
    ("benchmark", "name"), [(BENCHMARKS[0], "qemu_cortex_m4"), (BENCHMARKS[3], "esp32_s3_devkitc_1")]
)
def test_rendered_files_are_the_golden_ones(benchmark: Benchmark, name: str, tmp_path: Path) -> None:
    target = board.load(name)
    made = project.render(export_of(benchmark, tmp_path, target), target, tmp_path / "out", "mlperf-tiny")
    assert made.environments == ("release", "verify", "trace", "mlperf_tiny")
    found = {p: c for p, c in tree(tmp_path / "out").items() if p in ("src/mlperf_main.c", "platformio.ini")}
    compare_with_golden(GOLDEN / f"mlperf_tiny_{benchmark.id}", found)


def test_a_project_without_the_protocol_has_none_of_its_files(tmp_path: Path) -> None:
    target = board.load("qemu_cortex_m4")
    export = export_of(BENCHMARKS[0], tmp_path, target)
    for protocol in ("mlperf-tiny", None):
        project.render(export, target, tmp_path / "out", protocol)
        is_there = any("mlperf" in path for path in tree(tmp_path / "out") if path != "tensorflash.json")
        assert is_there == (protocol is not None)
    with pytest.raises(RequestError, match="there is no protocol 'moon'"):
        project.render(export, target, tmp_path / "out", "moon")


def test_platformio_finds_no_mistake_in_any_boards_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("platformio.project.config")
    export = export_of(BENCHMARKS[0], tmp_path, board.load("native"))
    for target in board.all_boards():
        if target.edgetpu is None:
            project.render(export, target, tmp_path / target.id, "mlperf-tiny")
            monkeypatch.chdir(tmp_path / target.id)
            assert config.ProjectConfig.lint("platformio.ini") == {"errors": [], "warnings": []}, target.id
            assert config.ProjectConfig("platformio.ini").envs()[-1] == "mlperf_tiny"


def test_the_command_line_takes_the_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = export_of(BENCHMARKS[0], tmp_path, board.load("native")).model.path
    command = ["project", str(path), "--board", "pico", "--protocol", "mlperf-tiny", "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["environments"][-1] == "mlperf_tiny"
    assert cli.main([*command, "--as-library"]) == 2
    assert "a library answers no host" in capsys.readouterr().err


@pytest.mark.parametrize(
    "target",
    [pytest.param(b, id=b.id, marks=[] if b.id in ("nucleo_f767zi", "pico") else pytest.mark.slow) for b in COMPILED],
)
def test_all_but_the_frameworks_calls_compiles_for_the_core(target: board.Board, tmp_path: Path) -> None:
    compile_project(export_of(BENCHMARKS[1], tmp_path, target), target, "mlperf_tiny", tmp_path)
