"""Small .tflite files whose parts are referred to again and again: a reader that follows each reference never ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flatbuffers
import numpy as np

_RESHAPE, _CUSTOM, _INT8, _RESHAPE_OPTIONS = 22, 32, 9, 17  # of the TFLite schema


def many_scales(tensors: int = 5_000, scales: int = 5_000) -> bytes:
    """All tensors share one quantization, each of its channels with a scale."""

    def parts(b: flatbuffers.Builder) -> tuple[list[int], list[int]]:
        values = b.CreateNumpyVector(np.ones(scales, np.float32))
        quantization = _table(b, {2: values})
        return [_tensor(b, _ints(b, [scales]), {4: quantization})] * tensors, []

    return _file(parts)


def many_signatures(tensors: int = 5_000, dimensions: int = 5_000) -> bytes:
    """All tensors share one long shape_signature."""

    def parts(b: flatbuffers.Builder) -> tuple[list[int], list[int]]:
        return [_tensor(b, _ints(b, [1]), {7: _ints(b, [1] * dimensions)})] * tensors, []

    return _file(parts)


def many_names(tensors: int = 5_000, length: int = 20_000) -> bytes:
    """All tensors share one long name."""

    def parts(b: flatbuffers.Builder) -> tuple[list[int], list[int]]:
        return [_tensor(b, _ints(b, [1]), {3: b.CreateString("n" * length)})] * tensors, []

    return _file(parts)


def many_options(ops: int = 5_000, dimensions: int = 5_000) -> bytes:
    """All ops are RESHAPEs that share one long shape."""

    def parts(b: flatbuffers.Builder) -> tuple[list[int], list[int]]:
        options = _table(b, {0: _ints(b, [1] * dimensions)})
        return [_tensor(b, _ints(b, [1]), {})], [_table(b, {4: options}, {3: _RESHAPE_OPTIONS})] * ops

    return _file(parts, _RESHAPE)


def many_packages(options: bytes, ops: int = 2_000) -> bytes:
    """All ops are compiled for the Edge TPU and share one package."""

    def parts(b: flatbuffers.Builder) -> tuple[list[int], list[int]]:
        content = b.CreateNumpyVector(np.frombuffer(options, np.uint8))
        return [_tensor(b, _ints(b, [1]), {})], [_table(b, {5: content})] * ops

    return _file(parts, _CUSTOM, "edgetpu-custom-op")


def _file(
    parts: Callable[[flatbuffers.Builder], tuple[list[int], list[int]]], code: int = 0, custom_code: str = ""
) -> bytes:
    """A model around tensors and ops; the first tensor is both its input and its output."""
    b = flatbuffers.Builder(1 << 20)
    tensors, ops = parts(b)
    face = _ints(b, [0])
    subgraph = _table(b, {0: _references(b, tensors), 1: face, 2: face, 3: _references(b, ops)})
    name = {1: b.CreateString(custom_code)} if custom_code else {}
    codes = _references(b, [_table(b, name, {0: code})])
    buffers = _references(b, [_table(b, {})])
    b.Finish(_table(b, {1: codes, 2: _references(b, [subgraph]), 4: buffers}), b"TFL3")
    return bytes(b.Output())


def _tensor(b: flatbuffers.Builder, shape: int, references: dict[int, int]) -> int:
    return _table(b, {0: shape, **references}, {1: _INT8})


def _table(b: flatbuffers.Builder, references: dict[int, int], numbers: dict[int, int] | None = None) -> int:
    """A table of references and of numbers of one byte, by field."""
    b.StartObject(10)
    for slot, offset in references.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (numbers or {}).items():
        b.PrependInt8Slot(slot, value, 0)
    return int(b.EndObject())


def _references(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.array(values, np.int32)))
