"""Google's edgetpu_compiler, wrapped so that its result can be trusted: .tflite files become compiled packages.

The program is closed, and opaque when it fails: it can fail once and succeed the next time, leave a stub where the
package should be, call a model with nothing mapped a success, or never end. So it works in a folder of its own, and
what it says is compared with what it made: only packages that were read and hold Edge TPU code leave that folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import lifetime, tflite
from pipeline.edgetpu import troubles
from pipeline.edgetpu.rules import CUSTOM_OP
from pipeline.errors import ModelError, RequestError, ToolError, UnsupportedError

PROGRAM = "edgetpu_compiler"
COMMAND_VARIABLE = "TENSORFLASH_EDGETPU_COMPILER"
ATTEMPTS = 3  # without the search for a partition; one more with it
MAX_SEGMENTS = 16
RUNTIME_VERSIONS = (10, 11, 12, 13, 14)

SEARCH_TRIES = 16  # of the search for a partition, each with a few ops less; the timeout is of one

_GRACE_S = 10.0  # beyond the compiler's own timeout, before it is ended
_MAX_OUTPUT_BYTES = 8 * 1024 * 1024

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CompileOptions:
    """segments: to run on as many Edge TPUs. min_runtime_version: the oldest runtime that has to run it, or the
    compiler's own. timeout_s: of one attempt. command: instead of the installed program, its words; {folder} in it
    becomes the folder that holds the model, and has to be reachable under that name. cut: names of the tensors at
    which the Edge TPU's part is to end (the compiler's -i)."""

    segments: int = 1
    min_runtime_version: int | None = None
    timeout_s: int = 180
    command: str | None = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One run of the compiler: its arguments, exit code (negative: a signal; None: it was stopped) and trouble."""

    arguments: tuple[str, ...]
    exit_code: int | None
    trouble: str | None


@dataclass(frozen=True)
class OpStatus:
    """A row of the operation log."""

    op: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        return "Mapped to Edge TPU" in self.status


@dataclass(frozen=True)
class Segment:
    """A compiled package, as read from the file; what the compiler said of it is in the figures that may be None.

    subgraphs: Edge TPU parts in the file. cpu_ops: those that are left. said_on_edgetpu, said_on_cpu: the
    compiler's own counts. cached_bytes, remaining_bytes, streamed_bytes: of parameters, rounded as it prints them.
    """

    path: Path
    sha256: str
    bytes: int
    subgraphs: int
    cpu_ops: tuple[str, ...]
    said_operations: int | None
    said_on_edgetpu: int | None
    said_on_cpu: int | None
    cached_bytes: int | None
    remaining_bytes: int | None
    streamed_bytes: int | None
    operations: tuple[OpStatus, ...]

    def as_json(self) -> dict[str, Any]:
        """The object in `tensorflash edgetpu compile --json`."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "edgetpu_subgraphs": self.subgraphs,
            "cpu_ops": list(self.cpu_ops),
            "said": {
                "operations": self.said_operations,
                "on_edgetpu": self.said_on_edgetpu,
                "on_cpu": self.said_on_cpu,
                "cached_parameter_bytes": self.cached_bytes,
                "remaining_parameter_bytes": self.remaining_bytes,
                "streamed_parameter_bytes": self.streamed_bytes,
            },
            "operations": [{"op": o.op, "count": o.count, "status": o.status} for o in self.operations],
        }


@dataclass(frozen=True)
class CompiledModel:
    """One model and its packages, in the order in which they run. ops: of the model that went in."""

    source: Path
    sha256: str
    ops: int
    segments: tuple[Segment, ...]

    @property
    def on_cpu(self) -> int:
        """Ops that the compiled files leave to the CPU."""
        return sum(len(segment.cpu_ops) for segment in self.segments)

    @property
    def on_edgetpu(self) -> int:
        """Ops of the source that are no longer there: those that went into Edge TPU code."""
        return max(self.ops - self.on_cpu, 0)


@dataclass(frozen=True)
class Compiled:
    """What came out. disagreements: sentences, where prediction, log and file differ; the file is right."""

    compiler: str
    models: tuple[CompiledModel, ...]
    attempts: tuple[Attempt, ...]
    log: Path
    disagreements: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `tensorflash edgetpu compile --json` prints."""
        return {
            "compiler": self.compiler,
            "models": [
                {
                    "path": str(model.source),
                    "sha256": model.sha256,
                    "ops": model.ops,
                    "on_edgetpu": model.on_edgetpu,
                    "on_cpu": model.on_cpu,
                    "segments": [segment.as_json() for segment in model.segments],
                }
                for model in self.models
            ],
            "attempts": [
                {"arguments": list(a.arguments), "exit_code": a.exit_code, "trouble": a.trouble} for a in self.attempts
            ],
            "disagreements": list(self.disagreements),
            "log": str(self.log),
        }


