"""What SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM share: constants without a zero point, and variable tensors as state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.aot.steps import State, refuse
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor


def constant(graph: Graph, op: Op, position: int, what: str, shape: Sequence[int], dtypes: Sequence[str]) -> Tensor:
    """Input `position`, checked to be a constant of this shape, one of these dtypes, one scale and no zero point."""
    if position >= len(op.inputs) or op.inputs[position] < 0:
        raise refuse(op, f"it has no {what}.")
    tensor = graph.tensor(op.inputs[position])
    if tensor.data is None or tensor.dtype not in dtypes:
        raise refuse(
            op,
            f"its {what} ({tensor.name}) are computed or {tensor.dtype}; a constant {' or '.join(dtypes)} is needed.",
        )
    if tensor.shape != tuple(shape) or not tensor.elements:
        raise refuse(op, f"its {what} ({tensor.name}) have shape {list(tensor.shape)}; {list(shape)} is needed.")
    if tensor.scales.size != 1 or not tensor.scale > 0 or tensor.zero_point != 0:
        raise refuse(op, f"its {what} ({tensor.name}) need one positive scale and zero point 0.")
    return tensor


def codes(tensor: Tensor) -> Array:
    """The value of a constant."""
    if tensor.data is None:
        raise ValueError("the constant was not checked")
    return tensor.data


def variable(graph: Graph, op: Op, position: int, elements: int, dtype: str) -> Tensor:
    """Input `position`, checked to be a quantized variable tensor of this size and dtype."""
    tensor = graph.tensor(op.inputs[position]) if op.inputs[position] >= 0 else None
    if tensor is None or not tensor.is_variable or tensor.is_constant:
        raise refuse(op, f"input {position} is no variable tensor; its state is kept there.")
    if tensor.dtype != dtype or tensor.elements != elements:
        raise refuse(
            op,
            f"its state ({tensor.name}) is {tensor.dtype}, {tensor.elements} elements; {dtype}, {elements} are needed.",
        )
    limits = np.iinfo(dtype)
    if tensor.scales.size != 1 or not tensor.scale > 0 or not limits.min <= tensor.zero_point <= limits.max:
        raise refuse(op, f"its state ({tensor.name}) needs one positive scale and a zero point in {dtype}.")
    if dtype != "int8" and tensor.zero_point != 0:
        raise refuse(op, f"its state ({tensor.name}) has zero point {tensor.zero_point}; int16 needs 0, in TFLM too.")
    return tensor


def state(tensor: Tensor) -> State:
    """A variable tensor as memory that begins at its zero point, as in TFLM."""
    return State(f"tensor {tensor.index}", tensor.name, np.full(tensor.shape, tensor.zero_point, tensor.dtype))
