"""One wrong bit: in the generated C, and the same one in the .tflite file, for which TFLM knows what it changes."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline import tflite
from pipeline.aot import PORTABLE
from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.model import Array, Image
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from tests.kernels.batch import Case, tflm_outputs
from tests.kernels.test_published_models import every_layer_an_output

_ARRAY = re.compile(r"^_Alignas\(\d\) const (\w+) (\w+)\[(\d+)\] = \{\n(.*?)\n\};$", re.MULTILINE | re.DOTALL)
_DTYPES = {"int8_t": "int8", "int16_t": "int16", "int32_t": "int32"}


@dataclass(frozen=True)
class Mutation:
    """A bit of one element of an array in <model>_constants.c.

    tensors: those of the file that hold the same bytes, or are the bias that this array was made of.
    """

    array: str
    element: int
    bit: int
    tensors: tuple[int, ...]


def draw(graph: Graph, constants: str, count: int, seed: int) -> list[Mutation]:
    """Different bits of weights and biases; each array is as likely as any other, however small."""
    random = np.random.default_rng(seed)
    arrays = _weights(graph, constants)
    names = sorted(arrays)
    found: dict[Mutation, None] = {}
    while len(found) < count:
        name = names[random.integers(len(names))]
        tensor = graph.tensor(arrays[name][0])
        bits = 8 * np.dtype(tensor.dtype).itemsize
        mutation = Mutation(name, int(random.integers(tensor.elements)), int(random.integers(bits)), arrays[name])
        found[mutation] = None
    return list(found)


def _weights(graph: Graph, constants: str) -> dict[str, tuple[int, ...]]:
    """Array of weights in C -> the tensors whose bytes it holds: equal ones share an array, whatever op they are of."""
    owners: dict[tuple[str, bytes], set[int]] = {}
    others: set[tuple[str, bytes]] = set()
    for step in lower(graph, PORTABLE):
        known = {i for i in step.op.inputs if i >= 0 and graph.tensor(i).is_constant}
        for constant in step.constants:
            key = str(constant.data.dtype), constant.data.tobytes()
            if constant.role == "bias" and _is_folded(graph, step):
                owners.setdefault(key, set()).add(step.op.inputs[2])
            elif constant.is_weight:
                owners.setdefault(key, set()).update(i for i in known if _content(graph, i) == key)
            else:
                others.add(key)
        for index in known.intersection(step.inputs):
            owners.setdefault(_content(graph, index), set()).add(index)
    arrays, keys = {}, set()
    for found in _ARRAY.finditer(constants):
        dtype = _DTYPES[found[1]]
        key = dtype, np.array([_number(text) for text in _items(found[4])], dtype).tobytes()
        if key in owners and key not in others:
            arrays[found[2]] = tuple(sorted(owners[key]))
            keys.add(key)
    missing = set(owners) - others - keys
    if missing or not all(owners.values()):
        raise ValueError(f"{len(missing)} arrays of weights are not in the generated C")
    return arrays


def _is_folded(graph: Graph, step: Step) -> bool:
    """Whether the bias in C is that of the file less the zero point times the sum of the weights."""
    return step.params.get("input_offset") == 0 and graph.tensor(step.op.inputs[0]).zero_point != 0


def _content(graph: Graph, index: int) -> tuple[str, bytes]:
    data = graph.tensor(index).data
    return ("", b"") if data is None else (str(data.dtype), data.tobytes())


def _items(body: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", body) if item]


def _number(text: str) -> int:
    return -(1 << 31) if text == "INT32_MIN" else int(text)


def in_c(constants: str, mutation: Mutation) -> str:
    """The C file with that one number changed."""
    found = next(match for match in _ARRAY.finditer(constants) if match[2] == mutation.array)
    dtype = np.dtype(_DTYPES[found[1]])
    item = list(re.finditer(r"[^,\s]+", found[4]))[mutation.element]
    changed = int(_flipped(np.array([_number(item[0])], dtype), replace(mutation, element=0))[0])
    text = "INT32_MIN" if changed == -(1 << 31) else str(changed)
    start = found.start(4)
    return constants[: start + item.start()] + text + constants[start + item.end() :]


def in_tflite(content: bytes, mutation: Mutation) -> bytes:
    """The .tflite file that computes what the C does with that one number changed.

    The same bit is changed in every buffer that holds it. Where the zero point is folded into the bias, the C's weights
    and bias are changed apart from each other: the file's bias takes up the difference.
    """
    graph = tflite.parse(content, Path("model.tflite"))
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tensors, buffers = model.subgraphs[0].tensors, model.buffers
    folded = [step for step in lower(graph, PORTABLE) if _is_folded(graph, step)]
    made_of = {step.op.inputs[2] for step in folded}
    for index in set(mutation.tensors) - made_of:
        buffers[tensors[index].buffer].data = _flipped(_data(graph, index), mutation).view(np.uint8)
    for step in folded:
        _, weights, bias = step.op.inputs
        values = _data(graph, bias)
        if bias in mutation.tensors:
            (array,) = (constant.data for constant in step.constants if constant.role == "bias")
            values += _flipped(array, mutation) - array
        elif weights in mutation.tensors:
            before = _data(graph, weights)
            difference = _flipped(before, mutation).astype(np.int32) - before
            zero_point = graph.tensor(step.op.inputs[0]).zero_point
            values += zero_point * difference.reshape(values.size, -1).sum(axis=1, dtype=np.int32)
        tensors[bias].buffer = len(buffers)
        buffers.append(schema.BufferT(values.view(np.uint8)))
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _data(graph: Graph, index: int) -> Array:
    """A copy of a constant's codes, in one dimension."""
    data = graph.tensor(index).data
    assert data is not None
    return data.reshape(-1).copy()


