"""Host interpreters: TFLM, whose answers are golden, and LiteRT, which runs beside it.

Both run in a process of their own (pipeline.interpreter_worker): a hostile model can crash them, and what they say
goes to its stderr only. A model with state keeps it from one sample to the next, as on a device.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import lifetime
from pipeline.errors import ModelError, TensorflashError, ToolError, UnsupportedError
from pipeline.model import Array, QuantizedModel

TIMEOUT_S = 600.0

# In order of preference: (distribution, import package).
_LITERT = (("tflite-runtime", "tflite_runtime"), ("ai-edge-litert", "ai_edge_litert"))


@dataclass(frozen=True, eq=False)
class Run:
    """What an interpreter answered.

    outputs holds one array [samples, *shape] a model output; layers one array [layer_samples, *shape] a tensor, by
    the tensor's index in the file. kernels names the op resolver.
    """

    package: str
    version: str
    kernels: str
    outputs: tuple[Array, ...]
    layers: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class ArenaSize:
    """The smallest tensor arena that TFLM's host interpreter can work with, and which TFLM that was.

    trace_bytes: the same where all tensors are kept, as a trace build does.
    """

    bytes: int
    trace_bytes: int
    package: str
    version: str


def has_tflm() -> bool:
    """Whether TFLM's host interpreter is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def tflm_version() -> str:
    """The version of TFLM's host interpreter.

    Raises:  ToolError: it is not installed.
    """
    require_tflm()
    return importlib.metadata.version("tflite-micro")


def litert_versions() -> dict[str, str]:
    """The LiteRT packages that are installed, and their versions."""
    found = {}
    for distribution, package in _LITERT:
        if importlib.util.find_spec(package) is not None:
            found[distribution] = importlib.metadata.version(distribution)
    return found


def require_tflm() -> None:
    """Raises:  ToolError: TFLM's host interpreter is not installed."""
    if not has_tflm():
        raise ToolError(
            "golden answers come from TFLM's host interpreter, and the package tflite-micro is not installed.",
            hint="pip install tflite-micro (there are wheels for Linux on x86-64 only); elsewhere, give golden answers "
            "that were saved on such a machine with --golden FILE.npz.",
        )


