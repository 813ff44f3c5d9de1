"""A compiled .tflite file becomes plain values: what its Edge TPU packages hold, without the hardware or its library.

The custom op `edgetpu-custom-op` carries a FlexBuffer map; its key "4" is a FlatBuffer with the identifier DWN1,
described by executable/executable.fbs of libedgetpu: executables, one that runs and one that fills the parameter cache.
The file is untrusted: every offset is checked, and counts that make no sense are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import tflite
from pipeline.edgetpu import flatbuffer
from pipeline.edgetpu.flatbuffer import Damaged, Table, Vector
from pipeline.edgetpu.rules import CUSTOM_OP
from pipeline.errors import ModelError
from pipeline.tflite import Graph

# DataType of executable.fbs: bytes of one element, and whether codes are signed.
_TYPES = {0: ("uint8", 1), 1: ("uint16", 2), 2: ("int32", 4), 3: ("bfloat16", 2), 4: ("float16", 2), 5: ("float32", 4),
          8: ("int8", 1), 9: ("int16", 2)}  # fmt: skip
_KINDS = {0: "stand-alone", 1: "parameter-caching", 2: "execution-only"}

MAX_EXECUTABLES = 64
MAX_LAYERS = 1024
MAX_CHUNKS = 65536

# Field numbers of executable.fbs; a union takes two.
_PACKAGE = {"runtime": 0, "executables": 1, "compiler": 4, "chips": 6}
_EXECUTABLE = {"batch": 3, "scratch": 4, "instructions": 5, "parameters": 6, "hints": 7, "inputs": 8, "outputs": 9,
               "chip": 10, "cycles": 11, "narrow": 12, "type": 13, "token": 14, "dram": 15, "cycles64": 16}  # fmt: skip
_LAYER = {"name": 0, "bytes": 1, "y": 2, "x": 3, "z": 4, "numerics": 5, "type": 6, "repeats": 9}


@dataclass(frozen=True)
class Layer:
    """An input or output of an executable. shape is (y, x, z); bytes are with padding and for all its repeats.

    zero_point is as the package stores it: for int8 tensors the .tflite file's plus 128.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: str
    bytes: int
    scale: float
    zero_point: int
    signed: bool


@dataclass(frozen=True)
class Executable:
    """One program for the chip. Figures are bytes; parameters of an execution-only one are streamed on each run."""

    kind: str
    chip: str
    batch: int
    scratch_bytes: int
    instruction_bytes: int
    parameter_bytes: int
    token: int
    deterministic: bool
    estimated_cycles: int
    inputs: tuple[Layer, ...] = ()
    outputs: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Package:
    """The contents of one custom op."""

    op_index: int
    runtime_version: int
    compiler: str
    executables: tuple[Executable, ...]

    @property
    def runs(self) -> Executable:
        """The executable that computes."""
        return next(e for e in self.executables if e.kind != _KINDS[1])

    @property
    def cached_bytes(self) -> int:
        """Parameters that are loaded once and stay in the chip's memory."""
        return sum(e.parameter_bytes for e in self.executables if e.kind == _KINDS[1])

    @property
    def streamed_bytes(self) -> int:
        """Parameters that are sent for each inference."""
        return self.runs.parameter_bytes


@dataclass(frozen=True)
class CompiledModel:
    """A .tflite file with at least one package in it."""

    graph: Graph
    packages: tuple[Package, ...] = field(default_factory=tuple)


