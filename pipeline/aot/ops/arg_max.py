"""ARG_MAX along one axis."""

from __future__ import annotations

import math

from pipeline.aot.ops.operands import axis_of, constant_integers, expect_shape
from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, refuse
from pipeline.tflite import Graph, Op


def lower_arg_max(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_arg_max_s8."""
    source = quantized_input(graph, op, 0)
    if len(op.outputs) != 1 or graph.tensor(op.outputs[0]).dtype != "int32":
        raise refuse(op, "one output of int32 is needed, by TFLM as well.", "convert with output_type=tf.int32.")
    axes, output = constant_integers(graph, op, 1, "axes"), graph.tensor(op.outputs[0])
    if len(axes) != 1 or not source.elements:
        raise refuse(op, f"an input of {list(source.shape)} and axes {list(axes)}; one axis is needed.")
    axis = axis_of(op, axes[0], len(source.shape))
    before, after = source.shape[:axis], source.shape[axis + 1 :]
    expect_shape(op, output, before + after, f"an input of {list(source.shape)} and axis {axis}")
    return Step(
        op=op,
        kernel="arg_max_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={"rows": math.prod(before), "size": source.shape[axis], "stride": math.prod(after)},
    )
