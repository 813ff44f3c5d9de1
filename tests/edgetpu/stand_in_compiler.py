"""A stand-in for Google's edgetpu_compiler, which is closed and cannot be had here.

It does what is documented of the real program, one behaviour at a time, and maps nothing: its packages hold an Edge TPU
op with a few bytes that no device would take, or with those of a file that STAND_IN_PACKAGE names. What it prints has
the form of version 16.0.384591198.

    python stand_in_compiler.py BEHAVIOUR [the real program's options] MODEL.tflite ...
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

VERSION = "16.0.384591198"
PACKAGE = "STAND_IN_PACKAGE"
STUB = b"\x1c\x00\x00\x00TFL3" + bytes(1016)


def main(behaviour: str, words: list[str]) -> int:
    options = _options(words)
    print(f"Edge TPU Compiler version {VERSION}")
    calls = _count_call()
    if options.search_delegate:
        _search(options)
    print(f"Started a compilation timeout timer of {options.timeout_sec} seconds.\n", flush=True)
    if behaviour.startswith("says:"):
        print(behaviour[5:], file=sys.stderr)
        _write(options.out_dir, options.models[0], STUB)
        return 1
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "flood":
        while True:
            sys.stdout.write("x" * 65536)
    if behaviour == "garbage":
        sys.stdout.buffer.write(random.Random(0).randbytes(5000))
        return 0
    if behaviour == "nothing":
        return 0
    if behaviour == "exits 0 with a stub":
        _write(options.out_dir, options.models[0], STUB)
        return 0
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    fails = {"always fails": True, "fails twice": calls <= 2, "needs the search": not options.search_delegate}
    if fails.get(behaviour, False):
        print("Compilation failed!")
        _write(options.out_dir, options.models[0], STUB)
        return 1
    for path in options.models:
        for segment in range(options.num_segments):
            _compile(path, segment, behaviour, options)
    print("Compilation child process completed within timeout period.\nCompilation succeeded!")
    return 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--out_dir", type=Path, default=Path())
    parser.add_argument("-s", "--show_operations", action="store_true")
    parser.add_argument("-m", "--min_runtime_version", type=int, default=14)
    parser.add_argument("-n", "--num_segments", type=int, default=1)
    parser.add_argument("-d", "--search_delegate", action="store_true")
    parser.add_argument("-k", "--delegate_search_step", type=int, default=1)
    parser.add_argument("-i", "--intermediate_tensors", default="")
    parser.add_argument("-t", "--timeout_sec", type=int, default=180)
    parser.add_argument("models", nargs="+", type=Path)
    return parser.parse_args(words)


def _search(options: argparse.Namespace) -> None:
    """What is printed of tries that failed, before the one that does not."""
    print(f"Searching for valid delegate with step {options.delegate_search_step}")
    for ops in (135, 134):
        print(f"Try to compile segment with {ops} ops\nIntermediate tensors: first/concat,second/Relu")
        print(f"Started a compilation timeout timer of {options.timeout_sec} seconds.")
        print("Compilation child process completed within timeout period.\nCompilation failed! ")
    print("Try to compile segment with 133 ops")


def _count_call() -> int:
    file = Path("calls")
    calls = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(calls))
    return calls


def _write(folder: Path, model: Path, content: bytes, name: str = "_edgetpu") -> Path:
    path = folder / f"{model.stem}{name}.tflite"
    path.write_bytes(content)
    return path


def _compile(path: Path, segment: int, behaviour: str, options: argparse.Namespace) -> None:
    from ai_edge_litert import schema_py_generated as schema

    source = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(source, 0)
    ops = len(model.subgraphs[0].operators)
    left = {"partial": 1, "zero": ops, "lies": 1}.get(behaviour, 0)
    name = "_edgetpu" if options.num_segments == 1 else f"_segment_{segment}_of_{options.num_segments}_edgetpu"
    names = [n for n in vars(schema.BuiltinOperator) if not n.startswith("_")]
    by_code = {getattr(schema.BuiltinOperator, n): n for n in names}
    kinds = [by_code[model.operatorCodes[op.opcodeIndex].builtinCode] for op in model.subgraphs[0].operators]
    made = _write(options.out_dir, path, _package(model, left), name)
    rows = [(kind, "Mapped to Edge TPU") for kind in kinds[: ops - left]]
    rows += [(kind, "Operation is working on an unsupported data type") for kind in kinds[ops - left :]]
    print("Model compiled successfully in 12 ms.\n")
    print(f"Input model: {path}\nInput size: {len(source) / 1024:.2f}KiB\nOutput model: {made}")
    print(f"Output size: {made.stat().st_size / 1024:.2f}KiB")
    print("On-chip memory used for caching model parameters: 2.50KiB")
    print("On-chip memory remaining for caching model parameters: 7.62MiB")
    print("Off-chip memory used for streaming uncached model parameters: 0.00B")
    print(f"Number of Edge TPU subgraphs: {int(left < ops)}\nTotal number of operations: {ops}")
    log = made.with_suffix(".log")
    print(f"Operation log: {log}")
    if left:
        told = 0 if behaviour == "lies" else left
        print("\nModel successfully compiled but not all operations are supported by the Edge TPU.")
        print(f"Number of operations that will run on Edge TPU: {ops - told}")
        print(f"Number of operations that will run on CPU: {told}")
    table = "".join(f"{op:<30} {rows.count((op, s)):<10} {s}\n" for op, s in sorted(set(rows)))
    log.write_text(
        f"Edge TPU Compiler version {VERSION}\nInput: {path}\nOutput: {made}\n\n"
        f"{'Operator':<30} {'Count':<10} Status\n\n{table}"
    )


def _package(model: Any, left: int) -> bytes:
    """The model with all ops but the last `left` replaced by one Edge TPU op."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    kept = graph.operators[len(graph.operators) - left :]
    if left < len(graph.operators):
        code = schema.OperatorCodeT()
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "edgetpu-custom-op"
        code.version = 1
        model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(model.operatorCodes) - 1
        op.inputs = graph.inputs
        op.outputs = kept[0].inputs[:1] if kept else graph.outputs
        content = Path(os.environ[PACKAGE]).read_bytes() if PACKAGE in os.environ else b"not a package: by a stand-in"
        op.customOptions = np.frombuffer(content, np.uint8)
        graph.operators = [op, *kept]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
