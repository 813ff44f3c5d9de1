"""CONCATENATION along any axis, and PACK along a new one."""

from __future__ import annotations

import math

import numpy as np

from pipeline.aot.ops.operands import axis_of, expect_shape, moved
from pipeline.aot.steps import Constant, Core, Ref, Step, portable_reason, refuse
from pipeline.tflite import Graph, Op, Tensor

# What TFLM takes.
_DTYPES = ("int8", "int16", "int32", "int64", "float32", "bool")
_PACK_DTYPES = ("int8", "int16", "int32", "int64", "float32")
_MAX_INPUTS = 10
_MAX_RANK = 6


def lower_concatenation(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_concatenation. It copies bytes: codes are never rescaled."""
    if not op.inputs or min(op.inputs) < 0 or not op.outputs:
        raise refuse(op, "inputs and an output are needed.")
    output = graph.tensor(op.outputs[0])
    sources = [graph.tensor(index) for index in op.inputs]
    axis = _axis(op, sources, output)
    for source in sources:
        _check_type(op, source, output)
    if len(sources) > _MAX_INPUTS:
        raise refuse(op, f"{len(sources)} inputs; at most {_MAX_INPUTS} are possible, in TFLM as well.")
    activation = op.options.get("fused_activation_function", "NONE")
    if activation != "NONE":
        raise refuse(op, f"a fused activation {activation}; TFLM has none here either.")
    sources = [source for source in sources if source.elements]
    return _step(op, core, sources, output, math.prod(output.shape[:axis]))


def lower_pack(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_concatenation: the same rows of bytes, joined along a dimension that is new."""
    if not op.inputs or min(op.inputs) < 0 or len(op.outputs) != 1:
        raise refuse(op, "inputs and an output are needed.")
    sources, output = [graph.tensor(index) for index in op.inputs], graph.tensor(op.outputs[0])
    for position in range(len(sources)):
        moved(graph, op, _PACK_DTYPES, position)
    axis = axis_of(op, int(op.options.get("axis", 0)), len(output.shape))
    shapes = [list(source.shape) for source in sources]
    count = op.options.get("values_count", 0)
    if any(source.shape != sources[0].shape for source in sources) or count != len(sources):
        raise refuse(op, f"{len(sources)} inputs of {shapes}, values_count {count}; as many of one shape are needed.")
    expected = (*sources[0].shape[:axis], len(sources), *sources[0].shape[axis:])
    expect_shape(op, output, expected, f"{len(sources)} inputs of {shapes[0]} packed along axis {axis}")
    return _step(op, core, sources, output, math.prod(output.shape[:axis]))


def _step(op: Op, core: Core, sources: list[Tensor], output: Tensor, rows: int) -> Step:
    return Step(
        op=op,
        kernel="concatenation",
        reason=portable_reason(core),
        inputs=tuple(source.index for source in sources),
        outputs=(output.index,),
        params={"rows": rows, "inputs": len(sources), "row_bytes": Ref("row_bytes")},
        constants=(Constant("row_bytes", np.array([source.bytes // rows for source in sources], np.int32)),),
        input_array=True,
    )


def _axis(op: Op, sources: list[Tensor], output: Tensor) -> int:
    """The dimension along which the inputs are joined, counted from 0."""
    rank = len(output.shape)
    axis = int(op.options.get("axis", 0))
    shapes = [source.shape for source in sources]
    found = f"inputs of {[list(s) for s in shapes]}, axis {axis}, output {list(output.shape)}"
    if not -rank <= axis < rank or rank > _MAX_RANK:
        raise refuse(op, f"{found}; an axis of the output, of at most {_MAX_RANK} dimensions, is needed.")
    axis %= rank
    others = output.shape[:axis], output.shape[axis + 1 :]
    if any(len(s) != rank or (s[:axis], s[axis + 1 :]) != others for s in shapes):
        raise refuse(op, f"{found}; the other dimensions have to be the same.")
    if sum(s[axis] for s in shapes) != output.shape[axis] or not output.elements:
        raise refuse(op, f"{found}; they have to fill the output.")
    return axis


def _check_type(op: Op, source: Tensor, output: Tensor) -> None:
    if source.dtype not in _DTYPES or source.dtype != output.dtype:
        raise refuse(op, f"{source.dtype} goes in and {output.dtype} comes out; {' or '.join(_DTYPES)} is needed.")
    codes = (source.scale, source.zero_point), (output.scale, output.zero_point)
    if source.dtype == "int8" and codes[0] != codes[1]:
        raise refuse(
            op,
            f"input {source.name} is quantized with {codes[0]} and the output with {codes[1]}; "
            "they have to be the same, for TFLM as well.",
            "convert the model again.",
        )
    if source.dtype == "int16" and (source.zero_point or output.zero_point):
        raise refuse(
            op, f"int16 with zero points {source.zero_point} and {output.zero_point}; 0 is needed, by TFLM as well."
        )
