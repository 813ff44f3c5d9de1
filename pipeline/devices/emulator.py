"""Emulated boards: QEMU, with the frames on two FIFOs (fast) or on the emulated UART."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pipeline.board import Board, Emulator
from pipeline.devices.process import ProcessStream, start
from pipeline.errors import DeviceError
from pipeline.model import Image
from pipeline.tools import find

_CONNECT_TIMEOUT_S = 20.0


def command(emulator: Emulator, elf: Path, serial: Sequence[str], *, count: bool) -> list[str]:
    """QEMU's command line. Without `count` it is up to three times as fast, and ticks mean nothing."""
    icount = ["-icount", f"shift={emulator.icount_shift}"] if count else []
    return [
        str(find(emulator.program)), "-M", emulator.machine, *emulator.args, "-kernel", str(elf), "-display", "none",
        "-monitor", "none", "-semihosting-config", "enable=on,target=native", *icount, *serial,
    ]  # fmt: skip


def open_fifos(
    board: Board, emulator: Emulator, image: Image, folder: Path, log: IO[bytes], *, count: bool
) -> ProcessStream:
    """Starts the board with frames.in and frames.out in `folder`, which is its working directory.

    Both are opened here for reading and writing before it starts: so neither side waits for the other, and an end of
    file never stands for a device that has not opened its side yet.
    """
    fds = []
    for name in ("frames.out", "frames.in"):
        os.mkfifo(folder / name, 0o600)
        fds.append(os.open(folder / name, os.O_RDWR | os.O_NONBLOCK))
    try:
        arguments = command(emulator, image.elf.resolve(), ["-serial", "null"], count=count)
        process = start(arguments, folder, log)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return ProcessStream(process, *fds, name=board.id, log=Path(log.name))


def open_uart(
    board: Board, emulator: Emulator, image: Image, folder: Path, log: IO[bytes], *, count: bool
) -> ProcessStream:
    """Starts the board with its UART on a local socket. It waits for the connection, so that no byte is lost."""
    serial = ["-chardev", "socket,id=frames,path=frames.sock,server=on,wait=on", "-serial", "chardev:frames"]
    arguments = command(emulator, image.elf.resolve(), serial, count=count)
    process = start(arguments, folder, log)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while True:
            try:
                connection.connect(str(folder / "frames.sock"))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if process.poll() is not None or time.monotonic() > deadline:
                    words = Path(log.name).read_text(errors="backslashreplace").strip()
                    raise DeviceError(f"{board.id}: the emulator did not start:\n{words}") from None
                time.sleep(0.005)
        fd = connection.detach()
    except BaseException:
        connection.close()
        process.kill()
        process.wait()
        raise
    return ProcessStream(process, fd, fd, name=board.id, log=Path(log.name))
