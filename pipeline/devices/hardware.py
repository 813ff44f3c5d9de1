"""A real board: found, locked, flashed through PlatformIO, and opened as a byte stream."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import build, lifetime
from pipeline.board import Board
from pipeline.devices import ports
from pipeline.devices.lock import locked
from pipeline.devices.ports import Port
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import DeviceError, ToolError

UPLOAD_TIMEOUT_S = 600.0
UPLOAD_ATTEMPTS = 2
_BAUD = 115_200
_TAIL_LINES = 15


@contextmanager
def open_port(
    board: Board,
    *,
    port: str | None,
    serial_number: str | None,
    project: Path | None,
    environment: str,
    log: Path,
) -> Iterator[SerialStream]:
    """The board's byte stream, with its lock held; the firmware is flashed before, where there is a project.

    Args:    project: the folder of a PlatformIO project to flash; None, and always with a remote port: what the board
             holds is taken as it is. log: PlatformIO's output is added to this file.
    Raises:  AbsentError: it is not connected. DeviceError: several might be it, it is in use, or it does not come back.
             ToolError: it cannot be flashed.
    """
    found = ports.find(board, port=port, serial_number=serial_number)
    with locked(found.key, name=board.id):
        url = found.url
        if project is not None and found.is_local:
            _require_one_probe(board, found)
            upload(project, environment, found.url, log)
            url = ports.await_return(board, found)
        facts = board.serial
        stream = SerialStream(
            url,
            _BAUD if facts is None else facts.baud,
            dtr=facts is None or facts.dtr,
            rts=facts is not None and facts.rts,
            locate=lambda: ports.again(board, found),
        )
        try:
            yield stream
        finally:
            stream.close()


def upload(
    project: Path,
    environment: str,
    port: str,
    log: Path,
    *,
    attempts: int = UPLOAD_ATTEMPTS,
    timeout_s: float = UPLOAD_TIMEOUT_S,
) -> None:
    """Flashes an environment of a project, with another attempt where one fails.

    Raises:  ToolError: it failed each time, with the last lines that PlatformIO said.
    """
    command = [
        sys.executable, "-m", "platformio", "run", "--project-dir", str(project.resolve()),
        "--environment", environment, "--target", "upload", "--upload-port", port,
    ]  # fmt: skip
    for _ in range(attempts):
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            try:
                with lifetime.process(
                    command, stdout=output, stderr=subprocess.STDOUT, env=build.environment()
                ) as process:
                    process.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise ToolError(
                    f"{project}: the upload to {port} was stopped after {timeout_s:g} s; its output is in {log}.",
                    hint="press reset twice, or hold BOOT while you press reset, and try again.",
                ) from error
        if process.returncode == 0:
            return
    said = log.read_bytes()[start:].decode("utf-8", errors="replace")
    tail = "\n".join(f"    {line}" for line in said.splitlines()[-_TAIL_LINES:] if line.strip())
    raise ToolError(
        f"{project}: the upload to {port} failed {attempts} times. The whole log is {log}; its last lines:\n{tail}",
        hint="press reset twice, or hold BOOT while you press reset, and try again.",
    )


def _require_one_probe(board: Board, found: Port) -> None:
    """A debug probe is chosen by the program that flashes, and not by the port: with several it would be a guess."""
    if board.serial is None or board.serial.bootloader:
        return
    probes = [port.url for port in ports.listed() if port.usb is not None and port.usb in board.serial.usb]
    if len(probes) > 1:
        raise DeviceError(
            f"{board.id}: it is flashed by its debug probe, and there are {len(probes)} of that kind "
            f"({', '.join(probes)}): which one PlatformIO would take is not known.",
            hint=f"leave only {found.url} connected while it is flashed.",
        )