def command(given: str | None = None) -> tuple[str, ...]:
    """The words that start the compiler: those given, those of TENSORFLASH_EDGETPU_COMPILER, or the installed program.

    Raises:  ToolError: there is none; the hint says how to get it on this system. RequestError: unbalanced quotes.
    """
    text = given or os.environ.get(COMMAND_VARIABLE)
    if text:
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise RequestError(f"the compiler's command {text!r} cannot be read: {error}.") from error
        if words and shutil.which(words[0]):
            return words
        raise ToolError(f"{words[0] if words else text!r} is not installed.", hint=how_to_get())
    found = shutil.which(PROGRAM)
    if found is None:
        raise ToolError(f"{PROGRAM} is not installed.", hint=how_to_get())
    return (found,)


def how_to_get() -> str:
    """How to get the compiler on this system, where there is a way."""
    container = (
        "a container made from a Debian image for amd64 with that package, as\n"
        "    --compiler 'docker run --rm --platform linux/amd64 -v {folder}:{folder} -w {folder} IMAGE "
        f"{PROGRAM}'\n"
        f"  or the same in {COMMAND_VARIABLE}."
    )
    linux = (
        "Google's package, for Debian and Ubuntu on x86-64 only:\n"
        "    curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg"
        " | sudo gpg --dearmor -o /usr/share/keyrings/coral-edgetpu.gpg\n"
        "    echo 'deb [signed-by=/usr/share/keyrings/coral-edgetpu.gpg] https://packages.cloud.google.com/apt"
        " coral-edgetpu-stable main' | sudo tee /etc/apt/sources.list.d/coral-edgetpu.list\n"
        "    sudo apt-get update && sudo apt-get install edgetpu-compiler\n"
    )
    if sys.platform == "linux" and platform.machine() == "x86_64" and shutil.which("apt-get"):
        return f"{linux}  or {container}"
    return f"{container}\n  There is no {PROGRAM} for this system. In the image: {linux}".rstrip()


