"""mapping_ground_truth.json of the model zoo: which ops of 92 published models the real compiler has mapped.

It has shapes, types, versions and what is constant, but no connections and no options. Connections are guessed: an
input comes from the tensor of its shape and type that nobody has read yet, else from the last one made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.edgetpu.rules import OpFacts, TensorFacts


def folder() -> Path:
    """The zoo's folder of Edge TPU files; skips where there is none."""
    zoo = os.environ.get("TENSORFLASH_MODEL_ZOO")
    if not zoo:
        pytest.skip("TENSORFLASH_MODEL_ZOO names no folder of published models")
    found = Path(zoo) / "edgetpu"
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


def models() -> list[dict[str, Any]]:
    return json.loads((folder() / "mapping_ground_truth.json").read_text())


def op_facts(model: dict[str, Any]) -> list[OpFacts]:
    """The ops of a model as the rules see them."""
    made: list[tuple[int, str, tuple[int, ...]]] = []
    read: set[int] = set()
    inputs_of_model: dict[tuple[str, tuple[int, ...]], int] = {}
    next_identity = 0
    ops = []
    for index, op in enumerate(model["ops"]):
        inputs = []
        taken: set[int] = set()
        for dtype, shape, constant in op["inputs"]:
            key = dtype.lower(), tuple(shape)
            if constant:
                next_identity += 1
                inputs.append(TensorFacts(next_identity, key[1], key[0], True))
                continue
            fitting = [i for i, t, s in reversed(made) if (t, s) == key and i not in taken]
            fresh = [i for i in fitting if i not in read]
            if fitting:
                identity = (fresh or fitting)[0]
            else:
                if key not in inputs_of_model:
                    next_identity += 1
                    inputs_of_model[key] = next_identity
                identity = inputs_of_model[key]
            taken.add(identity)
            inputs.append(TensorFacts(identity, key[1], key[0], False))
        read |= taken
        outputs = []
        for dtype, shape in op["outputs"]:
            next_identity += 1
            made.append((next_identity, dtype.lower(), tuple(shape)))
            outputs.append(TensorFacts(next_identity, tuple(shape), dtype.lower(), False))
        ops.append(OpFacts(index, op["op"], op["version"], tuple(inputs), tuple(outputs)))
    return ops
