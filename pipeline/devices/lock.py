"""One lock a board, so that two runs never share one. The system releases a killed run's lock."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import DeviceError

LOCK_WAIT_S = 2.0


@contextmanager
def locked(key: str, *, name: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Holds the lock of the board with this key (pipeline.devices.ports.Port.key).

    Locks are those of one user; a port that is open is closed to all other users too (SerialStream).

    Raises:  DeviceError: another run holds it after wait_s.
    """
    path = _folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock"
    owner = path.with_suffix(".owner")
    lock = FileLock(path, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout:
        raise DeviceError(
            f"{name}: another run is using this board{_whose(owner)}.", hint="wait for it, or end it."
        ) from None
    try:
        owner.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"tensorflash-locks-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise DeviceError(f"{folder}: belongs to somebody else, so boards cannot be locked there.", hint="remove it.")
    return folder


def _whose(owner: Path) -> str:
    try:
        text = owner.read_text(encoding="ascii")[:20]
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {text})" if text.isdecimal() else ""