def compile_models(
    models: Sequence[Path],
    options: CompileOptions,
    out: Path,
    *,
    predictions: Mapping[Path, tuple[int, int]] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Compiled:
    """Compile a model, or several to share the chip's memory (co-compilation), into the folder `out`.

    Args:    predictions: for each model, how many ops should be (on the Edge TPU, on the CPU).
    Returns: the packages, as read; <name>_edgetpu.tflite, <name>_edgetpu.log and edgetpu_compiler.log lie in `out`.
    Raises:  ToolError: the compiler is missing, hangs, or fails on its own account. UnsupportedError: the model is
             such that it cannot be compiled, or that nothing of it is mapped. RequestError: options that make no sense.
    """
    _check(models, options)
    graphs = [tflite.read(path) for path in models]
    for graph in graphs:
        _check_cut(graph, options.cut)
        if any(op.custom_code == CUSTOM_OP for op in graph.ops):
            known = troubles.by_kind("already-compiled", troubles.COMPILER)
            raise UnsupportedError(f"{graph.path}: {known.cause}", hint=known.remedy)
    program = command(options.command)
    names = _names(models)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{out}: cannot be made: {error.strerror}.", hint="another folder with --out.") from error
    log = out / f"{PROGRAM}.log"
    log.write_bytes(b"")
    with lifetime.temporary_folder() as folder:
        for name, graph in zip(names, graphs, strict=True):
            shutil.copyfile(graph.path, folder / f"{name}.tflite")
        largest = max(len(graph.ops) for graph in graphs)
        runner = _Runner(program, options, folder, names, largest, log, progress)
        said = runner.until_success()
        made = [
            CompiledModel(graph.path, graph.sha256, len(graph.ops), _segments(runner, name, graph, said, out))
            for name, graph in zip(names, graphs, strict=True)
        ]
        for model in made:
            _require_mapped(model)
        for name, model in zip(names, made, strict=True):
            for segment in model.segments:
                shutil.copyfile(runner.folder / segment.path.name, segment.path)
            for path in sorted(runner.folder.glob(f"{name}_*edgetpu.log")):
                shutil.copyfile(path, out / path.name)
    found = re.search(r"Edge TPU Compiler version (\S+)", said)
    return Compiled(
        compiler=found.group(1) if found else "unknown",
        models=tuple(made),
        attempts=tuple(runner.attempts),
        log=log,
        disagreements=tuple(sentence for model in made for sentence in _disagreements(model, predictions or {})),
    )


def _check(models: Sequence[Path], options: CompileOptions) -> None:
    if not models:
        raise RequestError("no model was given.")
    if not 1 <= options.segments <= MAX_SEGMENTS:
        raise RequestError(f"{options.segments} segments; 1 to {MAX_SEGMENTS} are possible.")
    if options.segments > 1 and len(models) > 1:
        raise RequestError(
            "several models are compiled to share one Edge TPU, segments to share several; not both at once.",
            hint="compile the models one by one with --segments.",
        )
    if options.cut and len(models) > 1:
        raise RequestError(
            "several models cannot be cut at once.", hint="compile the model that is to be cut by itself."
        )
    if options.min_runtime_version is not None and options.min_runtime_version not in RUNTIME_VERSIONS:
        raise RequestError(
            f"runtime version {options.min_runtime_version} is not known.",
            hint=f"one of {', '.join(map(str, RUNTIME_VERSIONS))}.",
        )
    if not 1 <= options.timeout_s <= 86_400:
        raise RequestError(f"a timeout of {options.timeout_s} s; 1 to 86,400 are possible.")


def _check_cut(graph: tflite.Graph, cut: Sequence[str]) -> None:
    made = {graph.tensor(index).name for op in graph.ops for index in op.outputs}
    for name in cut:
        if name not in made:
            raise RequestError(
                f"{graph.path}: no op computes a tensor of the name {name!r}, so the model cannot be cut there.",
                hint="`tensorflash inspect` lists them; `tensorflash edgetpu check` says where the part ends anyway.",
            )


def _names(models: Sequence[Path]) -> list[str]:
    """A plain and unique file name for each model."""
    names: list[str] = []
    for path in models:
        name = base = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem).strip("_.-")[:80] or "model"
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


