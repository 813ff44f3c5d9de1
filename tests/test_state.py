"""Subgraphs that CALL_ONCE names are read safely, and variables get their first value from them, or are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import audit, tflite
from pipeline.aot import export
from pipeline.errors import ModelError, UnsupportedError
from pipeline.state import is_stateful, variables
from tests.stateful_model import stateful
from tests.tflite_builder import TfliteBuilder

Change = Callable[[TfliteBuilder, dict[str, int]], None]


def counter(
    *, first: Change | None = None, after_read: Change | None = None, init_subgraph: int = 1, assign: bool = True
) -> TfliteBuilder:
    """x + variable -> variable -> output; CALL_ONCE gives the variable 1, 2, 3, unless `first` says what it does."""
    model = TfliteBuilder()
    quantized = {"scale": 0.1, "zero_point": 7}
    known: dict[str, int] = {}
    model.op("CALL_ONCE", [], [], init_subgraph_index=init_subgraph)
    known["handle"] = model.tensor((), dtype="resource")
    model.op("VAR_HANDLE", [], [known["handle"]], container="box", shared_name="count")
    known["x"], known["before"] = model.input((3,), **quantized), model.tensor((3,), **quantized)
    model.op("READ_VARIABLE", [known["handle"]], [known["before"]])
    if after_read is not None:
        after_read(model, known)
    known["sum"] = model.output((3,), **quantized)
    model.op("ADD", [known["x"], known["before"]], [known["sum"]])
    if assign:
        model.op("ASSIGN_VARIABLE", [known["handle"], known["sum"]], [])
    further = model.subgraph()
    inner = {"handle": further.tensor((), dtype="resource")}
    further.op("VAR_HANDLE", [], [inner["handle"]], container="box", shared_name="count")
    if first is None:
        value = further.constant(np.array([1, 2, 3], np.int8), **quantized)
        further.op("ASSIGN_VARIABLE", [inner["handle"], value], [])
    else:
        first(further, inner)
    return model


def test_a_variable_begins_with_what_call_once_assigns() -> None:
    graph = counter().graph()
    audit.require_int8(graph)
    assert is_stateful(graph) and len(graph.initializers[1].ops) == 2
    (variable,) = variables(graph).values()
    assert (variable.name, variable.initial.tolist(), variable.initial.dtype) == ("box/count", [1, 2, 3], np.int8)


def test_a_variable_that_nothing_initializes_begins_with_its_zero_point() -> None:
    graph = counter(first=lambda model, known: None).graph()
    assert [v.initial.tolist() for v in variables(graph).values()] == [[7, 7, 7]]


def test_a_model_without_state_is_told_apart() -> None:
    model = TfliteBuilder()
    model.op("RELU", [model.input((3,), scale=0.1)], [model.output((3,), scale=0.1)])
    assert not is_stateful(model.graph()) and is_stateful(tflite.parse(stateful(), Path("m.tflite")))


def assigned(data: np.ndarray) -> Change:
    def first(model: TfliteBuilder, known: dict[str, int]) -> None:
        model.op("ASSIGN_VARIABLE", [known["handle"], model.constant(data, scale=0.1, zero_point=7)], [])

    return first


def computed(model: TfliteBuilder, known: dict[str, int]) -> None:
    one = model.constant(np.array([1, 2, 3], np.int8), scale=0.1)
    made = model.tensor((3,), scale=0.1)
    model.op("ADD", [one, one], [made])
    model.op("ASSIGN_VARIABLE", [known["handle"], made], [])


def again(model: TfliteBuilder, known: dict[str, int]) -> None:
    model.op("CALL_ONCE", [], [], init_subgraph_index=1)


def read_as(shape: tuple[int, ...], dtype: str) -> Change:
    def change(model: TfliteBuilder, known: dict[str, int]) -> None:
        model.op("READ_VARIABLE", [known["handle"]], [model.output(shape, dtype=dtype, scale=0.1)])

    return change


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (counter(first=computed), "op 0 (CALL_ONCE): it runs ADD; a constant for each variable"),
        (counter(first=again), "op 0 (CALL_ONCE): it runs CALL_ONCE; a constant"),
        (counter(first=assigned(np.zeros(4, np.int8))), "it makes box/count int8 [4]; int8 [3] is read"),
        (counter(first=assigned(np.zeros(3, np.int16))), "box/count int16 [3]; int8 [3] is read"),
        (counter(after_read=again), "op 3 (CALL_ONCE): the variable box/count is used before this op"),
        (
            counter(after_read=read_as((3, 1), "int8")),
            "op 3 (READ_VARIABLE): the variable box/count is int8 [3] elsewh",
        ),
        (counter(after_read=read_as((3,), "float32")), "op 3 (READ_VARIABLE): t3 is float32; variables of integers"),
        (counter(first=lambda m, k: None, assign=False), "reads the variable box/count, which nothing assigns"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_uses_of_variables_are_refused(model: TfliteBuilder, message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        export(model.graph())


@pytest.mark.parametrize("number", [0, 2, -1, 1 << 30])
def test_a_subgraph_that_is_not_there_or_the_main_one_is_refused(number: int) -> None:
    with pytest.raises(ModelError, match=rf"CALL_ONCE\) names subgraph {number}; 1 to 1 are there"):
        counter(init_subgraph=number).graph()


def test_a_chain_of_subgraphs_is_not_followed() -> None:
    """CALL_ONCE in a subgraph names itself: it is read once, and refused."""
    graph = counter(first=again).graph()
    assert list(graph.initializers) == [1]
    with pytest.raises(UnsupportedError, match="it runs CALL_ONCE"):
        variables(graph)


def test_a_subgraph_that_nothing_calls_is_refused() -> None:
    model = counter()
    model.subgraph()
    with pytest.raises(UnsupportedError, match="3 subgraphs; one, and those that CALL_ONCE runs, are supported"):
        audit.require_int8(model.graph())


def test_float_variables_are_refused_with_what_to_do() -> None:
    model = TfliteBuilder()
    handle, x = model.tensor((), dtype="resource"), model.input((3,), scale=0.1)
    model.op("VAR_HANDLE", [], [handle], container="", shared_name="v")
    real, y = model.tensor((3,), dtype="float32"), model.output((3,), scale=0.1)
    model.op("DEQUANTIZE", [x], [real])
    model.op("ASSIGN_VARIABLE", [handle, real], [])
    model.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="its variables are float") as caught:
        audit.require_int8(model.graph())
    assert "_experimental_variable_quantization" in str(caught.value.hint)


def test_a_damaged_file_with_subgraphs_is_refused_or_read_but_never_crashes() -> None:
    content = stateful()
    for number, position in enumerate(range(0, len(content), 61 if os.environ.get("TENSORFLASH_FULL") != "1" else 3)):
        value = (0, 255, content[position] ^ (1 << number % 8))[number % 3]
        damaged = content[:position] + bytes([value]) + content[position + 1 :]
        try:
            graph = tflite.parse(damaged, Path("damaged.tflite"))
            audit.require_int8(graph)
            export(graph)
        except (ModelError, UnsupportedError):
            pass
