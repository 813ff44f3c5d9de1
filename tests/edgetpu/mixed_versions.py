"""Models as a converter makes them, with what keeps ops off the Edge TPU and can be repaired."""

from __future__ import annotations

import numpy as np

from tests.tflite_builder import TfliteBuilder


def mixed_versions(*, share_first_code: bool = False) -> bytes:
    """An int8 network whose ADDs are all of version 4, because an int64 one behind them needs it.

    share_first_code: the shared operator code is the file's first, which operators name by leaving their field out.
    """
    random = np.random.default_rng(7)
    model = TfliteBuilder()
    x = model.input((1, 8, 8, 4), scale=0.05, zero_point=-3)
    codes: dict[tuple[str, int], int] = {}

    def op(name: str, inputs: list[int], outputs: list[int], version: int, **options: object) -> None:
        """All ops of one name and version share one operator code."""
        model.op(name, inputs, outputs, version, **options)
        code = codes.setdefault((name, version), model._ops[-1].opcodeIndex)
        if code != model._ops[-1].opcodeIndex:
            model._codes.pop()
            model._ops[-1].opcodeIndex = code

    def conv(source: int, channels: int) -> int:
        filters = random.integers(-90, 90, (4, 3, 3, channels), dtype=np.int8)
        w = model.constant(filters, scale=[0.01, 0.02, 0.015, 0.01], zero_point=0, axis=0)
        b = model.constant(random.integers(-900, 900, 4, dtype=np.int32), scale=[0.0005, 0.001, 0.00075, 0.0005])
        out = model.tensor((1, 8, 8, 4), scale=0.07, zero_point=5)
        op("CONV_2D", [source, w, b], [out], 3, padding="SAME", stride_h=1, stride_w=1)
        return out

    def add(left: int, right: int) -> int:
        out = model.tensor((1, 8, 8, 4), scale=0.09, zero_point=1)
        op("ADD", [left, right], [out], 4)
        return out

    value = x
    if share_first_code:
        value = add(x, x)
    first = conv(value, 4)
    second = add(first, conv(first, 4))
    third = add(second, conv(second, 4))
    real = model.tensor((1, 8, 8, 4), dtype="float32")
    op("DEQUANTIZE", [third], [real], 2)
    whole = model.tensor((1, 8, 8, 4), dtype="int64")
    op("CAST", [real], [whole], 1)
    total = model.output((1, 8, 8, 4), dtype="int64")
    op("ADD", [whole, whole], [total], 4)
    model.as_output(third)
    return model.build()


def dynamic_batch() -> bytes:
    """A network that flattens as Keras does with an open batch: the shape is computed from the input's."""
    random = np.random.default_rng(8)
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05, zero_point=2, shape_signature=(-1, 4, 4, 2))
    shape = model.tensor((4,), dtype="int32")
    model.op("SHAPE", [x], [shape], out_type=2)
    zero, one = (model.constant(np.array([n], np.int32)) for n in (0, 1))
    batch = model.tensor((), dtype="int32")
    model.op("STRIDED_SLICE", [shape, zero, one, one], [batch], shrink_axis_mask=1)
    rest = model.constant(np.array(32, np.int32))
    wanted = model.tensor((2,), dtype="int32")
    model.op("PACK", [batch, rest], [wanted], values_count=2, axis=0)
    flat = model.tensor((1, 32), scale=0.05, zero_point=2, shape_signature=(-1, 32))
    model.op("RESHAPE", [x, wanted], [flat])
    w = model.constant(random.integers(-90, 90, (5, 32), dtype=np.int8), scale=0.01)
    b = model.constant(random.integers(-900, 900, 5, dtype=np.int32), scale=0.0005)
    y = model.output((1, 5), scale=0.1, zero_point=-7, shape_signature=(-1, 5))
    model.op("FULLY_CONNECTED", [flat, w, b], [y], 4)
    return model.build()