def tflm(
    model: QuantizedModel,
    inputs: Sequence[Array],
    layers: Sequence[int] = (),
    layer_samples: int = 0,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Run:
    """Run TFLM's reference kernels over all samples, and show tensors of the first `layer_samples`.

    Tensors are read from a second interpreter that keeps them all; its outputs have to be those of the first.

    Args:    inputs: one array [samples, *shape] a model input. layers: tensor indices.
    Raises:  UnsupportedError: TFLM lacks an op. ModelError: TFLM cannot run the model, or crashes on it.
             ToolError: tflite-micro is missing, hangs, or contradicts itself.
    """
    require_tflm()
    result = _work(model, "tflite-micro", "run", inputs, layers, layer_samples, timeout_s)
    if "error" in result.report:
        raise _tflm_error(model, result)
    run = _run(model, result, "reference", layers, layer_samples)
    for position in range(len(model.outputs)):
        if layer_samples and (
            result.arrays[f"traced_{position}"].tobytes() != run.outputs[position][:layer_samples].tobytes()
        ):
            raise ToolError(
                f"{model.path}: TFLM {run.version} answers differently when it keeps all tensors "
                f"(output {position}); its layers cannot be trusted.",
                hint="another version of tflite-micro.",
            )
    return run


def tflm_arena(model: QuantizedModel, inputs: Sequence[Array], *, timeout_s: float = TIMEOUT_S) -> ArenaSize:
    """Measure the tensor arena: the smallest multiple of 16 bytes with which TFLM loads the model and answers right.

    Found by bisection, every size in a process of its own, on the first sample. The host has 64-bit pointers and
    runs reference kernels: a 32-bit microcontroller with the same kernels needs less, optimized kernels may need
    scratch memory on top.

    Raises:  as tflm().
    """
    require_tflm()
    result = _work(model, "tflite-micro", "arena", [array[:1] for array in inputs], (), 0, timeout_s)
    if "error" in result.report:
        raise _tflm_error(model, result)
    report = result.report
    return ArenaSize(report["arena_bytes"], report["trace_arena_bytes"], report["package"], report["version"])


def litert(
    model: QuantizedModel,
    inputs: Sequence[Array],
    layers: Sequence[int] = (),
    layer_samples: int = 0,
    *,
    timeout_s: float = TIMEOUT_S,
) -> tuple[Run | None, str]:
    """Run LiteRT's reference kernels, never XNNPACK: tflite-runtime 2.14 where there is a wheel, else ai-edge-litert.

    Returns:  the run and "", or None and why there is none: it is a cross-check, its absence is no error.
    """
    reasons = []
    for distribution, package in _LITERT:
        if importlib.util.find_spec(package) is None:
            reasons.append(f"{distribution} is not installed")
        elif distribution == "tflite-runtime" and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
            reasons.append(f"{distribution} does not work with NumPy {np.__version__}")
        else:
            try:
                result = _work(model, distribution, "run", inputs, layers, layer_samples, timeout_s)
                if "error" not in result.report:
                    return _run(model, result, "BUILTIN_REF", layers, layer_samples), ""
                reasons.append(f"{distribution}: {' '.join(result.report['error'].split())[:400]}")
            except (ToolError, ModelError) as error:
                reasons.append(error.message)
    return None, "; ".join(reasons)


@dataclass(frozen=True, eq=False)
class _Result:
    report: Mapping[str, Any]
    arrays: Mapping[str, Array]
    stderr: str


def _work(
    model: QuantizedModel,
    engine: str,
    task: str,
    inputs: Sequence[Array],
    layers: Sequence[int],
    layer_samples: int,
    timeout_s: float,
) -> _Result:
    samples = len(inputs[0])
    request = {
        "engine": engine,
        "task": task,
        "inputs": len(inputs),
        "outputs": len(model.outputs),
        "samples": samples,
        "layers": list(layers),
        "layer_samples": min(layer_samples, samples),
    }
    with lifetime.temporary_folder() as folder:
        try:
            (folder / "model.tflite").write_bytes(_content(model))
            np.savez(folder / "inputs.npz", **{f"input_{i}": array for i, array in enumerate(inputs)})
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            code, stderr = _python(folder, timeout_s)
        except OSError as error:
            raise ToolError(
                f"cannot run the host interpreter in {folder}: {error.strerror}.",
                hint="free space in the temporary folder, or set TMPDIR.",
            ) from error
        except subprocess.TimeoutExpired:
            raise ToolError(
                f"{model.path}: {engine} was stopped after {timeout_s:g} s with {samples} samples.",
                hint="fewer samples (--samples).",
            ) from None
        if not (folder / "result.json").exists():
            return _Result({"error": _ending(code, stderr), "host": code >= 0}, {}, stderr)
        report = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        arrays: dict[str, Array] = {}
        if (folder / "result.npz").exists():
            with np.load(folder / "result.npz", allow_pickle=False) as content:
                arrays = {key: content[key] for key in content.files}
        return _Result(report, arrays, stderr)


def _content(model: QuantizedModel) -> bytes:
    try:
        content = model.path.read_bytes()
    except OSError as error:
        raise ModelError(f"{model.path}: cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelError(f"{model.path}: the file has changed since it was read.", hint="run again.")
    return content


def _python(folder: Path, timeout_s: float) -> tuple[int, str]:
    """Run the worker; returns its exit code (negative: the signal that ended it) and stderr."""
    # The folder is the working folder, so that nothing in the user's own can shadow a module.
    package_root = str(Path(__file__).resolve().parents[1])
    search = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(search)}
    with lifetime.process(
        [sys.executable, "-m", "pipeline.interpreter_worker", str(folder)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        _, stderr = process.communicate(timeout=timeout_s)
    return process.returncode, stderr.decode("utf-8", "replace")


def _ending(code: int, stderr: str) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"crashed ({name})"
    last = stderr.strip().splitlines()[-1:] or ["nothing was said"]
    return f"ended with code {code}: {last[0]}"


def _run(model: QuantizedModel, result: _Result, kernels: str, layers: Sequence[int], layer_samples: int) -> Run:
    outputs = []
    for position, spec in enumerate(model.outputs):
        array = result.arrays[f"output_{position}"]
        if array.dtype != np.dtype(spec.dtype) or array[0].size != spec.elements:
            raise ModelError(
                f"{model.path}: output {position} ({spec.name}) is {spec.dtype} {list(spec.shape)} in the file, and "
                f"{array.dtype} {list(array.shape[1:])} in {result.report['package']}.",
                hint="convert the model again, with fixed input sizes.",
            )
        outputs.append(array.reshape(-1, *spec.shape))
    traced = {index: result.arrays[f"layer_{index}"] for index in layers} if layer_samples else {}
    return Run(result.report["package"], result.report["version"], kernels, tuple(outputs), traced)


_MISSING_OP = re.compile(r"Didn't find op for builtin opcode '(\w+)'|op code (CUSTOM|\w+) *$", re.MULTILINE)


def _tflm_error(model: QuantizedModel, result: _Result) -> TensorflashError:
    said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    missing = _MISSING_OP.search(result.stderr)
    if missing is not None:
        name = missing.group(1) or missing.group(2)
        return UnsupportedError(
            f"{model.path}: TFLM has no op {name}.",
            hint="train without it, or replace it by ops that TFLM has (tensorflash inspect lists the model's).",
        )
    words = " | ".join(line for line in said if "Error" in line or "ailed" in line or "rror:" in line)[:400]
    if result.report["host"]:
        return ToolError(
            f"TFLM's host interpreter did not run: {result.report['error']}.",
            hint="pip install --force-reinstall tflite-micro, or free memory and space in the temporary folder.",
        )
    return ModelError(
        f"{model.path}: TFLM's host interpreter cannot run it: {result.report['error']}."
        + (f" It said: {words}" if words else ""),
        hint="tensorflash inspect shows the ops; give inputs that fit the model with --inputs FILE.npz.",
    )
