"""What goes wrong between a host and a board at a serial port: an emulated board, its UART behind a pseudo terminal.

The toy model counts its runs, and each of its answers depends on the count: a request that was lost, or executed twice,
would show. Right answers after retries, or a clear failure; never a wrong answer.
"""

from __future__ import annotations

import json
import socket as unix
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import wire
from pipeline.board import Board, all_boards, load
from pipeline.device_tests.faults import FAULTS, FaultyStream
from pipeline.devices import emulator, open_device
from pipeline.devices.device import Device
from pipeline.devices.link import ByteStream, FrameLink, Refused
from pipeline.devices.process import ProcessStream
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import DeviceError
from pipeline.model import Image
from pipeline.wire import Command, Status
from tests.conftest import FULL
from tests.devices.conftest import Built
from tests.devices.test_hardware import Socket
from tests.devices.toy import MODEL, outputs, sample

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals"),
]

BOARDS = [
    pytest.param(board, id=board.id, marks=[] if board.id == "qemu_cortex_m4" else [pytest.mark.slow])
    for board in all_boards()
    if board.emulator is not None
]
BOOT_NOISE = b"\xff\x00\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n" * 20
# In the last write, the invoke, its reply, the output; in a write, a read, a write's reply.
RESETS = [("to it", 670), ("to it", 698), ("from it", 70), ("from it", 200)]
RESETS += [("to it", 100), ("to it", 715), ("from it", 5)] if FULL else []


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> Board:
    found: Board = request.param
    return found


@contextmanager
def started(board: Board, image: Image, folder: Path) -> Iterator[ProcessStream]:
    """The board, with a socket `qmp` in its folder through which it can be reset as by its button."""
    assert board.emulator is not None
    figures = replace(board.emulator, args=(*board.emulator.args, "-qmp", "unix:qmp,server=on,wait=off"))
    with (folder / "log").open("wb") as log:
        stream = emulator.open_uart(board, figures, image, folder, log, count=False)
        try:
            yield stream
        finally:
            stream.close()


def push_reset(folder: Path) -> None:
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as monitor, monitor.makefile("r") as said:
        monitor.connect(str(folder / "qmp"))
        json.loads(said.readline())  # the greeting
        for command in ("qmp_capabilities", "system_reset"):
            monitor.sendall(json.dumps({"execute": command}).encode())
            while "return" not in json.loads(said.readline()):
                pass


@contextmanager
def plugged(
    board: Board,
    built: Built,
    folder: Path,
    spoil: Callable[[ByteStream], ByteStream] = lambda line: line,
    noise: bytes = b"",
) -> Iterator[tuple[Socket, ByteStream]]:
    """The board at the port folder/ttyACM0, over a line that `spoil` has made of the good one."""
    with started(board, built(board.id)["verify"], folder) as stream:
        socket, line = Socket(folder / "ttyACM0"), spoil(stream)
        socket.plug(line, noise)
        try:
            yield socket, line
        finally:
            socket.unplug()


@contextmanager
def opened(socket: Socket, spoil: Callable[[ByteStream], ByteStream] = lambda line: line) -> Iterator[Device]:
    port = SerialStream(str(socket.path))
    try:
        yield Device(FrameLink(spoil(port), name="toy", timeout_s=60.0))
    finally:
        port.close()


def expect_right(device: Device, run: int) -> None:
    assert [array.tobytes() for array in device.infer(sample(run)).outputs] == outputs(sample(run), run)


@pytest.mark.parametrize("seed", range(5 if FULL else 1))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_serial_line_gives_right_answers(
    fault: str, seed: int, board: Board, built: Built, tmp_path: Path
) -> None:
    def spoil(line: ByteStream) -> ByteStream:
        return FaultyStream(line, fault, seed)

    with plugged(board, built, tmp_path, spoil) as (socket, line), opened(socket) as device:
        run = 0
        while run < 2 or line.injected < 2:  # type: ignore[attr-defined]
            run += 1
            expect_right(device, run)
            assert run < 100


