"""GATHER: entries of a tensor by their indices, as from a table of embeddings."""

from __future__ import annotations

import math

import numpy as np

from pipeline.aot.ops.operands import axis_of, expect_shape, moved
from pipeline.aot.steps import Core, Step, refuse
from pipeline.tflite import Graph, Op


def lower_gather(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_gather. Indices may be computed, then those that do not exist give the nearest entry."""
    source, output = moved(graph, op, ("int8", "float32")), graph.tensor(op.outputs[0])
    if len(op.inputs) != 2 or op.inputs[1] < 0:
        raise refuse(op, "an input and indices are needed.")
    positions = graph.tensor(op.inputs[1])
    if positions.dtype != "int32" or not positions.elements:
        raise refuse(
            op, f"its indices ({positions.name}) are {positions.dtype} {list(positions.shape)}; int32 is needed."
        )
    axis = axis_of(op, int(op.options.get("axis", 0)), len(source.shape))
    batch_dims = int(op.options.get("batch_dims", 0))
    batch_dims += len(positions.shape) if batch_dims < 0 else 0
    given = (
        f"an input of {list(source.shape)}, indices {list(positions.shape)}, axis {axis}, {batch_dims} batch dimensions"
    )
    if not 0 <= batch_dims <= axis or source.shape[:batch_dims] != positions.shape[:batch_dims]:
        raise refuse(op, f"{given}; both have to begin with the batch dimensions.")
    expect_shape(op, output, source.shape[:axis] + positions.shape[batch_dims:] + source.shape[axis + 1 :], given)
    entries = source.shape[axis]
    if positions.data is not None and (positions.data.min() < 0 or positions.data.max() >= entries):
        raise refuse(
            op, f"indices from {positions.data.min()} to {positions.data.max()}, there are entries 0 to {entries - 1}."
        )
    return Step(
        op=op,
        kernel="gather",
        reason="copies entries, the same on any core",
        inputs=(source.index, positions.index),
        outputs=(output.index,),
        params={
            "batches": math.prod(source.shape[:batch_dims]),
            "rows": math.prod(source.shape[batch_dims:axis]),
            "entries": entries,
            "positions": math.prod(positions.shape[batch_dims:]),
            "run_bytes": math.prod(source.shape[axis + 1 :]) * np.dtype(source.dtype).itemsize,
        },
    )
