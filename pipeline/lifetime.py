"""What must not outlive a command: the processes it starts, and its temporary folders - even if it is killed.

A killed process cannot clean up. So each process it started has a guard (pipeline.guard), which notices and kills it,
and each temporary folder is locked while it is in use: the next command removes those whose lock is free.
"""

from __future__ import annotations

import atexit
import errno
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

_PREFIX = "tensorflash-scratch-"
_GUARD = Path(__file__).with_name("guard.py")

# The temporary folders of this process. A signal may come between any two steps, also before a folder's block is
# entered or while it is left; what it leaves here is removed when the process ends.
_folders: set[Path] = set()


@contextmanager
def process(
    command: Sequence[str],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command, without input unless `stdin` is given. With all it started, it ends when the block is left, or
    when this process dies.

    Ctrl-C in a terminal does not reach it. Its returncode is that of the command itself.
    """
    if sys.platform == "win32":
        with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env) as running:
            try:
                yield running
            finally:
                running.kill()
        return
    running = None
    ends = os.pipe()
    watched, held = os.fdopen(ends[0], "rb", 0), os.fdopen(ends[1], "wb", 0)
    try:
        running = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(watched.fileno()), *command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            start_new_session=True,
            pass_fds=(watched.fileno(),),
        )
        yield running
    finally:
        held.close()  # first: nobody else has it, so the guard ends what an interrupt has kept from being `running`
        watched.close()
        if running is not None:
            with running:
                if running.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(running.pid, signal.SIGKILL)


def wait(process: subprocess.Popen[bytes], files: Sequence[Path], most_bytes: int, timeout_s: float) -> int | None:
    """The exit code; None: it ran too long, or the files it writes grew beyond `most_bytes`, and it is to be ended."""
    until, pause = time.monotonic() + timeout_s, 0.02
    while time.monotonic() < until and sum(file.stat().st_size for file in files) <= most_bytes:
        try:
            return process.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            pause = min(2 * pause, 0.25)
    return None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that is removed afterwards, or by the next command if this one is killed.

    Raises:  OSError: there is no place for one.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    folder, lock = _new_folder(parent)
    try:
        yield folder
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        _folders.discard(folder)


@atexit.register
def _remove_all() -> None:
    for folder in list(_folders):
        _remove(folder)


def _new_folder(parent: Path) -> tuple[Path, int | None]:
    while True:
        folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
        _folders.add(folder)
        folder.mkdir(mode=0o700)
        if sys.platform == "win32":
            return folder, None
        with suppress(FileNotFoundError):  # another command took it for abandoned before it was locked
            lock = os.open(folder, os.O_RDONLY)
            if _is_mine(lock) and folder.exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    if sys.platform == "win32":
        return
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid() and _is_mine(lock, without_locks=False):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_mine(folder: int, without_locks: bool = True) -> bool:
    """Whether the lock was free, and is taken now; `without_locks` where the file system has no locks."""
    if sys.platform == "win32":
        return without_locks
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return without_locks and error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
    return True
