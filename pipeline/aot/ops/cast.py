"""CAST between integer types."""

from __future__ import annotations

from pipeline.aot.steps import Core, Step, refuse, same_size
from pipeline.tflite import Graph, Op

# Numbered as in enum tflash_cast_type.
_TYPE_CODES = {"int8": 0, "int16": 1, "int32": 2, "bool": 3}


def lower_cast(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_cast; an alias where the type stays. Scales do not matter, as in TFLM."""
    if len(op.inputs) != 1 or op.inputs[0] < 0 or len(op.outputs) != 1:
        raise refuse(op, f"{len(op.inputs)} inputs and {len(op.outputs)} outputs; one of each is needed.")
    source, output = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    same_size(op, source, output)
    if source.dtype not in _TYPE_CODES or output.dtype not in _TYPE_CODES:
        raise refuse(op, f"{source.dtype} to {output.dtype}; the aot kernel has {', '.join(_TYPE_CODES)}.")
    if source.dtype == output.dtype:
        return Step(op, "", "the same type", (source.index,), (output.index,))
    return Step(
        op=op,
        kernel="cast",
        reason="copies elements, the same on any core",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "input_type": _TYPE_CODES[source.dtype],
            "output_type": _TYPE_CODES[output.dtype],
        },
    )
