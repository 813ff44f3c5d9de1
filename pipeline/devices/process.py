"""A process as a device: its byte stream, its last words, and its certain end."""

from __future__ import annotations

import functools
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pipeline.errors import DeviceError, ToolError

_LOOK_S = 0.1  # how often a silent process is looked at
_WRITE_TIMEOUT_S = 10.0
_SHOWN_LINES = 8


class ProcessStream:
    """The byte stream of a process that plays a device.

    Args:  read_fd, write_fd: of the stream; they may be equal; closed by close().
           log: the file that the process writes its messages to; its last lines are shown when it ends too early.
           grace_s: how long it may take to end by itself when the stream is closed.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        read_fd: int,
        write_fd: int,
        *,
        name: str,
        log: Path,
        grace_s: float = 0.0,
    ) -> None:
        self._process = process
        self._fds = {read_fd, write_fd}
        self._read_fd, self._write_fd = read_fd, write_fd
        self._name, self._log, self._grace_s = name, log, grace_s
        for fd in self._fds:
            os.set_blocking(fd, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(read_fd, select.POLLIN)
        self._writable.register(write_fd, select.POLLOUT)

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes, as soon as there are any; none after timeout_s."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            alive = self._process.poll() is None
            if self._readable.poll(1000 * min(left_s, _LOOK_S)):
                data = self._take(most)
                if not data:
                    raise self._ended()
                return data
            if not alive:  # before the poll that found nothing: what it wrote has been read
                raise self._ended()
            if left_s == 0.0:
                return b""

    def write(self, data: bytes) -> None:
        """Sends all of it."""
        deadline = time.monotonic() + _WRITE_TIMEOUT_S
        while data:
            try:
                data = data[os.write(self._write_fd, data) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeviceError(f"{self._name}: takes no bytes for {_WRITE_TIMEOUT_S:g} s.") from None
                self._writable.poll(1000 * _LOOK_S)
            except OSError as error:
                raise self._ended() from error

    def close(self) -> None:
        """Closes the stream and ends the process, whatever it is doing."""
        try:
            for fd in self._fds:
                os.close(fd)
            self._fds = set()
            if self._grace_s:
                self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()

    def _take(self, most: int) -> bytes:
        try:
            return os.read(self._read_fd, most)
        except OSError:
            return b""

    def _ended(self) -> DeviceError:
        try:
            code = self._process.wait(1.0)
            what = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
        except subprocess.TimeoutExpired:
            what = "closed its stream"
        _, *words = self._log.read_text(errors="backslashreplace").splitlines() or [""]
        if len(words) > _SHOWN_LINES:  # the reason comes first, or last: after a crash QEMU lists registers
            words = [*words[: _SHOWN_LINES // 2], "...", *words[-_SHOWN_LINES // 2 :]]
        said = ":\n" + "\n".join(f"    {line}" for line in words) if words else " without a word."
        return DeviceError(f"{self._name}: the process {what}{said}", hint=f"its whole log is {self._log}.")


def start(
    command: Sequence[str],
    folder: Path,
    log: IO[bytes],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a process that Ctrl-C does not reach and that does not outlive this one. Messages go to `log`.

    On Linux it ends with the thread that started it, even when that is killed.

    Raises:  ToolError: there is no such program, or it cannot be executed.
    """
    if shutil.which(command[0]) is None:
        raise ToolError(f"{command[0]} is gone, or cannot be executed.", hint="build or install it again.")
    log.write(f"$ {' '.join(command)}\n".encode())
    log.flush()
    try:
        return subprocess.Popen(
            [*_end_with_parent(), *command],
            cwd=folder,
            stdin=stdin,
            stdout=log if stdout is None else stdout,
            stderr=log,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"{command[0]} could not be started: {error.strerror}.") from error


def open_pipes(command: Sequence[str], folder: Path, log: IO[bytes], *, name: str) -> ProcessStream:
    """Starts a program whose standard input and output are the byte stream. It may end by itself when they close."""
    its_input, write_fd = os.pipe()
    read_fd, its_output = os.pipe()
    try:
        process = start(
            command,
            folder,
            log,
            stdin=its_input,
            stdout=its_output,
        )
    except BaseException:
        os.close(read_fd)
        os.close(write_fd)
        raise
    finally:
        os.close(its_input)
        os.close(its_output)
    return ProcessStream(process, read_fd, write_fd, name=name, log=Path(log.name), grace_s=2.0)


@functools.cache
def _end_with_parent() -> tuple[str, ...]:
    """A prefix for commands, where util-linux's setpriv is there."""
    prefix = ("setpriv", "--pdeathsig", "KILL", "--")
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if tried.returncode == 0 else ()
