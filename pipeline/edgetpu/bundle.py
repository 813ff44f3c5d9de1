"""The deploy bundle: a model for the Edge TPU and for the CPU, and all a board needs to run it, in one flat folder.

    run_model.py         the runner, in Python 3.7
    <name>.tflite        the model that the CPU runs
    <name>_edgetpu.tflite, or <name>_segment_0_of_2_edgetpu.tflite ..    what the Edge TPU runs, if it was compiled
    contract.json        inputs, outputs, quantization, files, known troubles
    labels.txt, requirements.txt, model.service, README.md
    SHA256SUMS           of every other file; its own sha256 is the bundle's identity

Equal models give equal bundles. The identity is kept by whoever made the bundle: one that was edited has another
identity, however carefully SHA256SUMS was edited with it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from pipeline import __version__
from pipeline.board import Board
from pipeline.contract import Contract
from pipeline.edgetpu import troubles
from pipeline.errors import DataError, RequestError
from pipeline.model import QuantizedModel, TensorSpec
from pipeline.rendering import environment

RUNNER = "run_model.py"
SUMS = "SHA256SUMS"
CONTRACT = "contract.json"
FORMAT = 1

_RENDERED = {RUNNER: "run_model.py.j2", "README.md": "README.md.j2", "requirements.txt": "requirements.txt.j2",
             "model.service": "model.service.j2"}  # fmt: skip
_MAX_SUMS_BYTES = 1 << 20
_MAX_FILE_BYTES = 512 << 20
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9_.-]{0,150})")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what SHA256SUMS says. identity: sha256 of SHA256SUMS. compiled: it has Edge TPU code."""

    folder: Path
    name: str
    identity: str
    model_sha256: str
    compiled: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: tuple[str, ...]  # SHA256SUMS first


