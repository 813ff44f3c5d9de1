"""Ports: the byte stream, the counter, the stack's high-water mark, reset and faults, on every board that runs here.

tests/firmware/port_selftest.c takes the place of a project's app_main.c, so it is built as a user's code is.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import board, build, project
from pipeline.board import Board
from pipeline.devices import emulator
from pipeline.devices.process import ProcessStream, open_pipes
from pipeline.errors import DeviceError
from pipeline.model import Image
from tests.toy_export import toy_export

SELFTEST = Path(__file__).parent / "firmware" / "port_selftest.c"
EMULATED = [b.id for b in board.all_boards() if b.emulator]
STREAMS = ["fast", "uart"]

pytestmark = pytest.mark.emulated
_images: dict[str, Image] = {}


class Selftest:
    """The host's side of port_selftest.c."""

    def __init__(self, stream: ProcessStream) -> None:
        self.stream = stream
        self.expect_boot()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.stream.read(count - len(data), 20.0)
            assert part, f"silent after {data!r}"
            data += part
        return data

    def expect_boot(self) -> None:
        assert self.read(6) == b"ready\n"

    def command(self, letter: bytes, argument: int | None = None) -> None:
        self.stream.write(letter + (b"" if argument is None else struct.pack("<I", argument)))

    def echo(self, data: bytes) -> bytes:
        self.command(b"e", len(data))
        self.stream.write(data)
        return self.read(len(data))

    def count(self, iterations: int) -> tuple[int, int, int]:
        """The counter's kind, and the ticks of nothing and of a loop."""
        self.command(b"c", iterations)
        kind, nothing, loop = struct.unpack("<III", self.read(12))
        return kind, nothing, loop

    def stack(self, used: int) -> int:
        self.command(b"s", used)
        return int(struct.unpack("<II", self.read(8))[1])

    def fresh_data(self) -> int:
        """7 after a start, and one more each time."""
        self.command(b"d")
        return int(struct.unpack("<I", self.read(4))[0])

    def end(self, letter: bytes) -> str:
        """A command after which the device ends; how it did."""
        self.stream.write(letter)
        with pytest.raises(DeviceError) as caught:
            self.read(1)
        return caught.value.message


@contextmanager
def selftest(name: str, kind: str, folder: Path) -> Iterator[Selftest]:
    target = board.load(name)
    image = _images.get(name)
    if image is None:
        emitted = project.render(toy_export(), target, folder / "project")
        shutil.copy(SELFTEST, emitted.path / "src" / "app_main.c")
        image = build.compile_project(emitted, extra_flags=("-Werror", "-Wconversion", "-Wpedantic"))["release"]
        _images[name] = image
    run = folder / f"run-{len(list(folder.iterdir()))}"
    run.mkdir()
    with (run / "log").open("wb") as log:
        if target.emulator is None:
            stream = open_pipes([str(image.elf.resolve())], run, log, name=name)
        else:
            start = emulator.open_fifos if kind == "fast" else emulator.open_uart
            stream = start(target, target.emulator, image, run, log, count=True)
        try:
            yield Selftest(stream)
        finally:
            stream.close()


def instructions(target: Board, ticks: int) -> int:
    assert target.emulator is not None
    return round(ticks * target.emulator.tick_ns / 2**target.emulator.icount_shift) - target.emulator.call_offset


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", EMULATED)
def test_instructions_are_counted_exactly_and_equally_over_boots(name: str, kind: str, tmp_path: Path) -> None:
    target = board.load(name)
    iterations = (1, 2, 1000, 54_321, 54_321)
    boots = []
    for _ in range(2):
        with selftest(name, kind, tmp_path) as device:
            counted = []
            for n in iterations:
                unit, nothing, loop = device.count(n)
                assert unit == 1  # TFLASH_COUNTER_TICKS
                assert instructions(target, nothing) == 0
                counted.append(instructions(target, loop))
        boots.append(counted)
    first = boots[0][0]
    assert [c - first for c in boots[0]] == [2 * (n - 1) for n in iterations]
    assert 2 <= first <= 6  # two instructions of the loop, and what it takes to come there
    assert boots[0] == boots[1]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", EMULATED)
def test_bytes_come_back_as_they_were_sent(name: str, kind: str, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(5000)
    with selftest(name, kind, tmp_path) as device:
        assert device.echo(data) == data
        assert device.echo(bytes(range(256))) == bytes(range(256))
        for byte in data[:20]:
            assert device.echo(bytes([byte])) == bytes([byte])


def test_bytes_come_back_from_the_host_process_which_counts_nothing(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(100_000)
    with selftest("native", "pipes", tmp_path) as device:
        assert device.echo(data) == data
        assert device.count(10) == (0, 0, 0)
        assert device.stack(100) == 0


@pytest.mark.parametrize("name", EMULATED)
def test_the_stacks_high_water_mark_follows_what_is_used(name: str, tmp_path: Path) -> None:
    with selftest(name, "fast", tmp_path) as device:
        before = device.stack(100)
        assert 256 < before < 700
        assert device.stack(100) == before
        deep = device.stack(1500)
        assert before + 1200 < deep < before + 2000
        assert device.stack(100) == deep


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in EMULATED for k in STREAMS] + [("native", "pipes")])
def test_a_reset_starts_with_fresh_data(name: str, kind: str, tmp_path: Path) -> None:
    with selftest(name, kind, tmp_path) as device:
        assert [device.fresh_data() for _ in range(3)] == [7, 8, 9]
        device.command(b"r")
        device.expect_boot()
        assert device.fresh_data() == 7
        assert device.echo(b"still here") == b"still here"


@pytest.mark.parametrize("name", EMULATED)
def test_a_fault_ends_the_emulator_with_a_code_and_a_word(name: str, tmp_path: Path) -> None:
    with selftest(name, "fast", tmp_path) as device:
        said = device.end(b"f")
    # HardFault is exception 3; cause 2 is an illegal instruction.
    code = 96 + 2 if name == "qemu_riscv32" else 64 + 3
    assert f"ended with exit code {code}" in said
    assert "tensorflash: the firmware took a" in said


@pytest.mark.parametrize("name", ["qemu_cortex_m33", "qemu_cortex_m55"])
def test_a_stack_that_grows_into_the_data_is_a_fault_where_the_core_has_a_limit(name: str, tmp_path: Path) -> None:
    ram_bytes = board.load(name).ram_bytes or 0
    with selftest(name, "fast", tmp_path) as device:
        shallow, deep = device.stack(256), device.stack(256 * 5)
        frame = (deep - shallow) // 4
        # Into .bss, but not through it: only the limit can tell.
        frames = (ram_bytes - _images[name].ram_bytes + 400 - shallow) // frame + 1
        assert 400 + frame < _images[name].ram_bytes
        device.command(b"s", 256 * (frames + 1))
        with pytest.raises(DeviceError, match=r"ended with exit code 67:(.|\n)*took a fault"):
            device.read(1)


@pytest.mark.parametrize("name", [*EMULATED, "native"])
def test_what_main_returns_is_the_exit_code(name: str, tmp_path: Path) -> None:
    with selftest(name, "fast", tmp_path) as device:
        assert "ended with exit code 5" in device.end(b"q\x05")


def test_a_host_process_ends_with_its_stream(tmp_path: Path) -> None:
    with selftest("native", "pipes", tmp_path) as device:
        process = device.stream._process
    assert process.returncode == 0
