"""Operands that several ops have in common: constant integers, and tensors whose bytes are only moved."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.aot.steps import refuse
from pipeline.tflite import Graph, Op, Tensor


def constant_integers(
    graph: Graph, op: Op, position: int, what: str, dtypes: Sequence[str] = ("int32",)
) -> tuple[int, ...]:
    """The values of input `position`, named in messages in the plural: "axes"; empty for a constant of no elements.

    Raises:  UnsupportedError: it is absent, of another dtype, or computed.
    """
    if position >= len(op.inputs) or op.inputs[position] < 0:
        raise refuse(op, f"its {what} are missing.")
    tensor = graph.tensor(op.inputs[position])
    if tensor.dtype not in dtypes:
        raise refuse(op, f"its {what} ({tensor.name}) are {tensor.dtype}; {' or '.join(dtypes)} is needed.")
    if tensor.data is None and tensor.elements:
        raise refuse(op, f"its {what} ({tensor.name}) are computed; the aot kernel takes constants.")
    return () if tensor.data is None else tuple(int(value) for value in tensor.data.reshape(-1))


def moved(graph: Graph, op: Op, dtypes: Sequence[str], position: int = 0) -> Tensor:
    """Input `position` of an op that only moves bytes, checked to be of one of the dtypes, as are all outputs.

    Codes are moved whatever their scales are, as in TFLM.
    """
    if position >= len(op.inputs) or op.inputs[position] < 0 or not op.outputs:
        raise refuse(op, "an input and an output are needed.")
    source = graph.tensor(op.inputs[position])
    for output in (graph.tensor(index) for index in op.outputs):
        if source.dtype not in dtypes or source.dtype != output.dtype:
            needed = f"{' or '.join(dtypes)} is needed, by TFLM as well"
            raise refuse(op, f"{source.dtype} goes in and {output.dtype} comes out; {needed}.")
        if not output.elements or not source.elements:
            raise refuse(op, f"an input of {list(source.shape)} and an output of {list(output.shape)}.")
    return source


def expect_shape(op: Op, output: Tensor, expected: Sequence[int], given: str) -> None:
    """Refuse an output of another shape than follows from what is given, as in "an input of [2, 3] and axes [1]"."""
    if output.shape != tuple(expected):
        raise refuse(op, f"{given}; the output is {list(output.shape)}, {list(expected)} is needed.")


def axis_of(op: Op, axis: int, rank: int) -> int:
    """An axis counted from 0, of one that may be counted from the end."""
    if not -rank <= axis < rank:
        raise refuse(op, f"axis {axis} of {rank} dimensions.")
    return axis % rank
