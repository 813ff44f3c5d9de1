"""Whatever is a function of one code becomes one table of its 256 results; all bytes that are left are the same.

    lookups, RELU, RELU6 and QUANTIZE to int8, one after the other
    an op on two tensors that are functions of the same codes: x * LOGISTIC(x), which is swish, or x * x
    an op on two tensors of which one is a constant of one value: x + 3

The tensors in between exist no more; a `HiddenLayer` says so of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.aot.ops.elementwise import code_function
from pipeline.aot.ops.lookup import REASON, lookup_step
from pipeline.aot.ops.quantize import is_int8_rescale
from pipeline.aot.steps import Step
from pipeline.fixedpoint import Multiplier, requantize
from pipeline.model import Array, HiddenLayer
from pipeline.tflite import Graph

_ENOUGH_ELEMENTS = 256  # where no other step goes for it, a table pays with as many elements as it has itself
_CODES: Array = np.arange(-128, 128).astype(np.int8)


def join_tables(graph: Graph, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[HiddenLayer, ...]]:
    """The steps with one lookup for each function of one code, and the tensors that they therefore lack."""
    joined = _Joined(graph, steps)
    for step in steps:
        new: Step | None = step
        while new is not None:
            new = joined.one_table(new)
    return tuple(joined.steps), tuple(joined.hidden)


@dataclass(frozen=True, eq=False)
class _Function:
    """A step's results from those of its inputs, all int8 [256]; is_table: it costs a table already."""

    inputs: tuple[int, ...]
    of: Callable[[Sequence[Array]], Array]
    is_table: bool


class _Joined:
    def __init__(self, graph: Graph, steps: Sequence[Step]) -> None:
        self.graph = graph
        self.steps = list(steps)
        self.hidden: list[HiddenLayer] = []
        self.readers = Counter((*graph.outputs, *(index for step in steps for index in step.inputs)))
        self.producers = {step.outputs[0]: step for step in steps if len(step.outputs) == 1}

    def one_table(self, step: Step) -> Step | None:
        """A lookup instead of a step and of those before it that only it reads, or None where nothing is won."""
        function = _function(self.graph, step)
        if function is None:
            return None
        behind = [self.producers[i].inputs[0] for i in function.inputs if self.is_table(i)]
        for root in (*behind, *function.inputs):
            tables = [self.table(index, root) for index in function.inputs]
            if any(table is None for table in tables):
                continue
            through = {index for index in function.inputs if index != root}
            gone = [self.producers[i] for i in sorted(through) if self.readers[i] == step.inputs.count(i)]
            if gone or not (function.is_table or self.graph.tensor(root).elements < _ENOUGH_ELEMENTS):
                return self.replace(step, gone, root, function.of([table for table in tables if table is not None]))
        return None

    def is_table(self, index: int) -> bool:
        return index in self.producers and _table(self.producers[index]) is not None

    def table(self, index: int, root: int) -> Array | None:
        """A tensor as a function of the codes of another."""
        if index == root:
            return _CODES
        producer = self.producers.get(index)
        return None if producer is None or producer.inputs != (root,) else _table(producer)

    def replace(self, step: Step, gone: Sequence[Step], root: int, table: Array) -> Step:
        others = " and ".join(other.op.where() for other in gone)
        reason = f"one table for {others} as well" if gone else REASON
        source, output = (self.graph.tensor(index) for index in (root, step.outputs[0]))
        new = lookup_step(step.op, source, output, table, reason)
        for other in (step, *gone):
            self.readers.subtract(other.inputs)
        self.readers.update(new.inputs)
        self.steps[self.steps.index(step)] = self.producers[output.index] = new
        for other in gone:
            self.steps.remove(other)
            tensor = self.graph.tensor(other.outputs[0])
            why = f"{step.op.where()} has one table for both"
            self.hidden.append(HiddenLayer(other.op.index, other.op.name, tensor.index, tensor.name, why))
        return new


def _function(graph: Graph, step: Step) -> _Function | None:
    table = _table(step)
    if table is not None:
        return _Function(step.inputs, lambda inner: table[inner[0].astype(np.int64) + 128], is_table=True)
    of_two = code_function(graph, step.op)
    if of_two is None:
        return None
    operands = [graph.tensor(index) for index in step.op.inputs[:2]]
    values = [None if tensor.data is None else np.unique(tensor.data) for tensor in operands]
    varying = tuple(
        tensor.index
        for tensor, value in zip(operands, values, strict=True)
        if value is None and tensor.elements == graph.tensor(step.outputs[0]).elements
    )
    if not varying or len(varying) != sum(value is None or value.size > 1 for value in values):
        return None

    def of(inner: Sequence[Array]) -> Array:
        given = iter(inner)
        first, second = (next(given) if value is None else np.repeat(value, 256) for value in values)
        return np.array([of_two(int(a), int(b)) for a, b in zip(first, second, strict=True)], np.int8)

    return _Function(varying, of, is_table=False)


def _table(step: Step) -> Array | None:
    """The results of a step for codes -128 to 127, int8 [256]; None where it is no function of one code."""
    if step.kernel == "lookup_s8":
        return step.constants[0].data
    codes = range(-128, 128)
    if step.kernel == "relu6_s8":
        return np.clip(codes, _integer(step, "zero"), _integer(step, "six")).astype(np.int8)
    if step.kernel != "relu_s8" and not is_int8_rescale(step):
        return None
    multiplier = Multiplier(_integer(step, "multiplier"), _integer(step, "shift"))
    before, after = _integer(step, "input_offset"), _integer(step, "output_offset")
    results = [requantize(code + before, multiplier) + after for code in codes]
    return np.clip(results, after if step.kernel == "relu_s8" else -128, 127).astype(np.int8)


def _integer(step: Step, name: str) -> int:
    value = step.params[name]
    if not isinstance(value, int):
        raise ValueError(f"{step.kernel}: {name} is {value}")
    return value
