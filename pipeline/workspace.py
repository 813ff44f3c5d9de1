"""The work folder: every finished step is kept under a key of all it was made from, and never made twice.

    build/<recipe>/<stage>-<key>/   the step's files and step.json: input hashes, options, tool versions, outputs
    build/<recipe>/logs/            what the tools said
    build/<recipe>/.lock, .owner    who is working here
    build/<recipe>/.tmp-*           a step that is being made; leftovers of a killed run are removed by the next

A step is made in a temporary sibling and renamed when it is complete, so a run that is killed at any point leaves
whole steps and temporary folders, nothing between.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from pipeline.errors import RequestError

LOCK_WAIT_S = 2.0
RECORD = "step.json"
_RECORD_VERSION = 1
_MAX_RECORD_BYTES = 16 * 1024 * 1024
_TEMPORARY = ".tmp-"
_LEFTOVER = re.compile(r"\.tmp-[\w-]+-[0-9a-f]{16}")  # and nothing else: the folder may hold files of the user's

# What the system says when files cannot be written here, whatever is being written.
_STORAGE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}
)


@dataclass(frozen=True)
class StepResult:
    """A finished step.

    outputs maps each file, as a POSIX path relative to `path`, to its sha256. seconds is how long it took when it
    was made. reused: it was there already.
    """

    stage: str
    key: str
    path: Path
    outputs: Mapping[str, str]
    seconds: float
    reused: bool

    @property
    def digest(self) -> str:
        """One hash of all outputs: the input hash of a step that reads them."""
        return digest(self.outputs)


class Workspace:
    """The work folder of one recipe, locked while it is open.

        with Workspace(Path("build/digits")) as workspace:
            step = workspace.step("float", inputs, options, versions, lambda folder: train(..., folder))

    Args:    force: make every step anew.
    Raises:  RequestError: another run is working here, or the folder cannot be written.
    """

    def __init__(self, root: Path, *, force: bool = False) -> None:
        self.root = root
        self._force = force
        self._lock = FileLock(root / ".lock", timeout=LOCK_WAIT_S)

    def __enter__(self) -> Workspace:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise RequestError(
                f"{self.root}: another run{self._owner()} is working in this folder.",
                hint="wait until it ends, or give this one a folder of its own with --out.",
            ) from None
        except OSError as error:
            raise _unwritable(self.root, error) from error
        try:
            (self.root / ".owner").write_text(f"{os.getpid()}\n", encoding="ascii")
            for path in self.root.iterdir():
                if _LEFTOVER.fullmatch(path.name):
                    _remove(path)
        except OSError as error:
            self._lock.release()
            raise _unwritable(self.root, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            (self.root / ".owner").unlink()
        self._lock.release()

    def log(self, stage: str) -> Path:
        """The log file of a stage. It is no output of the step: it may differ between runs."""
        folder = self.root / "logs"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(self.root, error) from error
        return folder / f"{stage}.log"

    def step(
        self,
        stage: str,
        inputs: Mapping[str, str],
        options: Mapping[str, Any],
        versions: Mapping[str, str],
        run: Callable[[Path], None],
    ) -> StepResult:
        """The outputs of a step: those of an earlier run with the same key if they are intact, else made by `run`.

        Args:    stage: names the folder; letters, digits, - and _.
                 inputs: a hash of everything the step reads. options: plain JSON values. versions: of the tools.
                 run: writes the outputs into the empty folder it is given; equal bytes for equal keys.
        Raises:  RequestError: the folder cannot be written, or the disk is full. Whatever `run` raises.
        """
        if not self._lock.is_locked:
            raise ValueError("a Workspace is used in a with statement")
        if not stage.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"a stage named {stage!r}")
        request = {
            "record": _RECORD_VERSION,
            "stage": stage,
            "inputs": dict(inputs),
            "options": dict(options),
            "versions": dict(versions),
        }
        key = digest(request)[:16]
        folder = self.root / f"{stage}-{key}"
        made = None if self._force else _intact(folder, request)
        if made is not None:
            return StepResult(stage, key, folder, made["outputs"], made["seconds"], reused=True)

        temporary = self.root / f"{_TEMPORARY}{stage}-{key}"
        try:
            _remove(temporary)
            temporary.mkdir()
            start = time.monotonic()
            run(temporary)
            seconds = round(time.monotonic() - start, 3)
            outputs = {
                path.relative_to(temporary).as_posix(): file_digest(path)
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            }
            record = {**request, "key": key, "outputs": outputs, "seconds": seconds}
            (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            self._put(temporary, folder)
        except OSError as error:
            if error.errno in _STORAGE_ERRORS:
                raise _unwritable(self.root, error) from error
            raise
        finally:
            with suppress(OSError):
                _remove(temporary)
        return StepResult(stage, key, folder, outputs, seconds, reused=False)

    def _put(self, temporary: Path, folder: Path) -> None:
        """Rename a complete step to its place; what was there goes first, since no rename replaces a folder."""
        if folder.exists():
            replaced = folder.with_name(f"{_TEMPORARY}replaced-{folder.name}")
            _remove(replaced)
            folder.rename(replaced)
            temporary.rename(folder)
            _remove(replaced)
        else:
            temporary.rename(folder)

    def _owner(self) -> str:
        try:
            text = (self.root / ".owner").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return f" (process {text})" if text.isdigit() else ""


def digest(value: object) -> str:
    """sha256 of a plain value, as canonical JSON. A mapping's order does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


def files_digest(paths: Iterable[Path], relative_to: Path) -> str:
    """One sha256 of several files: their contents, and their places relative to a folder."""
    return digest({os.path.relpath(path, relative_to).replace(os.sep, "/"): file_digest(path) for path in paths})


def _intact(folder: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a step whose outputs are as they were written, or None."""
    try:
        record_path = folder / RECORD
        if record_path.stat().st_size > _MAX_RECORD_BYTES:
            return None
        record = json.loads(record_path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or any(record.get(name) != value for name, value in request.items()):
            return None
        outputs, seconds = record["outputs"], record["seconds"]
        if not isinstance(outputs, dict) or not isinstance(seconds, int | float):
            return None
        for name, sha256 in outputs.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts or file_digest(folder / relative) != sha256:
                return None
    except (OSError, ValueError, KeyError, RecursionError):
        return None
    return record


def _remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; one that is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unwritable(root: Path, error: OSError) -> RequestError:
    hints = {
        errno.ENOSPC: "free some space, or give another disk with --out.",
        errno.EDQUOT: "free some space, or give another disk with --out.",
    }
    return RequestError(
        f"{root}: the work folder cannot be written: {error.strerror or error}.",
        hint=hints.get(error.errno or 0, "give a folder you may write to with --out."),
    )
