"""Edge TPU packages made for tests: laid out as the compiler does, with instructions and parameters of zeros.

They are stand-ins: no chip could run them. The real ones of the model zoo are read as well, where they are to be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from pipeline.edgetpu.rules import CUSTOM_OP
from tests.tflite_builder import TfliteBuilder


@dataclass(frozen=True)
class LayerSpec:
    name: str = "input"
    shape: tuple[int, int, int] = (8, 8, 3)
    size_bytes: int | None = None
    scale: float = 0.0078125
    zero_point: int = 128
    data_type: int = 0
    repeats: int = 1


@dataclass(frozen=True)
class ExecutableSpec:
    kind: int = 0
    scratch: int = 0
    instructions: tuple[int, ...] = (64,)
    parameters: int = 0
    deterministic: bool = True
    inputs: Sequence[LayerSpec] = field(default_factory=lambda: (LayerSpec(),))
    outputs: Sequence[LayerSpec] = field(default_factory=lambda: (LayerSpec("output", (1, 1, 10)),))
    chip: str = "beagle"


def _offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _layer(builder: flatbuffers.Builder, spec: LayerSpec) -> int:
    name = builder.CreateString(spec.name)
    builder.StartObject(2)
    builder.PrependInt32Slot(0, spec.zero_point, 0)
    builder.PrependFloat32Slot(1, spec.scale, 0.0)
    numerics = builder.EndObject()
    y, x, z = spec.shape
    builder.StartObject(12)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependInt32Slot(1, y * x * z if spec.size_bytes is None else spec.size_bytes, 0)
    for slot, size in ((2, y), (3, x), (4, z)):
        builder.PrependInt32Slot(slot, size, 0)
    builder.PrependUOffsetTRelativeSlot(5, numerics, 0)
    builder.PrependInt16Slot(6, spec.data_type, 0)
    builder.PrependInt32Slot(9, spec.repeats, 1)
    return builder.EndObject()


def executable(spec: ExecutableSpec) -> bytes:
    """One executable, a FlatBuffer of its own."""
    builder = flatbuffers.Builder(1024)
    chunks = []
    for size in spec.instructions:
        bits = builder.CreateNumpyVector(np.zeros(size, np.uint8))
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, bits, 0)
        chunks.append(builder.EndObject())
    instructions = _offsets(builder, chunks)
    parameters = builder.CreateNumpyVector(np.zeros(spec.parameters, np.uint8))
    inputs, outputs = (_offsets(builder, [_layer(builder, s) for s in specs]) for specs in (spec.inputs, spec.outputs))
    builder.StartObject(2)
    builder.PrependBoolSlot(1, spec.deterministic, False)
    hints = builder.EndObject()
    chip = builder.CreateString(spec.chip)
    builder.StartObject(17)
    builder.PrependInt32Slot(3, 1, 0)
    builder.PrependInt32Slot(4, spec.scratch, 0)
    for slot, offset in ((5, instructions), (6, parameters), (7, hints), (8, inputs), (9, outputs), (10, chip)):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.PrependInt16Slot(13, spec.kind, 0)
    builder.PrependUint64Slot(14, 0xC0FFEE, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def options(specs: Sequence[ExecutableSpec], runtime_version: int = 13, compiler: str = "cl/343520747") -> bytes:
    """The custom options of an edgetpu-custom-op."""
    builder = flatbuffers.Builder(1024)
    entries = []
    for spec in specs:
        content = np.frombuffer(executable(spec), np.uint8)
        entries.append(builder.CreateNumpyVector(content))  # a string and a vector of bytes are read alike
    vector = _offsets(builder, entries)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    multi = np.frombuffer(bytes(builder.Output()), np.uint8)

    builder = flatbuffers.Builder(1024)
    serialized = builder.CreateNumpyVector(multi)
    text = builder.CreateString(compiler)
    builder.StartObject(8)
    builder.PrependInt32Slot(0, runtime_version, 0)
    builder.PrependUOffsetTRelativeSlot(1, serialized, 0)
    builder.PrependUOffsetTRelativeSlot(4, text, 0)
    builder.Finish(builder.EndObject(), b"DWN1")
    package = bytes(builder.Output())

    flex = flexbuffers.Builder()
    with flex.Map():
        flex.Key("1")
        flex.Int(0)
        flex.Key("4")
        flex.Blob(package)
        flex.Key("5")
        flex.Int(-1)
    return bytes(flex.Finish())


CACHED = (
    ExecutableSpec(kind=2, instructions=(1200, 800), inputs=(LayerSpec(),)),
    ExecutableSpec(kind=1, instructions=(96,), parameters=4096, inputs=(), outputs=()),
)


def compiled_model(content: bytes | None = None, *, with_cpu_op: bool = False) -> bytes:
    """A .tflite file as the compiler writes it, around custom options (default: a cached package)."""
    model = TfliteBuilder()
    x = model.input((1, 8, 8, 3), dtype="uint8", scale=0.0078125, zero_point=128)
    if with_cpu_op:
        y = model.tensor((1, 10), dtype="uint8", scale=0.1)
        best = model.output((1,), dtype="int64")
    else:
        y = model.output((1, 10), dtype="uint8", scale=0.1)
    model.op(CUSTOM_OP, [x], [y])
    model._ops[-1].customOptions = np.frombuffer(content if content is not None else options(CACHED), np.uint8)
    model._ops[-1].customOptionsFormat = schema.CustomOptionsFormat.FLEXBUFFERS
    if with_cpu_op:
        model.op("ARG_MAX", [y, model.constant(np.array(1, np.int32))], [best])
    return model.build()
