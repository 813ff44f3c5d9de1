"""A bundle is brought to a computer with an Edge TPU - this one, or one that ssh reaches - and answers samples there.

Host keys are always checked, and nothing is ever asked: what needs a password or a question answered fails with the
command that settles it. Before anything of a bundle runs on a board, sha256sum has checked every file of it there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import lifetime
from pipeline.edgetpu import bundle as bundles
from pipeline.edgetpu import troubles
from pipeline.edgetpu.bundle import Bundle
from pipeline.errors import DataError, DeviceError, RequestError, ToolError
from pipeline.model import Array
from pipeline.vectors import Vectors, read_npz

CONNECT_TIMEOUT_S = 10
TIMEOUT_S = 600.0

_ABSENT, _EDITED, _UNPACK = 96, 97, 98  # exit codes of our own commands on the board
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,63}@)?[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,252}")
# Parts may be hidden (.venv), but never . or .., and never begin with a dash.
_FOLDER = re.compile(r"/?\.?[A-Za-z0-9_][A-Za-z0-9_.-]*(/\.?[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_MAX_ANSWER_BYTES = 1 << 30


@dataclass(frozen=True)
class Place:
    """Where a bundle runs. host: as ssh takes it, user@board or a name of its configuration; None: this computer.

    folder: on the board, relative to the user's home. python: the interpreter's name or path there.
    """

    host: str | None = None
    port: int | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    folder: str = "tensorflash"
    python: str = "python3"

    def __post_init__(self) -> None:
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise RequestError(f"{self.host!r} is not a host that ssh takes.", hint="user@board, or a name.")
        if not _FOLDER.fullmatch(self.folder) or not _FOLDER.fullmatch(self.python):
            raise RequestError(f"{self.folder!r}, {self.python!r}: a plain path is needed for folder and python.")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise RequestError(f"port {self.port}; 1 to 65535 are possible.")

    @property
    def title(self) -> str:
        return self.host or "this computer"


@dataclass(frozen=True, eq=False)
class DeviceRun:
    """What a bundle answered. outputs: one array [samples, *shape] a model output, of the first pass.

    device: "edgetpu" or "cpu"; reason: why it is the CPU. passes: a sha256 of all answers of each pass.
    latency_us: percentiles "p50" .. "p100" of one inference, microseconds, without the first.
    """

    outputs: tuple[Array, ...]
    device: str
    reason: str
    trouble: str | None
    passes: tuple[str, ...]
    latency_us: Mapping[str, float | None]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def repeats(self) -> bool:
        """Whether every pass gave the same bytes."""
        return len(set(self.passes)) == 1


def run(
    bundle: Bundle,
    given: Vectors,
    place: Place,
    *,
    device: str = "auto",
    passes: int = 2,
    timeout_s: float = TIMEOUT_S,
) -> DeviceRun:
    """Let a bundle answer all samples, `passes` times.

    Args:    device: "edgetpu", "cpu", or "auto": the Edge TPU if one works, else the CPU, with the reason.
    Raises:  DeviceError: no way to the board, or it cannot run the bundle; the hint says what helps.
             DataError: the bundle was edited, here or there.
    """
    if device not in ("auto", "edgetpu", "cpu"):
        raise RequestError(f"there is no device '{device}'.", hint="auto, edgetpu or cpu.")
    bundles.load(bundle.folder, bundle.identity)
    with lifetime.temporary_folder() as folder:
        question = folder / "inputs.npz"
        np.savez(question, **{f"input_{i}": array for i, array in enumerate(given.inputs)})
        words = ["run", "--device", device, "--passes", str(passes), "--expect", bundle.identity]
        said = _ask(bundle, words, place, question, folder, timeout_s)
        if said.died and device == "auto":
            # A library that does not fit the interpreter takes the process with it; the CPU needs no library.
            words[2] = "cpu"
            crash = f"the runner {said.ending}"
            said = _ask(bundle, words, place, question, folder, timeout_s)
            _require_success(said, place)
            return _answer(bundle, given, said, place, DeviceTrouble("abi-mismatch", crash))
        _require_success(said, place)
        return _answer(bundle, given, said, place, None)


@dataclass(frozen=True)
class DeviceTrouble:
    """A trouble of the Edge TPU that did not end the run: its kind in pipeline.edgetpu.troubles, and the words."""

    kind: str
    detail: str


def push(bundle: Bundle, place: Place, *, timeout_s: float = TIMEOUT_S) -> str:
    """Bring a bundle to the board; returns the folder there. One that is there, intact, is not sent again.

    Raises:  DeviceError: no way to the board, or no room there. DataError: the bundle was edited, here or there.
    """
    bundles.load(bundle.folder, bundle.identity)
    if place.host is None:
        return str(bundle.folder)
    with lifetime.temporary_folder() as folder:
        _send(bundle, place, folder, timeout_s)
    return _remote_folder(bundle, place)


# Processes


@dataclass(frozen=True)
class _Said:
    code: int | None  # None: stopped
    output: Path
    errors: str

    @property
    def died(self) -> bool:
        """Whether a signal ended it: locally, or as a shell tells it."""
        return self.code is not None and (self.code < 0 or 128 < self.code < 160)

    @property
    def ending(self) -> str:
        if self.code is None:
            return "was stopped: it took too long, or said too much"
        number = -self.code if self.code < 0 else self.code - 128
        try:
            return f"died of {signal.Signals(number).name}" if self.died else f"ended with exit code {self.code}"
        except ValueError:
            return f"died of signal {number}"


def _ask(bundle: Bundle, words: Sequence[str], place: Place, question: Path, folder: Path, timeout_s: float) -> _Said:
    if place.host is None:
        runner = [sys.executable, "-B", str(bundle.folder.resolve() / bundles.RUNNER), *words]
        return _execute(runner, question, folder, timeout_s)
    _send(bundle, place, folder, timeout_s)
    there = shlex.quote(_remote_folder(bundle, place))
    command = shlex.join([place.python, "-B", bundles.RUNNER, *words])
    # `exec` makes the runner's own ending that of the command.
    return _ssh(place, f"cd {there} && {_checked(bundle)} && exec {command}", question, folder, timeout_s)


def _send(bundle: Bundle, place: Place, folder: Path, timeout_s: float) -> None:
    there = _remote_folder(bundle, place)
    test = f"test -d {shlex.quote(there)} || exit {_ABSENT}; cd {shlex.quote(there)} && {_checked(bundle)}"
    said = _ssh(place, test, None, folder, timeout_s)
    if said.code == 0:
        return
    if said.code == _EDITED:
        known = troubles.by_kind("edited", troubles.RUNTIME)
        raise DataError(
            f"{place.title}: {there}: {known.cause}",
            hint=f"`ssh {place.host} rm -r {there}`, and deploy again.",
        )
    if said.code != _ABSENT:
        raise _ssh_error(place, said, "look for the bundle")
    archive = folder / "bundle.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in bundle.files:
            entry = tarfile.TarInfo(name)
            entry.size = (bundle.folder / name).stat().st_size
            entry.mode = 0o755 if name == bundles.RUNNER else 0o644
            with (bundle.folder / name).open("rb") as file:
                tar.addfile(entry, file)
    new = shlex.quote(f"{there}.new")
    unpack = (
        f"umask 022; rm -rf {new}; mkdir -p {new} && tar -xf - -C {new} && mv {new} {shlex.quote(there)}"
        f" || {{ rm -rf {new}; exit {_UNPACK}; }}"
    )
    said = _ssh(place, unpack, archive, folder, timeout_s)
    if said.code != 0:
        raise _ssh_error(place, said, "unpack the bundle")


def _remote_folder(bundle: Bundle, place: Place) -> str:
    return f"{place.folder}/{bundle.name}-{bundle.identity[:16]}"


def _checked(bundle: Bundle) -> str:
    """A shell command that checks every file against the identity, in the bundle's folder."""
    own = f"echo {bundle.identity}'  {bundles.SUMS}' | sha256sum -c - >/dev/null 2>&1"
    count = f"test $(ls -A | grep -vc '^__pycache__$') -eq {len(bundle.files)}"
    return f"{{ {own} && sha256sum -c {bundles.SUMS} >/dev/null 2>&1 && {count} || exit {_EDITED}; }}"