def _flipped(codes: Array, mutation: Mutation) -> Array:
    """A copy in which one bit is wrong."""
    wrong = codes.reshape(-1).copy()
    unsigned = wrong.view(f"u{wrong.dtype.itemsize}")
    unsigned[mutation.element] ^= unsigned.dtype.type(1 << mutation.bit)
    return wrong


def tflm_layers(contents: Sequence[bytes], given: Vectors, folder: Path) -> list[list[tuple[bytes, ...]]]:
    """What TFLM computes: for each model and sample the bytes of every op's output, in the file's order."""
    samples = tuple(given.sample(index) for index in range(given.samples))
    cases = [Case(f"model_{n}", every_layer_an_output(content), samples) for n, content in enumerate(contents)]
    return tflm_outputs(cases, folder)


def first_difference(
    graph: Graph, right: Sequence[tuple[bytes, ...]], wrong: Sequence[tuple[bytes, ...]]
) -> tuple[int, int] | None:
    """(sample, op index) of the first layer that differs on the first sample that has one; None: all are equal."""
    ops = [op.index for op in graph.ops for _ in op.outputs]
    for sample, (a, b) in enumerate(zip(right, wrong, strict=True)):
        for op, one, other in zip(ops, a, b, strict=True):
            if one != other:
                return sample, op
    return None


class NativeCompiler:
    """Builds a project for this computer with gcc alone, and compiles only what has changed: fast enough for hundreds.

    It wraps around where a sum overflows, as can be when the high bit of a bias is wrong.
    """

    _COMMAND = ("gcc", "-std=c11", "-O1", "-fwrapv", "-ffp-contract=off")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: dict[str, Path] = {}

    def build(self, project: Path) -> dict[str, Image]:
        """The images of the environments verify and trace; they take the place of those that were made before."""
        headers = sorted(project.rglob("*.h"))
        sources = [path for path in sorted(project.rglob("*.c")) if path.name != "app_main.c"]
        known = hashlib.sha256(b"".join(path.read_bytes() for path in headers))
        folders = sorted({f"-I{path.parent}" for path in headers})
        images = {}
        for name, options in (("verify", ()), ("trace", ("-DTFLASH_TRACE",))):
            objects = [self._compile(path, known, [*options, *folders]) for path in sources]
            self._run(*map(str, objects), "-o", str(self._folder / name))
            images[name] = Image(name, self._folder / name, "", 0, 0)
        return images

    def _compile(self, source: Path, headers: hashlib._Hash, options: Sequence[str]) -> Path:
        key = headers.copy()
        key.update(" ".join(options).encode() + source.read_bytes())
        if key.hexdigest() not in self._objects:
            out = self._folder / f"{len(self._objects)}.o"
            self._run("-c", *options, str(source), "-o", str(out))
            self._objects[key.hexdigest()] = out
        return self._objects[key.hexdigest()]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([*self._COMMAND, *arguments], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise AssertionError(done.stderr[-3000:])
