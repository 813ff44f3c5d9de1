"""A .tflite file becomes one of which the Edge TPU can do more, and that computes the same bytes on the CPU.

Repaired are things that change no result: an op version newer than what the op uses, one operator code shared by ops of
which only some need its version, a batch that is not static. That is proved before anything is written, by running
both files. What would change results, or the architecture, is suggested.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import interpreters, lifetime, tflite, vectors
from pipeline.edgetpu import rules
from pipeline.edgetpu.check import Prediction, check_graph
from pipeline.edgetpu.rewriting import Edit, dynamic_tensors, rewrite
from pipeline.errors import GateError, RequestError, ToolError
from pipeline.model import Array
from pipeline.tflite import Graph, Op


@dataclass(frozen=True)
class Proof:
    """Both files gave the same bytes on so many inputs; package names the interpreter."""

    samples: int
    package: str
    version: str


@dataclass(frozen=True)
class Repair:
    """What was repaired and proved. Without repairs, `out` is a copy, and there is nothing to prove."""

    model: Path
    out: Path
    sha256: str
    repairs: tuple[str, ...]
    suggestions: tuple[str, ...]
    before: Prediction
    after: Prediction
    proof: Proof | None

    def as_json(self) -> dict[str, Any]:
        """The object that `tensorflash edgetpu fix --json` prints."""
        return {
            "model": {"path": str(self.model), "sha256": self.before.sha256},
            "out": str(self.out),
            "sha256": self.sha256,
            "repairs": list(self.repairs),
            "suggestions": list(self.suggestions),
            "before": _summary(self.before),
            "after": _summary(self.after),
            "proof": None if self.proof is None else vars(self.proof),
        }


def fix_model(model: Path, out: Path, *, samples: int = 100, seed: int = 0, runtime_version: int = 14) -> Repair:
    """Repair a .tflite file, prove that it computes the same bytes, and write it.

    Raises:  ModelError: it cannot be read. RequestError: `out` is the model itself. GateError: the repaired file
             computes something else; nothing is written. ToolError: no interpreter here can run it.
    """
    if out.exists() and model.exists() and out.samefile(model):
        raise RequestError(f"{out}: that is the model itself.", hint="another name with --out.")
    graph = tflite.read(model)
    before = check_graph(graph, runtime_version)
    try:
        content = model.read_bytes()
    except OSError as error:
        raise RequestError(f"{model}: cannot be read: {error.strerror}.") from error
    edit, repairs = plan(graph, content)
    proof = None
    if edit:
        repaired = rewrite(content, graph, edit)
        proof = _prove(graph, content, repaired, samples, seed)
    else:
        repaired = content
    after = check_graph(tflite.parse(repaired, out), runtime_version)
    _write(out, repaired)
    return Repair(
        model=model,
        out=out,
        sha256=hashlib.sha256(repaired).hexdigest(),
        repairs=repairs,
        suggestions=suggest(after),
        before=before,
        after=after,
        proof=proof,
    )


def plan(graph: Graph, content: bytes) -> tuple[Edit, tuple[str, ...]]:
    """What can be repaired in a graph that was read from `content`, and each repair in a sentence."""
    constants, dropped = _fold_shapes(graph)
    versions: dict[int, int] = {}
    lowered: dict[tuple[str, int, int], list[int]] = {}
    kept: Counter[tuple[str, int]] = Counter()
    for op in rules.facts(graph):
        if op.index in dropped:
            continue
        needed = rules.needed_version(op)
        if needed is not None and needed < op.version:
            versions[op.index] = needed
            lowered.setdefault((op.op, op.version, needed), []).append(op.index)
        else:
            kept[op.op, op.version] += 1
    sentences = []
    for (name, version, needed), ops in lowered.items():
        shared = kept[name, version]
        what = f"{name}: {len(ops)} of version {version} lowered to {needed}, whose features are all they use"
        sentences.append(f"{what}; split from {shared} that need {version}" if shared else what)
    if dropped:
        sentences.append(f"{len(dropped)} ops that compute a shape became constants: the batch is 1")
    static = dynamic_tensors(content, graph)
    if static:
        sentences.append(f"{len(static)} tensors have a static shape now, with a batch of 1")
    return Edit(versions, frozenset(dropped), constants, static), tuple(sentences)


def suggest(prediction: Prediction) -> tuple[str, ...]:
    """What only the user can do about the blockers that are left, the most frequent first."""
    wanted: dict[str, list[Any]] = {}
    for op in prediction.ops:
        if op.blocker and op.fix:
            wanted.setdefault(op.fix, []).append(op)
    found = []
    for fix, ops in sorted(wanted.items(), key=lambda item: -len(item[1])):
        names = ", ".join(f"{op.index} {op.op}" for op in ops[:4]) + (
            f" and {len(ops) - 4} more" if len(ops) > 4 else ""
        )
        found.append(f"{fix} (ops {names})")
    if prediction.cuts:
        found.append(
            f"to end the Edge TPU's part on purpose: edgetpu compile --cut {shlex.quote(','.join(prediction.cuts))}"
        )
    if not prediction.fits_on_chip:
        found.append("parameters do not fit on the chip: a smaller model, or --segments with several devices")
    return tuple(found)


def _summary(prediction: Prediction) -> dict[str, Any]:
    return {
        "ops": len(prediction.ops),
        "on_edgetpu": prediction.on_edgetpu,
        "on_cpu": prediction.on_cpu,
        "compiles": prediction.compiles,
        "problems": list(prediction.problems),
    }


def _prove(graph: Graph, content: bytes, repaired: bytes, samples: int, seed: int) -> Proof:
    """Run both files on the same inputs.  Raises:  GateError, ToolError: as fix_model."""
    with lifetime.temporary_folder() as folder:
        runs = []
        inputs = None
        for name, data in (("before", content), ("after", repaired)):
            path = folder / f"{name}.tflite"
            path.write_bytes(data)
            model = tflite.quantized_model(tflite.read(path))
            inputs = vectors.make(model, samples, seed).inputs if inputs is None else inputs
            run, reason = interpreters.litert(model, inputs)
            if run is None:
                if name == "after":
                    raise GateError(
                        f"{graph.path}: the repaired file does not run where the original does ({reason}); nothing was "
                        "written.",
                        hint="report it, with the model if it can be shared.",
                    )
                raise ToolError(
                    f"{graph.path}: no interpreter here can run it ({reason}), so that nothing can be proved.",
                    hint="pip install ai-edge-litert; a model with a custom op cannot be run on the host.",
                )
            runs.append(run)
        before, after = runs
        for position, (expected, actual) in enumerate(zip(before.outputs, after.outputs, strict=True)):
            if expected.tobytes() != actual.tobytes():
                raise GateError(
                    f"{graph.path}: output {position} of the repaired file has other bytes; nothing was written.",
                    hint="report it, with the model if it can be shared.",
                )
        return Proof(samples, before.package, before.version)


def _write(out: Path, content: bytes) -> None:
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise RequestError(f"{out}: cannot be written: {error.strerror}.", hint="check its folder.") from error


# Shapes that are computed

_MAX_SIZES = 64  # in one constant of such a computation, which is about a few dimensions


def _fold_shapes(graph: Graph) -> tuple[dict[int, Array], set[int]]:
    """Tensors that follow from the shape of others, which is static, with their values; and the ops behind them."""
    values: dict[int, Array] = {}
    dropped: set[int] = set()
    kept = set(graph.outputs)
    for op in graph.ops:
        if len(op.outputs) != 1 or op.outputs[0] in kept:
            continue
        if op.name != "SHAPE" and not any(i in values for i in op.inputs):
            continue
        known = {i: _value(graph, values, i) for i in op.inputs if i >= 0}
        if any(value is not None and value.size > _MAX_SIZES for value in known.values()):
            continue
        try:
            value = _FOLDS[op.name](graph, op, known) if op.name in _FOLDS else None
        except (ValueError, IndexError, KeyError, TypeError):  # inputs that do not go together: left to who runs it
            continue
        tensor = graph.tensor(op.outputs[0])
        if value is not None and value.shape == tensor.shape and tensor.dtype in ("int32", "int64"):
            values[tensor.index] = value.astype(tensor.dtype)
            dropped.add(op.index)
    read = {i for op in graph.ops if op.index not in dropped for i in op.inputs}
    return {i: value for i, value in values.items() if i in read}, dropped


def _value(graph: Graph, values: Mapping[int, Array], index: int) -> Array | None:
    return values[index] if index in values else graph.tensor(index).data


_Known = Mapping[int, "Array | None"]


def _all_known(op: Op, known: _Known) -> list[Array] | None:
    found = [known[i] for i in op.inputs if i >= 0]
    arrays = [value for value in found if value is not None]
    return arrays if len(arrays) == len(found) else None


def _shape(graph: Graph, op: Op, _known: _Known) -> Array | None:
    return np.array(graph.tensor(op.inputs[0]).shape, np.int64)


def _strided_slice(_graph: Graph, op: Op, known: _Known) -> Array | None:
    """Of one dimension only, as TFLite's converter makes them to take one size out of a shape."""
    arrays = _all_known(op, known)
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    begin_mask, end_mask, ellipsis, new_axis, shrink = (int(op.options.get(mask, 0)) for mask in masks)
    if arrays is None or len(arrays) != 4 or arrays[0].ndim != 1 or ellipsis or new_axis or op.options.get("offset"):
        return None
    data, (begin, end, stride) = arrays[0], (int(a.reshape(-1)[0]) for a in arrays[1:])
    if shrink:
        return np.array(data[begin]) if -data.size <= begin < data.size else None
    if stride == 0:
        return None
    return data[slice(None if begin_mask else begin, None if end_mask else end, stride)]