def _ssh(place: Place, command: str, stdin: Path | None, folder: Path, timeout_s: float) -> _Said:
    words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
             "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}", "-o", "ServerAliveInterval=10",
             "-o", "ServerAliveCountMax=3", "-o", "ClearAllForwardings=yes"]  # fmt: skip
    if place.known_hosts is not None:
        words += ["-o", f"UserKnownHostsFile={place.known_hosts}", "-o", "GlobalKnownHostsFile=none"]
    if place.identity is not None:
        words += ["-i", str(place.identity), "-o", "IdentitiesOnly=yes"]
    if place.port is not None:
        words += ["-p", str(place.port)]
    return _execute([*words, "--", str(place.host), f"sh -c {shlex.quote(command)}"], stdin, folder, timeout_s)


def _execute(words: Sequence[str], stdin: Path | None, folder: Path, timeout_s: float) -> _Said:
    output, errors = folder / "stdout", folder / "stderr"
    code: int | None = None
    try:
        with (
            (stdin or Path(os.devnull)).open("rb") as given,
            output.open("wb") as out,
            errors.open("wb") as err,
            lifetime.process(words, cwd=folder, stdin=given, stdout=out, stderr=err) as process,
        ):
            code = lifetime.wait(process, (output, errors), _MAX_ANSWER_BYTES, timeout_s)
    except OSError as error:
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}.", hint="install OpenSSH's client.") from error
    with errors.open("rb") as spoken:
        text = spoken.read(65_536).decode("utf-8", "replace")
    return _Said(code, output, text)