def write(
    model: QuantizedModel,
    board: Board,
    packages: Sequence[Path],
    labels: Sequence[str],
    out: Path,
    *,
    contract: Contract | None = None,
    min_runtime_version: int | None = None,
) -> Bundle:
    """Write a bundle into the new or empty folder `out`.

    Args:    packages: the compiled model, one file a segment, in the order in which they run; none: not compiled.
             contract: how raw values become the model's input. min_runtime_version: what the packages need of
             libedgetpu, where it is known.
    Raises:  RequestError: the folder is in use or cannot be written, or the board has no Edge TPU.
    """
    if board.edgetpu is None:
        raise RequestError(
            f"{board.id} has no Edge TPU, so the runtime edgetpu cannot run there.",
            hint="a board like coral_usb (`tensorflash boards`), or another runtime.",
        )
    name = model.name
    compiled = [_package_name(name, number, len(packages)) for number in range(len(packages))]
    values: dict[str, Any] = {
        "name": name,
        "version": __version__,
        "board": board,
        "model": f"{name}.tflite",
        "model_sha256": model.sha256,
        "compiled": compiled,
        "inputs": model.inputs,
        "outputs": model.outputs,
        "contract": contract,
    }
    if contract is not None:
        contract.require_channels(model.inputs[0].shape[-1], f"input {model.inputs[0].name}")
    described = {
        "format": FORMAT,
        "name": name,
        "board": board.id,
        "model": f"{name}.tflite",
        "model_sha256": model.sha256,
        "compiled": compiled,
        "min_runtime_version": min_runtime_version if compiled else None,
        "inputs": [_spec(spec) for spec in model.inputs],
        "outputs": [_spec(spec) for spec in model.outputs],
        "preprocessing": None if contract is None else contract.as_json(),
        "labels": list(labels),
        "troubles": [
            {"kind": t.kind, "pattern": t.pattern, "cause": t.cause, "remedy": t.remedy} for t in troubles.RUNTIME
        ],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise RequestError(f"{out}: not an empty folder.", hint="name a new one.")
        shutil.copyfile(model.path, out / f"{name}.tflite")
        for package, file in zip(packages, compiled, strict=True):
            shutil.copyfile(package, out / file)
        for file, template in _RENDERED.items():
            (out / file).write_text(_environment().get_template(template).render(values), encoding="utf-8")
        (out / RUNNER).chmod(0o755)
        (out / CONTRACT).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (out / "labels.txt").write_text("".join(f"{' '.join(label.split())}\n" for label in labels), encoding="utf-8")
        lines = [f"{_sha256(path)}  {path.name}\n" for path in sorted(out.iterdir())]
        (out / SUMS).write_text("".join(lines), encoding="ascii")
    except OSError as error:
        raise RequestError(
            f"{out}: the bundle cannot be written: {error.strerror}.", hint="another folder, or free space on this one."
        ) from error
    return load(out)


def load(folder: Path, expected: str | None = None) -> Bundle:
    """Read a bundle, and prove that nothing in it was changed.

    Args:    expected: its identity, where it is known.
    Raises:  DataError: it is no bundle, or a file was changed, added or lost.
    """
    edited = troubles.by_kind("edited", troubles.RUNTIME)
    try:
        with (folder / SUMS).open("rb") as file:
            sums = file.read(_MAX_SUMS_BYTES)
    except OSError as error:
        raise DataError(
            f"{folder}: not a bundle: {SUMS} cannot be read: {error.strerror}.",
            hint="bundles are written by `tensorflash run` with the runtime edgetpu.",
        ) from error
    identity = hashlib.sha256(sums).hexdigest()
    if expected is not None and identity != expected:
        raise DataError(f"{folder}: the bundle is {identity[:16]}.., not {expected[:16]}..", hint=edited.remedy)
    known: dict[str, str] = {}
    for line in sums.decode("ascii", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found.group(2) in known:
            raise DataError(f"{folder}: {SUMS} is not what was written: {line[:80]!r}.", hint=edited.remedy)
        known[found.group(2)] = found.group(1)
    for path in sorted(folder.iterdir()):
        if path.name not in known and path.name not in (SUMS, "__pycache__"):
            raise DataError(f"{folder}: {path.name} does not belong to the bundle.", hint=edited.remedy)
    for name, digest in known.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            raise DataError(f"{folder}: {name} is missing from the bundle.", hint=edited.remedy)
        if _sha256(path) != digest:
            raise DataError(f"{folder}: {name} is not what was written.", hint=edited.remedy)
    try:
        contract = json.loads((folder / CONTRACT).read_text(encoding="utf-8"))
        if contract["format"] != FORMAT:
            raise DataError(f"{folder}: a bundle of format {contract['format']}; this tensorflash reads {FORMAT}.")
        bundle = Bundle(
            folder=folder,
            name=str(contract["name"]),
            identity=identity,
            model_sha256=str(contract["model_sha256"]),
            compiled=tuple(str(name) for name in contract["compiled"]),
            inputs=tuple(_tensor(spec) for spec in contract["inputs"]),
            outputs=tuple(_tensor(spec) for spec in contract["outputs"]),
            files=(SUMS, *known),
        )
    except (OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{folder}: {CONTRACT} cannot be read ({type(error).__name__}: {error}).", hint=edited.remedy
        ) from error
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", bundle.name) or RUNNER not in known:
        raise DataError(f"{folder}: not a bundle: its name is {bundle.name[:80]!r}.", hint=edited.remedy)
    return bundle


def _package_name(name: str, number: int, count: int) -> str:
    return f"{name}_edgetpu.tflite" if count == 1 else f"{name}_segment_{number}_of_{count}_edgetpu.tflite"


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {**asdict(spec), "shape": list(spec.shape)}


def _tensor(spec: dict[str, Any]) -> TensorSpec:
    shape = tuple(int(size) for size in spec["shape"])
    if (
        spec["dtype"] not in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
        or min(shape, default=1) < 1
    ):
        raise ValueError(f"a tensor of {spec['dtype']!r} {list(shape)}")
    return TensorSpec(str(spec["name"]), shape, spec["dtype"], float(spec["scale"]), int(spec["zero_point"]))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _environment() -> Environment:
    # All names that go in are C identifiers or file names, except tensor names in the README's table.
    made = environment("pipeline", "templates/edgetpu", escape=False)
    made.filters["cell"] = _cell
    return made


def _cell(text: str) -> str:
    """Any text as one cell of a Markdown table."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return re.sub(r"([\\|`<>*_\[\]&])", r"\\\1", shown)
