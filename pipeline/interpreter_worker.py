"""The process in which a host interpreter runs: `python -m pipeline.interpreter_worker FOLDER`.

A hostile model can crash an interpreter written in C++, and their messages go to file descriptor 2 only. So
pipeline.interpreters runs them here and reads what is left in the folder:

    request.json   engine, task, number of inputs and outputs, samples, layers, layer_samples
    model.tflite
    inputs.npz     input_0 .. [samples, *shape]
    result.npz     output_0 .. [samples, *shape], traced_0 .. and layer_<tensor index> [layer_samples, *shape]
    result.json    {"package": .., "version": ..} or {"error": .., "host": ..}
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# Virtual memory, of which only what a model needs is ever touched.
GENEROUS_ARENA_BYTES = 128 * 1024 * 1024


def main(folder: Path) -> int:
    """Do what request.json asks; 0 where result.json holds a result, 1 where it holds an error."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        result = _ENGINES[request["engine"]](folder, request)
    except Exception as error:  # whatever an interpreter raises is the answer
        # "host": the fault lies with this machine, not with the model.
        result = {
            "error": f"{type(error).__name__}: {error}",
            "host": isinstance(error, (ImportError, OSError, MemoryError)),
        }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return int("error" in result)


def _inputs(folder: Path, request: dict[str, Any]) -> list[Any]:
    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        return [arrays[f"input_{i}"] for i in range(request["inputs"])]


def _tflm(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    from tflite_micro.python.tflite_micro import runtime

    content = (folder / "model.tflite").read_bytes()
    inputs = _inputs(folder, request)
    package = {"package": "tflite-micro", "version": importlib.metadata.version("tflite-micro")}

    def interpreter(arena_bytes: int, preserve: bool = False) -> Any:
        config = runtime.InterpreterConfig
        return runtime.Interpreter.from_bytes(
            content,
            arena_size=arena_bytes,
            intrepreter_config=config.kPreserveAllTensors if preserve else config.kAllocationRecording,
        )

    def answers(machine: Any, samples: int, after: Callable[[], None] = lambda: None) -> list[list[Any]]:
        outputs: list[list[Any]] = [[] for _ in range(request["outputs"])]
        for sample in range(samples):
            for position, array in enumerate(inputs):
                machine.set_input(array[sample], position)
            machine.invoke()
            for position, output in enumerate(outputs):
                output.append(np.array(machine.get_output(position)))
            after()
        return outputs

    if request["task"] == "arena":

        def answer(arena_bytes: int, preserve: bool) -> bytes:
            return b"".join(output[0].tobytes() for output in answers(interpreter(arena_bytes, preserve), 1))

        return package | {
            "arena_bytes": _smallest_arena(partial(answer, preserve=False)),
            "trace_arena_bytes": _smallest_arena(partial(answer, preserve=True)),
        }

    arena_bytes = GENEROUS_ARENA_BYTES + 10 * len(content)
    arrays = {f"output_{i}": o for i, o in enumerate(answers(interpreter(arena_bytes), request["samples"]))}
    if request["layer_samples"]:
        machine = interpreter(arena_bytes, preserve=True)
        layers: dict[int, list[Any]] = {index: [] for index in request["layers"]}

        def keep() -> None:
            for index, layer in layers.items():
                layer.append(np.array(machine.GetTensor(index, 0)["tensor_data"]))

        traced = answers(machine, request["layer_samples"], keep)
        arrays |= {f"traced_{i}": output for i, output in enumerate(traced)}
        arrays |= {f"layer_{index}": layer for index, layer in layers.items()}
    np.savez(folder / "result.npz", **{name: np.stack(array) for name, array in arrays.items()})
    return package


def _smallest_arena(answer: Callable[[int], bytes]) -> int:
    """The smallest multiple of 16 bytes with which the model loads and answers as it does with plenty.

    Every size is tried in a child process of its own: too small an arena can crash TFLM, or corrupt its heap and
    seem to work. So a size counts only if the answer and all that is said on stderr are those of a large arena.
    """

    def tried(arena_bytes: int) -> tuple[int, bytes, bytes]:
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answered:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    os.dup2(said.fileno(), 2)
                    answered.write(answer(arena_bytes))
                    answered.flush()
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            said.seek(0)
            answered.seek(0)
            return status, said.read(), answered.read()

    expected = tried(GENEROUS_ARENA_BYTES)
    if os.WIFSIGNALED(expected[0]):
        raise RuntimeError(f"crashed ({signal.Signals(os.WTERMSIG(expected[0])).name})")
    if expected[0] != 0:
        os.write(2, expected[1])
        raise RuntimeError(f"no answer with an arena of {GENEROUS_ARENA_BYTES:,} bytes")
    low, high = 0, 1024
    while high < GENEROUS_ARENA_BYTES and tried(high) != expected:
        low, high = high, 2 * high
    while high - low > 16:
        middle = (low + high) // 32 * 16
        low, high = (low, middle) if tried(middle) == expected else (middle, high)
    return high


def _litert(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    if request["engine"] == "tflite-runtime":
        from tflite_runtime import interpreter as litert
    else:
        from ai_edge_litert import interpreter as litert

    inputs = _inputs(folder, request)

    def machine(preserve: bool) -> Any:
        result = litert.Interpreter(
            model_path=str(folder / "model.tflite"),
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=preserve,
            num_threads=1,
        )
        result.allocate_tensors()
        return result

    def answers(machine: Any, samples: int, indices: list[int]) -> list[list[Any]]:
        arrays: list[list[Any]] = [[] for _ in indices]
        for sample in range(samples):
            for details, array in zip(machine.get_input_details(), inputs, strict=True):
                machine.set_tensor(details["index"], array[sample])
            machine.invoke()
            for index, array in zip(indices, arrays, strict=True):
                array.append(np.array(machine.get_tensor(index)))
        return arrays

    plain = machine(preserve=False)
    outputs = [details["index"] for details in plain.get_output_details()]
    arrays = {f"output_{i}": o for i, o in enumerate(answers(plain, request["samples"], outputs))}
    if request["layer_samples"]:
        traced = answers(machine(preserve=True), request["layer_samples"], request["layers"])
        arrays |= {f"layer_{index}": layer for index, layer in zip(request["layers"], traced, strict=True)}
    np.savez(folder / "result.npz", **{name: np.stack(array) for name, array in arrays.items()})
    return {"package": request["engine"], "version": importlib.metadata.version(request["engine"])}


_ENGINES = {"tflite-micro": _tflm, "tflite-runtime": _litert, "ai-edge-litert": _litert}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
