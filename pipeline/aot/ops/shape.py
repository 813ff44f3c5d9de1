"""RESHAPE, SQUEEZE and EXPAND_DIMS: the same bytes under another shape.

The output tensor's own shape is what counts; models carry the new shape in an input, in the options, in both or in
neither.
"""

from __future__ import annotations

from pipeline.aot.steps import Core, Step, refuse, same_size
from pipeline.tflite import Graph, Op

_DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")


def lower_reshape(graph: Graph, op: Op, core: Core) -> Step:
    """An alias."""
    return _alias(graph, op, _DTYPES)


def lower_squeeze(graph: Graph, op: Op, core: Core) -> Step:
    """An alias."""
    return _alias(graph, op, _DTYPES)


def lower_expand_dims(graph: Graph, op: Op, core: Core) -> Step:
    """An alias, of the types that TFLM knows."""
    if len(op.inputs) != 2 or op.inputs[1] < 0 or not graph.tensor(op.inputs[1]).is_constant:
        raise refuse(op, "its axis is missing or computed; a constant is needed, by TFLM as well.")
    return _alias(graph, op, ("int8", "int16", "float32"))


def _alias(graph: Graph, op: Op, dtypes: tuple[str, ...]) -> Step:
    if not op.inputs or op.inputs[0] < 0 or not op.outputs:
        raise refuse(op, "an input and an output are needed.")
    source, output = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if source.dtype not in dtypes or source.dtype != output.dtype:
        raise refuse(op, f"{source.dtype} goes in and {output.dtype} comes out; {' or '.join(dtypes)} is needed.")
    same_size(op, source, output)
    return Step(
        op=op,
        kernel="",
        reason="the same bytes under another shape",
        inputs=(source.index,),
        outputs=(output.index,),
    )