def _pack(_graph: Graph, op: Op, known: _Known) -> Array | None:
    arrays = _all_known(op, known)
    return None if not arrays or op.options.get("axis", 0) != 0 else np.stack(arrays)


def _concatenation(_graph: Graph, op: Op, known: _Known) -> Array | None:
    arrays = _all_known(op, known)
    return None if not arrays or any(a.ndim != 1 for a in arrays) else np.concatenate(arrays)


def _product(_graph: Graph, op: Op, known: _Known) -> Array | None:
    arrays = _all_known(op, known)
    if not arrays or len(arrays) != 2 or arrays[0].ndim != 1 or arrays[1].reshape(-1).tolist() not in ([0], [-1]):
        return None
    product = np.prod(arrays[0], dtype=np.int64)
    return np.array([product]) if op.options.get("keep_dims") else np.array(product)


def _gather(_graph: Graph, op: Op, known: _Known) -> Array | None:
    arrays = _all_known(op, known)
    if not arrays or arrays[0].ndim != 1 or op.options.get("batch_dims", 0):
        return None
    inside = ((arrays[1] >= 0) & (arrays[1] < arrays[0].size)).all()
    return arrays[0][arrays[1]] if inside else None


def _multiply(_graph: Graph, op: Op, known: _Known) -> Array | None:
    arrays = _all_known(op, known)
    if not arrays or op.options.get("fused_activation_function", "NONE") != "NONE":
        return None
    return np.asarray(np.multiply(arrays[0], arrays[1], dtype=np.int64))


def _same_numbers(graph: Graph, op: Op, known: _Known) -> Array | None:
    value = known[op.inputs[0]]
    return None if value is None else value.reshape(graph.tensor(op.outputs[0]).shape)


_FOLDS = {
    "SHAPE": _shape,
    "STRIDED_SLICE": _strided_slice,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
    "REDUCE_PROD": _product,
    "GATHER": _gather,
    "MUL": _multiply,
    "CAST": _same_numbers,
    "RESHAPE": _same_numbers,
    "EXPAND_DIMS": _same_numbers,
    "SQUEEZE": _same_numbers,
}