class _Runner:
    """The attempts to compile; each in a folder of its own, so that what a failed one left is never read."""

    def __init__(
        self,
        program: Sequence[str],
        options: CompileOptions,
        models: Path,
        names: Sequence[str],
        ops: int,
        log: Path,
        progress: Progress,
    ) -> None:
        self.program = program
        self.options = options
        self.models = models
        self.names = names
        self.search_step = -(-ops // SEARCH_TRIES)
        self.log = log
        self.progress = progress
        self.attempts: list[Attempt] = []
        self.folder = models

    def until_success(self) -> str:
        """What the compiler said when it exited with 0."""
        search = False
        while True:
            self.progress("edgetpu_compiler", len(self.attempts), ATTEMPTS + 1)
            code, said = self._attempt(search)
            trouble = None if code == 0 else self._trouble(code, said)
            self.attempts.append(Attempt(self._options(search), code, trouble.kind if trouble else None))
            if trouble is None:
                return said
            too_large = trouble.kind == "large-activation"
            if search or not (trouble.again or too_large):
                raise self._error(trouble, said)
            search = too_large or len(self.attempts) >= ATTEMPTS

    def _options(self, search: bool) -> tuple[str, ...]:
        words = ["-s", "-t", str(self.options.timeout_s)]
        if self.options.min_runtime_version is not None:
            words += ["-m", str(self.options.min_runtime_version)]
        if self.options.segments > 1:
            words += ["-n", str(self.options.segments)]
        if self.options.cut:
            words += ["-i", ",".join(self.options.cut)]
        return (*words, *(["-d", "-k", str(self.search_step)] if search else []))

    def _limit_s(self, search: bool) -> float:
        return (self.options.timeout_s + _GRACE_S) * (SEARCH_TRIES if search else 1)

    def _attempt(self, search: bool) -> tuple[int | None, str]:
        self.folder = self.models / f"attempt_{len(self.attempts) + 1}"
        self.folder.mkdir()
        files = [str(self.models / f"{name}.tflite") for name in self.names]
        # The folder is put in after the words were split: no path is ever read as two.
        program = [word.replace("{folder}", str(self.models)) for word in self.program]
        words = [*program, *self._options(search), "-o", str(self.folder), *files]
        said = self.folder / "said"
        with said.open("wb") as stream:
            try:
                with lifetime.process(words, cwd=self.models, stdout=stream, stderr=subprocess.STDOUT) as process:
                    code = lifetime.wait(process, (said,), _MAX_OUTPUT_BYTES, self._limit_s(search))
            except OSError as error:
                raise ToolError(f"{words[0]} cannot be started: {error.strerror}.", hint=how_to_get()) from error
        with said.open("rb") as spoken:
            text = spoken.read(_MAX_OUTPUT_BYTES).decode("utf-8", "replace")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(words)}\n{text}\n[exit code {code}]\n\n")
        return code, text

    def _trouble(self, code: int | None, said: str) -> troubles.Trouble:
        if code is None:
            return troubles.by_kind("timeout", troubles.COMPILER)
        known = troubles.explain(said, troubles.COMPILER)
        if known is not None:
            return known
        return troubles.by_kind("internal" if code < 0 or code > 128 else "silent", troubles.COMPILER)

    def _error(self, trouble: troubles.Trouble, said: str) -> UnsupportedError | ToolError:
        tries = len(self.attempts)
        times = "" if tries == 1 else f" {tries} times, the last time with the search for a partition (-d)"
        last = self.attempts[-1]
        limit_s = self._limit_s("-d" in last.arguments) - _GRACE_S
        how = (
            f"was stopped after {limit_s:.0f} s or {_MAX_OUTPUT_BYTES >> 20} MiB of output"
            if last.exit_code is None
            else f"died of {_signal(last.exit_code)}"
            if last.exit_code < 0
            else f"failed with exit code {last.exit_code}"
        )
        words = _telling(said)
        message = f"{', '.join(self.names)}: {PROGRAM} {how}{times}: {trouble.cause}" + (
            f" It said: {words}" if words else " It said nothing."
        )
        message += f" All of it: {self.log}"
        own_fault = trouble.again or trouble.kind == "timeout"
        return (ToolError if own_fault else UnsupportedError)(message, hint=trouble.remedy)


