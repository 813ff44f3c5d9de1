"""A small model with all three kinds of state: SVDF, LSTM, and a variable that CALL_ONCE initializes."""

from __future__ import annotations

import numpy as np

from tests.tflite_builder import TfliteBuilder


def stateful() -> bytes:
    """int8 [1, 8] in, [1, 4] out: SVDF, LSTM of one step, and the sum of its answer and the one before."""
    random = np.random.default_rng(11)
    model = TfliteBuilder("a model with state")

    def weights(*shape: int, dtype: str = "int8", most: int = 127, scale: float) -> int:
        return model.constant(random.integers(-most, most + 1, shape).astype(dtype), scale=scale)

    answers = {"scale": 1 / 128, "zero_point": 5}
    model.op("CALL_ONCE", [], [], init_subgraph_index=1)
    before = model.tensor((), dtype="resource", name="before")
    model.op("VAR_HANDLE", [], [before], container="", shared_name="before")
    last = model.tensor((1, 4), **answers, name="last")
    model.op("READ_VARIABLE", [before], [last])

    x = model.input((1, 8), scale=0.02, zero_point=-3, name="frame")
    memory = model.tensor((1, 30), dtype="int16", scale=0.001, is_variable=True, name="memory")
    filtered = model.tensor((1, 6), scale=0.03, zero_point=4)
    operands = [weights(6, 8, scale=0.01), weights(6, 5, dtype="int16", most=20_000, scale=2e-5)]
    model.op("SVDF", [x, *operands, weights(6, dtype="int32", most=9_000, scale=2e-8), memory], [filtered], rank=1)

    step = model.tensor((1, 1, 6), scale=0.03, zero_point=4)
    model.op("RESHAPE", [filtered], [step], new_shape=np.array((1, 1, 6), np.int32))
    gates = [weights(4, depth, scale=0.01) for depth in (6, 6, 6, 6, 4, 4, 4, 4)]
    biases = [weights(4, dtype="int32", most=2_000, scale=0.0003) for _ in range(4)]
    hidden = model.tensor((1, 4), **answers, is_variable=True, name="hidden")
    cell = model.tensor((1, 4), dtype="int16", scale=2.0**-12, is_variable=True, name="cell")
    told = model.tensor((1, 1, 4), **answers)
    model.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [step, *gates, -1, -1, -1, *biases, -1, -1, hidden, cell, -1, -1, -1, -1],
        [told],
        fused_activation_function="TANH",
        cell_clip=10.0,
    )
    answer = model.tensor((1, 4), **answers)
    model.op("RESHAPE", [told], [answer], new_shape=np.array((1, 4), np.int32))
    model.op("ADD", [answer, last], [model.output((1, 4), scale=1 / 64, zero_point=0, name="sum")])
    model.op("ASSIGN_VARIABLE", [before, answer], [])

    first = model.subgraph()
    handle = first.tensor((), dtype="resource")
    first.op("VAR_HANDLE", [], [handle], container="", shared_name="before")
    first.op("ASSIGN_VARIABLE", [handle, first.constant(np.array([[5, 60, -70, 127]], np.int8), **answers)], [])
    return model.build()
