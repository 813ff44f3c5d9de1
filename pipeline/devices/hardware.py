"""A real board: found, locked, flashed through PlatformIO or by a command, and opened as a byte stream."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline import build, lifetime
from pipeline.board import Board
from pipeline.devices import ports
from pipeline.devices.lock import locked
from pipeline.devices.ports import Port
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import DeviceError, RequestError, ToolError

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
    flash: Sequence[str] = (),
) -> Iterator[SerialStream]:
    """The board's byte stream, with its lock held; the firmware is flashed before, where there is a project.

    Args:    project: the folder of a PlatformIO project to flash; None, and always with a remote port: what the board
             holds is taken as it is. log: the output of what flashes is added to this file.
             flash: a command that flashes the board instead, also one behind a remote port.
    Raises:  AbsentError: it is not connected. DeviceError: several might be it, it is in use, or it does not come back.
             ToolError: it cannot be flashed.
    """
    found = ports.find(board, port=port, serial_number=serial_number)
    with locked(found.key, name=board.id):
        url = found.url
        if flash:
            _run_flasher(flash, "the command that flashes", log, hint="try it by hand.", attempts=1)
            url = ports.await_return(board, found)
        elif project is not None and found.is_local:
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
    hint = "press reset twice, or hold BOOT while you press reset, and try again."
    _run_flasher(command, f"{project}: the upload to {port}", log, hint=hint, attempts=attempts, timeout_s=timeout_s)


def flash_command(text: str, elf: Path) -> tuple[str, ...]:
    """A user's command that flashes an image, split as a shell would, with the image's path for {elf}. No shell runs.

    Raises:  RequestError: it cannot be split, or has no {elf}.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RequestError(f"the command that flashes, {text!r}: {error}.") from error
    if not any("{elf}" in word for word in words):
        raise RequestError(
            f"the command that flashes, {text!r}: {{elf}} is missing, which stands for the image's path.",
            hint="for example: openocd -f board.cfg -c 'program {elf} verify reset exit'",
        )
    return tuple(word.replace("{elf}", str(elf.resolve())) for word in words)


def _run_flasher(
    command: Sequence[str],
    what: str,
    log: Path,
    *,
    hint: str,
    attempts: int,
    timeout_s: float = UPLOAD_TIMEOUT_S,
) -> None:
    """Raises:  ToolError: it failed each time, with the last lines that it said, or could not be started."""
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
                    f"{what} was stopped after {timeout_s:g} s; its output is in {log}.", hint=hint
                ) from error
        if process.returncode == 0:
            return
    said = log.read_bytes()[start:].decode("utf-8", errors="replace")
    tail = "\n".join(f"    {line}" for line in said.splitlines()[-_TAIL_LINES:] if line.strip())
    times = "" if attempts == 1 else f" {attempts} times"
    raise ToolError(f"{what} failed{times}. The whole log is {log}; its last lines:\n{tail}", hint=hint)


def _require_one_probe(board: Board, found: Port) -> None:
    """A debug probe is chosen by the program that flashes, and not by the port: with several it would be a guess."""
    if board.serial is None or board.serial.bootloader:
        return
    probes = {port.serial_number or port.url: port.url for port in ports.listed() if port.usb in board.serial.usb}
    if len(probes) > 1:
        raise DeviceError(
            f"{board.id}: it is flashed by its debug probe, and there are {len(probes)} of that kind "
            f"({', '.join(probes.values())}): which one PlatformIO would take is not known.",
            hint=f"leave only {found.url} connected while it is flashed.",
        )
