"""SPLIT, SPLIT_V and UNPACK: the rows of the input are dealt out to the outputs."""

from __future__ import annotations

import math

import numpy as np

from pipeline.aot.ops.operands import axis_of, constant_integers, expect_shape, moved
from pipeline.aot.steps import Constant, Core, Ref, Step, refuse
from pipeline.tflite import Graph, Op, Tensor

_DTYPES = ("int8", "int16", "int32", "float32")


def lower_split(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_split. The number of parts is that of the outputs."""
    source = moved(graph, op, _DTYPES, 1)
    axis = _axis(graph, op, source, 0)
    outputs = [graph.tensor(index) for index in op.outputs]
    if source.shape[axis] % len(outputs):
        raise refuse(op, f"axis {axis} of {list(source.shape)} in {len(outputs)} equal parts.")
    part = (*source.shape[:axis], source.shape[axis] // len(outputs), *source.shape[axis + 1 :])
    for output in outputs:
        expect_shape(op, output, part, f"axis {axis} of {list(source.shape)} in {len(outputs)} parts")
    return _step(op, source, outputs, axis)


def lower_split_v(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_split. As in TFLM, the shapes of the outputs are what counts."""
    source = moved(graph, op, _DTYPES)
    axis = _axis(graph, op, source, 2)
    outputs = [graph.tensor(index) for index in op.outputs]
    others = source.shape[:axis], source.shape[axis + 1 :]
    given = f"axis {axis} of {list(source.shape)} in parts of {[list(output.shape) for output in outputs]}"
    if any((output.shape[:axis], output.shape[axis + 1 :]) != others for output in outputs):
        raise refuse(op, f"{given}; the other dimensions have to be the same.")
    if sum(output.shape[axis] for output in outputs) != source.shape[axis]:
        raise refuse(op, f"{given}; together they have to be the input.")
    return _step(op, source, outputs, axis)


def lower_unpack(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_split."""
    source = moved(graph, op, _DTYPES)
    axis = axis_of(op, int(op.options.get("axis", 0)), len(source.shape))
    outputs = [graph.tensor(index) for index in op.outputs]
    if not source.shape[axis] == len(outputs) == int(op.options.get("num", 0)):
        raise refuse(
            op,
            f"axis {axis} of {list(source.shape)}, {len(outputs)} outputs, num {op.options.get('num', 0)}; "
            "all have to be the same number.",
        )
    for output in outputs:
        expect_shape(
            op, output, source.shape[:axis] + source.shape[axis + 1 :], f"axis {axis} of {list(source.shape)} unpacked"
        )
    return _step(op, source, outputs, axis)


def _axis(graph: Graph, op: Op, source: Tensor, position: int) -> int:
    values = constant_integers(graph, op, position, "axes")
    if len(values) != 1:
        raise refuse(op, f"axes {list(values)}; one is needed.")
    return axis_of(op, values[0], len(source.shape))


def _step(op: Op, source: Tensor, outputs: list[Tensor], axis: int) -> Step:
    rows = math.prod(source.shape[:axis])
    if len(outputs) == 1:
        return Step(op, "", "the only part is the whole", (source.index,), (outputs[0].index,))
    row_bytes = np.array([output.bytes // rows for output in outputs], np.int32)
    return Step(
        op=op,
        kernel="split",
        reason="copies rows, the same on any core",
        inputs=(source.index,),
        outputs=tuple(output.index for output in outputs),
        params={"rows": rows, "outputs": len(outputs), "row_bytes": Ref("row_bytes")},
        constants=(Constant("row_bytes", row_bytes),),
        output_array=True,
    )
