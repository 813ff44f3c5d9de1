"""What a model keeps from one inference to the next: variable tensors (SVDF, LSTM) and resource variables.

The contract is in docs/architecture.md. Both begin at their initial value whenever the model is made ready, and change
with every inference; an answer depends on all samples since then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UnsupportedError
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor

VARIABLE_OPS = frozenset({"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})

_MAX_ACCESSES = 1000  # ops on variables

_HINT = "convert with tf.lite.TFLiteConverter.from_saved_model, and keep variables of one shape and type."


def is_stateful(graph: Graph) -> bool:
    """Whether an answer depends on earlier samples."""
    return any(op.name in VARIABLE_OPS for op in graph.ops) or any(
        index >= 0 and graph.tensor(index).is_variable for op in graph.ops for index in op.inputs
    )


@dataclass(frozen=True, eq=False)
class Variable:
    """A resource variable. initial: its value before the first inference, [*shape] in its dtype."""

    name: str
    initial: Array


def variables(graph: Graph) -> Mapping[int, Variable]:
    """The resource variable that each VAR_HANDLE of the main subgraph stands for, by the handle's tensor index.

    Several handles may stand for the same one. CALL_ONCE is taken as having run before the first inference.

    Raises:  UnsupportedError: a variable is initialized by more than a constant, is read or assigned before CALL_ONCE,
             has no type, or several.
    Source:  TFLM's micro_resource_variable.cc: a variable that nothing initializes is filled with the zero point of the
             first value that is assigned to it, as a byte.
    """
    accesses = [op for op in graph.ops if op.name in VARIABLE_OPS]
    if len(accesses) > _MAX_ACCESSES:
        raise _refuse(accesses[-1], f"{len(accesses)} ops on variables; up to {_MAX_ACCESSES} are supported.")
    keys = {op.outputs[0]: _key(op) for op in accesses if op.name == "VAR_HANDLE" and op.outputs}
    values: dict[str, Array] = {}
    kinds: dict[str, Tensor] = {}
    for op in accesses:
        if op.name == "CALL_ONCE":
            values |= _initial_values(graph, op, kinds)
        elif op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            key, value = _access(graph, op, keys)
            known = kinds.setdefault(key, value)
            if (known.dtype, known.shape) != (value.dtype, value.shape):
                raise _refuse(
                    op,
                    f"the variable {key} is {known.dtype} {list(known.shape)} elsewhere, and {value.dtype} "
                    f"{list(value.shape)} here.",
                )
    assigned = _first_assigned(graph, accesses, keys)
    made: dict[str, Variable] = {}
    for key, kind in kinds.items():
        if key in values:
            initial = values[key]
        elif key in assigned:
            initial = np.frombuffer(bytes([assigned[key].zero_point & 0xFF]) * kind.bytes, kind.dtype)
        else:
            op = next(op for op in accesses if op.name == "READ_VARIABLE" and keys.get(op.inputs[0]) == key)
            raise _refuse(op, f"it reads the variable {key}, which nothing assigns.")
        if key in values and (initial.dtype, initial.shape) != (np.dtype(kind.dtype), kind.shape):
            op = next(op for op in accesses if op.name == "CALL_ONCE")
            raise _refuse(
                op, f"it makes {key} {initial.dtype} {list(initial.shape)}; {kind.dtype} {list(kind.shape)} is read."
            )
        made[key] = Variable(key, initial)
    return {handle: made[key] for handle, key in keys.items() if key in made}


def _key(op: Op) -> str:
    return "/".join(filter(None, (str(op.options.get(name) or "") for name in ("container", "shared_name"))))


def _access(graph: Graph, op: Op, keys: Mapping[int, str]) -> tuple[str, Tensor]:
    """The variable that an op reads or assigns, and the tensor it goes to or comes from."""
    assigns = op.name == "ASSIGN_VARIABLE"
    ends = op.inputs[1:] if assigns else op.outputs
    if len(op.inputs) != 1 + assigns or len(ends) != 1 or min(*op.inputs, *ends) < 0 or assigns == bool(op.outputs):
        raise _refuse(op, f"{len(op.inputs)} inputs and {len(op.outputs)} outputs.")
    if op.inputs[0] not in keys:
        raise _refuse(op, f"its variable {op.inputs[0]} does not come from VAR_HANDLE.")
    value = graph.tensor(ends[0])
    if value.dtype not in ("int8", "int16", "int32", "int64"):
        raise _refuse(op, f"{value.name} is {value.dtype}; variables of integers are supported.")
    return keys[op.inputs[0]], value


def _first_assigned(graph: Graph, accesses: Sequence[Op], keys: Mapping[int, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for op in accesses:
        if op.name == "ASSIGN_VARIABLE":
            found.setdefault(keys[op.inputs[0]], graph.tensor(op.inputs[1]))
    return found


def _initial_values(graph: Graph, call: Op, kinds: Mapping[str, Tensor]) -> dict[str, Array]:
    """What a CALL_ONCE assigns, by variable: its subgraph may do nothing else."""
    initializer = graph.initializers[int(call.options["init_subgraph_index"])]
    keys: dict[int, str] = {}
    values: dict[str, Array] = {}
    for op in initializer.ops:
        if op.name == "VAR_HANDLE" and len(op.outputs) == 1:
            keys[op.outputs[0]] = _key(op)
            continue
        handle, source = op.inputs if op.name == "ASSIGN_VARIABLE" and len(op.inputs) == 2 else (-1, -1)
        data = initializer.tensors[source].data if source >= 0 else None
        if handle not in keys or data is None:
            raise _refuse(call, f"it runs {op.name}; a constant for each variable is supported.")
        if keys[handle] in kinds:
            raise _refuse(call, f"the variable {keys[handle]} is used before this op initializes it.")
        values[keys[handle]] = data
    return values


def _refuse(op: Op, found: str) -> UnsupportedError:
    return UnsupportedError(f"{op.where()}: {found}", hint=_HINT)