# Answers


def _ssh_error(place: Place, said: _Said, what: str) -> DeviceError:
    words = _words(said.errors)
    known = troubles.explain(said.errors, troubles.SSH)
    if known is not None:
        return DeviceError(
            f"{place.title}: cannot {what}: {known.cause}" + (f" It said: {words}" if words else ""),
            hint=known.remedy.replace("HOST", str(place.host)),
        )
    return DeviceError(
        f"{place.title}: cannot {what}: ssh {said.ending}." + (f" It said: {words}" if words else ""),
        hint=f"`ssh {place.host} true` has to work without a password.",
    )


def _require_success(said: _Said, place: Place) -> None:
    if said.code == 0:
        return
    found = re.search(r"(?m)^tensorflash-trouble: (\{.{1,4000}\})$", said.errors)
    if found is not None:
        try:
            told = json.loads(found.group(1))
            kind, detail = str(told["kind"]), _words(str(told["detail"]))
        except (ValueError, KeyError, TypeError):
            kind, detail = "", _words(said.errors)
        if kind == "edited":
            known = troubles.by_kind(kind, troubles.RUNTIME)
            raise DataError(f"{place.title}: {detail}: {known.cause}", hint=known.remedy)
        try:
            known = troubles.by_kind(kind, troubles.RUNTIME)
        except KeyError:
            raise DeviceError(
                f"{place.title}: the runner failed: {detail}.", hint="`python3 run_model.py info` there says more."
            ) from None
        raise DeviceError(f"{place.title}: {known.cause} It said: {detail}", hint=known.remedy)
    if said.code == _EDITED and place.host is not None:
        known = troubles.by_kind("edited", troubles.RUNTIME)
        raise DataError(f"{place.title}: {known.cause}", hint=known.remedy)
    if place.host is not None and (said.code == 255 or troubles.explain(said.errors, troubles.SSH)):
        raise _ssh_error(place, said, "run the bundle")
    known_trouble = troubles.explain(said.errors, troubles.RUNTIME)
    if said.died and known_trouble is None:
        known_trouble = troubles.by_kind("abi-mismatch", troubles.RUNTIME)
    cause = "" if known_trouble is None else f" {known_trouble.cause[0].upper()}{known_trouble.cause[1:]}"
    words = _words(said.errors)
    raise DeviceError(
        f"{place.title}: the runner {said.ending}.{cause}" + (f" It said: {words}" if words else ""),
        hint=known_trouble.remedy if known_trouble else "`python3 run_model.py info` there says more.",
    )


def _words(text: str) -> str:
    """The last lines, in one, fit to be shown."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not set(line.strip()) <= set("@-=")]
    return " | ".join("".join(c if c.isprintable() else "?" for c in line)[:300] for line in lines[-3:])


def _answer(bundle: Bundle, given: Vectors, said: _Said, place: Place, crash: DeviceTrouble | None) -> DeviceRun:
    try:
        renamed = said.output.rename(said.output.with_suffix(".npz"))
        arrays = read_npz(renamed)
        meta: dict[str, Any] = json.loads(arrays.pop("meta").astype(np.uint8).tobytes())
        passes = tuple(str(digest) for digest in meta["passes"])
        device, reason = str(meta["device"]), _words(str(meta["reason"]))
        trouble = None if meta["trouble"] is None else str(meta["trouble"])[:40]
        latency = {
            f"p{p}": None if meta["latency_us"][f"p{p}"] is None else float(meta["latency_us"][f"p{p}"])
            for p in (50, 90, 99, 100)
        }
        versions = {key: _words(str(meta[key])) for key in ("interpreter", "interpreter_version", "python")}
        if meta["runtime_version"] is not None:
            versions["edgetpu_runtime"] = str(int(meta["runtime_version"]))
        model = str(meta["model_sha256"])
    except (DataError, KeyError, ValueError, TypeError, RecursionError, OSError) as error:
        raise DeviceError(
            f"{place.title}: the runner's answer cannot be read ({type(error).__name__}: {error}).",
            hint="a login script on the board that prints something spoils it; deploy again.",
        ) from error
    if model != bundle.model_sha256 or device not in ("edgetpu", "cpu") or not passes:
        raise DeviceError(f"{place.title}: it runs another model than the bundle's.", hint="deploy again.")
    outputs = []
    for position, spec in enumerate(bundle.outputs):
        array = arrays.get(f"output_{position}")
        wanted = (given.samples, *spec.shape)
        if array is None or array.dtype != np.dtype(spec.dtype) or array.shape != wanted:
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise DeviceError(
                f"{place.title}: output {position} is {found}; {spec.dtype} {list(wanted)} is needed.",
                hint="compile the model again: the package has other outputs than the model.",
            )
        outputs.append(array)
    if crash is not None:
        trouble, reason = crash.kind, crash.detail
    return DeviceRun(tuple(outputs), device, reason, trouble, passes, latency, versions)
