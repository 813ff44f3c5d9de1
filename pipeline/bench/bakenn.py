"""BakeNN, another ahead-of-time compiler, as a runtime to measure beside ours.

It lives in an environment of its own, which pip fills the first time. What it generates is built with the firmware and
the flags that our own code is built with, so that the figures compare.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline import graph_costs, lifetime, tflite
from pipeline.aot.emit import header_name, model_symbol, sha256_bytes, tensor_table
from pipeline.edgetpu import rewriting
from pipeline.errors import ToolError, UnsupportedError
from pipeline.model import Export
from pipeline.rendering import render
from pipeline.tflite import Graph

VERSION = "1.0.0"
_REQUIREMENT = f"bakenn[tflite]=={VERSION}"
_INSTALL_TIMEOUT_S = 600
_COMPILE_TIMEOUT_S = 300
_MAX_OUTPUT_BYTES = 1 << 24
_RESHAPE_OPTIONS = 17  # BuiltinOptions.ReshapeOptions of TFLite's schema


@dataclass(frozen=True)
class Prepared:
    """A model as BakeNN takes it: a file of its own where the original had to change, and what was changed."""

    graph: Graph
    changes: tuple[str, ...]


def environment(progress: Callable[[str, int, int], None]) -> Path:
    """The Python of the environment that has BakeNN; made the first time, in the user's cache folder.

    Raises:  ToolError: pip cannot install it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensorflash"
    folder = cache / f"bakenn-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = folder / "ready"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not ready.is_file():
            progress(f"installing bakenn {VERSION}", 0, 0)
            _call([sys.executable, "-m", "venv", "--clear", str(folder)], _INSTALL_TIMEOUT_S)
            _call([str(python), "-m", "pip", "install", "-q", _REQUIREMENT], _INSTALL_TIMEOUT_S)
            ready.touch()
    return python


def prepare(graph: Graph, folder: Path) -> Prepared:
    """The model without what BakeNN 1.0.0 refuses in published models although nothing is wrong with it.

    A shape signature of -1 in the batch, a RESHAPE without options, and a last SOFTMAX; everything else is its affair.
    """
    content = graph.path.read_bytes()
    dynamic = rewriting.dynamic_tensors(content, graph)
    bare = {op.index: _RESHAPE_OPTIONS for op in graph.ops if op.name == "RESHAPE" and not op.options}
    last = [op for op in graph.ops if op.name == "SOFTMAX" and op.outputs == graph.outputs]
    changes = [
        sentence
        for sentence, needed in (
            ("the batch dimension of -1 made 1", dynamic),
            ("RESHAPE given options", bare),
            ("the last SOFTMAX left out", last),
        )
        if needed
    ]
    if not changes:
        return Prepared(graph, ())
    edit = rewriting.Edit(
        static=dynamic,
        options=bare,
        dropped=frozenset(op.index for op in last),
        outputs=last[0].inputs[:1] if last else None,
    )
    path = folder / graph.path.name
    path.write_bytes(rewriting.rewrite(content, graph, edit))
    return Prepared(tflite.read(path), tuple(changes))


def export(graph: Graph, python: Path, cmsis_nn: bool) -> Export:
    """What BakeNN makes of a model.

    Args:    python: environment(). cmsis_nn: with CMSIS-NN, for Cortex-M cores with the DSP extension, instead of its
             portable C.
    Raises:  UnsupportedError: BakeNN refuses the model. ToolError: it fails.
    """
    with lifetime.temporary_folder() as folder:
        worker = Path(__file__).with_name("bakenn_worker.py")
        mode = ["cmsis_nn"] if cmsis_nn else []
        _call([str(python), "-I", str(worker), str(graph.path.resolve()), str(folder), *mode], _COMPILE_TIMEOUT_S)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if answer["error"] is not None:
            raise UnsupportedError(f"{graph.path.name}: BakeNN refuses it: {answer['error'].rstrip('.')}.")
        return _export(graph, folder / "out", answer)


def _export(graph: Graph, out: Path, answer: dict[str, Any]) -> Export:
    # BakeNN has no target with Helium: the scratch memory it plans is what CMSIS-NN needs with DSP, and CMSIS-NN's code
    # for Helium writes beyond it.
    defines = "".join(("#undef __ARM_FEATURE_MVE\n", *(f"#define {name} 1\n" for name in answer["defines"]))).encode()
    sources = [out / path for path in answer["sources"]]
    headers = [path for folder in answer["include_dirs"] for path in sorted((out / folder).glob("*.h"))]
    # All in one folder: the names are unique, and a library has only one.
    files = {path.name: defines + path.read_bytes() for path in sources} | {p.name: p.read_bytes() for p in headers}
    inputs, outputs = ([graph.tensor(i) for i in indices] for indices in (graph.inputs, graph.outputs))
    values = {
        "name": graph.name,
        "symbol": model_symbol(graph.name),
        "header": header_name(graph.name),
        "sha256": sha256_bytes(graph.sha256),
        "input_bytes": inputs[0].bytes,
        "output_bytes": outputs[0].bytes,
        "arena_bytes": answer["arena_bytes"],
        "inputs": tensor_table("inputs", inputs),
        "outputs": tensor_table("outputs", outputs),
    }
    weights = {tensor.index: tensor for op in graph.ops for tensor in graph_costs.weights(graph, op)}
    weights_bytes = sum(tensor.bytes for tensor in weights.values())
    return Export(
        runtime="bakenn",
        model=tflite.quantized_model(graph),
        symbol=model_symbol(graph.name),
        header=header_name(graph.name),
        files=files
        | {
            header_name(graph.name): render("bakenn/model.h.j2", values),
            f"{graph.name}.c": render("bakenn/model.c.j2", values),
        },
        arena_bytes=answer["arena_bytes"],
        arena_lower_bound=answer["arena_bytes"],
        weights_bytes=weights_bytes,
        constant_bytes=weights_bytes,
        macs=sum(graph_costs.macs(graph, op) for op in graph.ops),
        kernels=(),
        layers=(),
    )


def _call(command: list[str], timeout_s: int) -> None:
    """Runs a command of the environment, which ends with this process.  Raises:  ToolError: it fails."""
    shown = f"BakeNN: {' '.join(command[:4])} .."
    with lifetime.temporary_folder() as folder, (folder / "said").open("w+b") as said:
        with lifetime.process(command, stdout=said, stderr=subprocess.STDOUT) as process:
            code = lifetime.wait(process, (Path(said.name),), _MAX_OUTPUT_BYTES, timeout_s)
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
    if code != 0:
        how = f"took more than {timeout_s} s" if code is None else f"failed: {last[0]}"
        raise ToolError(f"{shown} {how}.", hint="--ours-only, which needs no BakeNN.")