def _signal(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _telling(said: str) -> str:
    """The last lines that say something, in one."""
    dull = ("Edge TPU Compiler version", "Started a compilation timeout", "Compilation child process")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = ["".join(c if c.isprintable() else "?" for c in line)[:200] for line in lines if not line.startswith(dull)]
    return " | ".join(lines[-4:])


# What was made


def _segments(runner: _Runner, name: str, graph: tflite.Graph, said: str, out: Path) -> tuple[Segment, ...]:
    count = runner.options.segments
    names = [f"{name}_edgetpu"] if count == 1 else [f"{name}_segment_{i}_of_{count}_edgetpu" for i in range(count)]
    return tuple(_segment(runner, stem, graph, said, out) for stem in names)


def _segment(runner: _Runner, stem: str, graph: tflite.Graph, said: str, out: Path) -> Segment:
    made = runner.folder / f"{stem}.tflite"
    if not made.is_file():
        found = sorted(path.name for path in runner.folder.glob("*.tflite"))
        raise ToolError(
            f"{graph.path}: {PROGRAM} exited with 0 and made no {made.name} (it made {', '.join(found) or 'nothing'})."
            f" All it said: {runner.log}",
            hint="look at the log; another --segments, or another version of the compiler.",
        )
    try:
        package = tflite.read(made)
    except ModelError as error:
        raise ToolError(
            f"{graph.path}: {PROGRAM} exited with 0 and left a stub of {made.stat().st_size:,} bytes, which is no model"
            f" ({error.message.partition(': ')[2]}). All it said: {runner.log}",
            hint="run it again; look at the log.",
        ) from error
    if [_face(graph, i) for i in graph.inputs] != [_face(package, i) for i in package.inputs] and (
        runner.options.segments == 1
    ):
        raise ToolError(
            f"{graph.path}: what {PROGRAM} made has other inputs than the model. All it said: {runner.log}",
            hint="look at the log; compile the model again.",
        )
    summary = _summary(said, made.name)
    operations = _operation_log(runner.folder / f"{stem}.log")
    return Segment(
        path=out / made.name,
        sha256=hashlib.sha256(made.read_bytes()).hexdigest(),
        bytes=made.stat().st_size,
        subgraphs=sum(op.custom_code == CUSTOM_OP for op in package.ops),
        cpu_ops=tuple(op.custom_code or op.name for op in package.ops if op.custom_code != CUSTOM_OP),
        said_operations=summary("Total number of operations"),
        said_on_edgetpu=summary("Number of operations that will run on Edge TPU"),
        said_on_cpu=summary("Number of operations that will run on CPU"),
        cached_bytes=summary("On-chip memory used for caching model parameters"),
        remaining_bytes=summary("On-chip memory remaining for caching model parameters"),
        streamed_bytes=summary("Off-chip memory used for streaming uncached model parameters"),
        operations=operations,
    )


def _face(graph: tflite.Graph, index: int) -> tuple[Any, ...]:
    tensor = graph.tensor(index)
    return tensor.shape, tensor.dtype


_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _summary(said: str, output: str) -> Callable[[str], int | None]:
    """Looks figures up in the part of the compiler's words that is about one output file."""
    parts = re.split(r"(?m)^(?=Input model: )", said)
    part = next((p for p in parts if re.search(rf"(?m)^Output model: .*{re.escape(output)}\s*$", p)), "")
    inner = re.split(r"(?m)^(?=Output model: )", part)
    part = next((p for p in inner if re.search(rf"(?m)^Output model: .*{re.escape(output)}\s*$", p)), part)

    def figure(label: str) -> int | None:
        found = re.search(rf"(?m)^{re.escape(label)}: (\d{{1,12}}(?:\.\d{{1,6}})?)(B|KiB|MiB|GiB)?\s*$", part)
        return round(float(found.group(1)) * _UNITS[found.group(2) or "B"]) if found else None

    return figure


def _operation_log(path: Path) -> tuple[OpStatus, ...]:
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        text = file.read(_MAX_OUTPUT_BYTES).decode("utf-8", "replace")
    rows = re.findall(r"(?m)^([A-Za-z0-9_-]{1,60})[ \t]+(\d{1,6})[ \t]+(\S[^\n]{0,200}?)[ \t]*$", text)
    return tuple(OpStatus(op, int(count), status) for op, count, status in rows)


def _require_mapped(model: CompiledModel) -> None:
    if any(segment.subgraphs for segment in model.segments):
        return
    statuses = [row for segment in model.segments for row in segment.operations if not row.mapped]
    reasons = "; ".join(f"{row.count} {row.op}: {row.status}" for row in statuses[:5])
    known = troubles.explain(statuses[0].status, troubles.STATUS) if statuses else None
    raise UnsupportedError(
        f"{model.source}: {PROGRAM} calls it a success, but no op is mapped to the Edge TPU."
        + (f" Its log: {reasons}." if reasons else ""),
        hint=(f"{known.remedy} " if known else "") + f"`tensorflash edgetpu check {model.source}` says what stops it.",
    )


def _disagreements(model: CompiledModel, predictions: Mapping[Path, tuple[int, int]]) -> list[str]:
    found = []
    for segment in model.segments:
        said = segment.said_on_cpu
        if said is None and segment.said_operations is not None and all(row.mapped for row in segment.operations):
            said = 0
        if said is not None and said != len(segment.cpu_ops):
            found.append(
                f"{segment.path.name}: the compiler says {said} ops are left to the CPU, the file has "
                f"{len(segment.cpu_ops)} ({', '.join(segment.cpu_ops[:6]) or 'none'})."
            )
        if not segment.subgraphs:
            found.append(f"{segment.path.name}: no op of this segment is mapped.")
    predicted = predictions.get(model.source)
    if predicted is not None and predicted[1] != model.on_cpu:
        found.append(
            f"{model.source.name}: {predicted[1]} ops on the CPU were predicted, the compiled file has {model.on_cpu}."
        )
    return found