class Reset:
    """A line that resets the board in the middle of what it carries, after so many bytes in one direction."""

    def __init__(self, line: ByteStream, folder: Path) -> None:
        self._line, self._folder = line, folder
        self.after: dict[str, int] = {}

    def _passes(self, way: str, data: bytes) -> bytes:
        """What comes through before the reset."""
        left = self.after.get(way)
        if left is None:
            return data
        if left >= len(data):
            self.after[way] = left - len(data)
            return data
        self.after = {}
        return data[:left]

    def read(self, most: int, timeout_s: float) -> bytes:
        data = self._line.read(most, timeout_s)
        passed = self._passes("from it", data)
        if len(passed) < len(data):
            push_reset(self._folder)
        return passed

    def write(self, data: bytes) -> None:
        passed = self._passes("to it", data)
        self._line.write(passed)
        if len(passed) < len(data):
            push_reset(self._folder)
            self._line.write(data[len(passed) :])

    def close(self) -> None:
        self._line.close()


def test_a_reset_in_the_middle_of_a_frame_is_noticed_and_the_next_session_is_right(
    board: Board, built: Built, tmp_path: Path
) -> None:
    with (
        plugged(board, built, tmp_path, lambda line: Reset(line, tmp_path)) as (socket, line),
        opened(socket) as device,
    ):
        assert isinstance(line, Reset)
        for way, after in RESETS:
            expect_right(device, 1)
            line.after = {way: after}
            with pytest.raises(Refused) as refusal:
                device.infer(sample(2))
            assert refusal.value.status == Status.NO_SESSION, f"{after} bytes {way}: {refusal.value}"
            device = Device(device.link)


def test_a_port_that_comes_back_with_boot_noise_loses_no_answer(board: Board, built: Built, tmp_path: Path) -> None:
    with plugged(board, built, tmp_path, noise=BOOT_NOISE) as (socket, line), opened(socket) as device:
        for run in (1, 2):
            expect_right(device, run)
            socket.unplug()
            back = threading.Timer(0.3, socket.plug, (line, BOOT_NOISE))
            back.start()
            assert device.stack_bytes() > 0
            back.join()


def test_another_model_and_another_board_are_told_over_a_bad_line(board: Board, built: Built, tmp_path: Path) -> None:
    image = Image("verify", Path("none.elf"), "", 0, 0)
    another = load("qemu_cortex_m4" if board.id == "qemu_cortex_m3" else "qemu_cortex_m3")
    with plugged(board, built, tmp_path, lambda line: FaultyStream(line, "all", 3)) as (socket, _):
        with (
            pytest.raises(DeviceError, match=f"firmware for another board: found '{board.id}'"),
            open_device(another, image, work=tmp_path, port=str(socket.path)),
        ):
            pass
        with (
            open_device(board, image, work=tmp_path, port=str(socket.path)) as device,
            pytest.raises(DeviceError, match="the device runs another model"),
        ):
            device.expect(replace(MODEL, sha256="00" * 32), "aot")


def test_two_tools_never_share_a_board(board: Board, built: Built, tmp_path: Path) -> None:
    """One that asks for the lock is told who has it; one that does not cannot open the port."""
    image = Image("verify", Path("none.elf"), "", 0, 0)
    with (
        plugged(board, built, tmp_path) as (socket, _),
        open_device(board, image, work=tmp_path, port=str(socket.path)) as device,
    ):
        with (
            pytest.raises(DeviceError, match="another run is using this board"),
            open_device(board, image, work=tmp_path, port=str(socket.path)),
        ):
            pass
        with pytest.raises(DeviceError, match="cannot be opened"):
            SerialStream(str(socket.path))
        expect_right(device, 1)


class LosesReplies:
    """A line that loses what comes back to the first sending of each INVOKE."""

    def __init__(self, line: ByteStream) -> None:
        self._line = line
        self._sent: set[int] = set()
        self._deaf = False

    @property
    def lost(self) -> int:
        return len(self._sent)

    def read(self, most: int, timeout_s: float) -> bytes:
        data = self._line.read(most, timeout_s)
        return b"" if self._deaf else data

    def write(self, data: bytes) -> None:
        frame = wire.decode(data[1:-1])
        assert frame is not None
        self._deaf = frame.type == Command.INVOKE and frame.sequence not in self._sent
        if self._deaf:
            self._sent.add(frame.sequence)
        self._line.write(data)

    def close(self) -> None:
        self._line.close()


def test_a_stateful_model_whose_reply_was_lost_ran_once(board: Board, built: Built, tmp_path: Path) -> None:
    lines = []

    def spoil(line: ByteStream) -> ByteStream:
        lines.append(LosesReplies(line))
        return lines[-1]

    with plugged(board, built, tmp_path) as (socket, _), opened(socket, spoil) as device:
        for run in (1, 2, 3):
            expect_right(device, run)
            assert lines[0].lost == run
