"""Runs TFLM on the models of a folder; see `tflm_outputs` in batch.py. Started as a process of its own.

State goes on from one sample of a model to the next, as in the programs that are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime


def main(folder: Path) -> None:
    with (folder / "golden.bin").open("wb") as out:
        for name in (folder / "names.txt").read_text().split():
            print(name, flush=True)  # the last line names the model that stopped the process
            content = (folder / f"{name}.tflite").read_bytes()
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=(1 << 20) + 10 * len(content))
            with np.load(folder / f"{name}.npz") as arrays:
                samples = sorted({int(key.split("_")[0]) for key in arrays.files})
                inputs = 1 + max(int(key.split("_")[1]) for key in arrays.files)
                for sample in samples:
                    for index in range(inputs):
                        interpreter.set_input(arrays[f"{sample}_{index}"], index)
                    interpreter.invoke()
                    for index in range(_output_count(content)):
                        out.write(np.ascontiguousarray(interpreter.get_output(index)).tobytes())


def _output_count(content: bytes) -> int:
    model = runtime.schema_fb.Model.GetRootAsModel(content, 0)
    return int(model.Subgraphs(0).OutputsLength())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