def read(path: Path) -> CompiledModel:
    """Read a compiled .tflite file.

    Raises:  ModelError: it is missing, damaged, or not compiled for the Edge TPU.
    """
    graph = tflite.read(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from error
    return parse(content, graph)


def parse(content: bytes, graph: Graph) -> CompiledModel:
    """The packages in the bytes that a graph was parsed from."""
    compiled = [op.index for op in graph.ops if op.custom_code == CUSTOM_OP]
    if not compiled:
        raise ModelError(
            f"{graph.path}: nothing in it is compiled for the Edge TPU: no '{CUSTOM_OP}' among {len(graph.ops)} ops.",
            hint="compile it: tensorflash edgetpu compile. A file that the compiler wrote without this op is a failure "
            "that looks like a success: tensorflash edgetpu check says why nothing was mapped.",
        )
    try:
        model = Table.root(content, b"TFL3")
        subgraph = next(model.vector(2, 4).tables(1 << 20))
        operators = list(subgraph.vector(3, 4).tables(1 << 22))
        options = [operators[i].vector(5, 1) for i in compiled]
        _require_apart(options, len(content), "packages")
        return CompiledModel(
            graph, tuple(parse_package(vector.bytes(), i) for vector, i in zip(options, compiled, strict=True))
        )
    except (Damaged, StopIteration) as error:
        raise ModelError(
            f"{graph.path}: the Edge TPU package in it is damaged: {error}.", hint="compile the model again."
        ) from error


def parse_package(options: bytes, op_index: int = 0) -> Package:
    """The package in the custom options of an op.  Raises:  Damaged: anything in it contradicts itself."""
    package = Table.root(flatbuffer.flex_bytes(options, b"4"), b"DWN1")
    if package.field(_PACKAGE["chips"]):
        raise Damaged("it is for several chips, which no Coral device has")
    serialized = package.vector(_PACKAGE["executables"], 1).bytes()
    entries = Table.at(serialized, flatbuffer.follow(serialized, 0)).vector(0, 4).strings(MAX_EXECUTABLES)
    _require_apart(entries, len(serialized), "executables")
    executables = tuple(_executable(Table.at(e, flatbuffer.follow(e, 0))) for e in (v.bytes() for v in entries))
    if not any(e.kind != _KINDS[1] for e in executables):
        raise Damaged("it has no executable that computes")
    runtime = package.integer(_PACKAGE["runtime"])
    if not 0 <= runtime < 1000:
        raise Damaged(f"it asks for runtime version {runtime}")
    return Package(op_index, runtime, package.text(_PACKAGE["compiler"]), executables)


def _require_apart(parts: Sequence[Vector], size: int, what: str) -> None:
    """Refuse parts that share bytes: reading the same ones over and over would take forever."""
    if sum(part.count for part in parts) > size:
        raise Damaged(f"{len(parts):,} {what} that lie in each other")


def _executable(table: Table) -> Executable:
    kind = table.integer(_EXECUTABLE["type"], "h")
    if kind not in _KINDS:
        raise Damaged(f"an executable of kind {kind}")
    hints = table.table(_EXECUTABLE["hints"])
    scratch = table.integer(_EXECUTABLE["scratch"])
    if scratch < 0:
        raise Damaged(f"{scratch} bytes of scratch memory")
    return Executable(
        kind=_KINDS[kind],
        chip=table.text(_EXECUTABLE["chip"]),
        batch=table.integer(_EXECUTABLE["batch"]),
        scratch_bytes=scratch,
        instruction_bytes=sum(
            chunk.vector(0, 1).count for chunk in table.vector(_EXECUTABLE["instructions"], 4).tables(MAX_CHUNKS)
        ),
        parameter_bytes=table.vector(_EXECUTABLE["parameters"], 1).count,
        token=table.integer(_EXECUTABLE["token"], "Q"),
        deterministic=hints is not None and bool(hints.integer(1, "B")),
        estimated_cycles=table.integer(_EXECUTABLE["cycles64"], "q") or table.integer(_EXECUTABLE["cycles"]),
        inputs=tuple(_layer(layer) for layer in table.vector(_EXECUTABLE["inputs"], 4).tables(MAX_LAYERS)),
        outputs=tuple(_layer(layer) for layer in table.vector(_EXECUTABLE["outputs"], 4).tables(MAX_LAYERS)),
    )


def _layer(table: Table) -> Layer:
    code = table.integer(_LAYER["type"], "h")
    if code not in _TYPES:
        raise Damaged(f"a layer of data type {code}")
    y, x, z, size, repeats = (
        table.integer(_LAYER[key], default=1 if key == "repeats" else 0) for key in ("y", "x", "z", "bytes", "repeats")
    )
    if min(y, x, z, size, repeats) < 0 or y * x * z * _TYPES[code][1] > max(size, 0) * max(repeats, 1):
        raise Damaged(f"a layer of {y} x {x} x {z} elements in {size} bytes")
    numerics = table.table(_LAYER["numerics"])
    return Layer(
        name=table.text(_LAYER["name"]),
        shape=(y, x, z),
        dtype=_TYPES[code][0],
        bytes=size * repeats,
        scale=float(numerics.number(1, "f")) if numerics else 0.0,
        zero_point=numerics.integer(0) if numerics else 0,
        signed=code >= 8,
    )
