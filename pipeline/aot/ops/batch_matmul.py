"""BATCH_MATMUL of int8 tensors, either of which may be constant, transposed (adj_x, adj_y) or repeated."""

from __future__ import annotations

import math

from pipeline.aot.ops.window import INT32_LIMIT
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, quantized_output, refuse
from pipeline.tflite import Graph, Op, Tensor

_MAX_BATCH_DIMENSIONS = 3


def lower_batch_matmul(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_batch_matmul_s8. Source: TFLM's batch_matmul.cc."""
    left, right, output = quantized_input(graph, op, 0), quantized_input(graph, op, 1), quantized_output(graph, op)
    transposed = bool(op.options.get("adj_x", False)), bool(op.options.get("adj_y", False))
    for what, tensor in (("left", left), ("right", right)):
        if not 2 <= len(tensor.shape) <= 2 + _MAX_BATCH_DIMENSIONS or not all(tensor.shape):
            raise refuse(op, f"its {what} side has shape {list(tensor.shape)}; 2 to 5 dimensions above 0 are needed.")
        if tensor.elements >= INT32_LIMIT:
            raise refuse(op, f"its {what} side has {tensor.elements:,} elements; int32 has to count them.")
    rows, depth = left.shape[-2:][::-1] if transposed[0] else left.shape[-2:]
    right_depth, columns = right.shape[-2:][::-1] if transposed[1] else right.shape[-2:]
    batches = [_batches(tensor) for tensor in (left, right)]
    joined = tuple(max(pair) for pair in zip(*batches, strict=True))
    whole = (*joined, rows, columns)
    if (
        depth != right_depth
        or any(size not in (1, most) for sizes in batches for size, most in zip(sizes, joined, strict=True))
        or len(output.shape) < max(len(left.shape), len(right.shape))
        or (1,) * (len(whole) - len(output.shape)) + output.shape != whole
    ):
        raise refuse(
            op,
            f"matrices of {list(left.shape)} and {list(right.shape)}, transposed {list(transposed)}, and an output "
            f"of {list(output.shape)} do not fit.",
        )
    multiplier = checked_multiplier(op, left.scale * right.scale / output.scale)
    prove_no_overflow(op, [_largest_sum(left, right, depth)], [multiplier], output.zero_point)
    left_row, left_step = (1, rows) if transposed[0] else (depth, 1)
    right_column, right_step = (depth, 1) if transposed[1] else (1, columns)
    return Step(
        op=op,
        kernel="batch_matmul_s8",
        reason=portable_reason(core),
        inputs=(left.index, right.index),
        outputs=(output.index,),
        params={
            "batches": joined,
            "left_batches": _strides(batches[0], rows * depth),
            "right_batches": _strides(batches[1], depth * columns),
            "rows": rows,
            "columns": columns,
            "depth": depth,
            "left_row": left_row,
            "left_step": left_step,
            "right_column": right_column,
            "right_step": right_step,
            "left_offset": -left.zero_point,
            "right_offset": -right.zero_point,
            "output_offset": output.zero_point,
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
        },
        macs=math.prod(whole) * depth,
    )


def _batches(tensor: Tensor) -> tuple[int, ...]:
    return (1,) * (2 + _MAX_BATCH_DIMENSIONS - len(tensor.shape)) + tensor.shape[:-2]


def _strides(batches: tuple[int, ...], matrix: int) -> tuple[int, ...]:
    return tuple(0 if size == 1 else math.prod(batches[n + 1 :]) * matrix for n, size in enumerate(batches))


def _largest_sum(left: Tensor, right: Tensor, depth: int) -> int:
    """An upper bound of |sum| over one pair of a row and a column, with the right side's zero point or without it."""
    return depth * math.prod(max(127 - tensor.zero_point, 128 + tensor.zero_point) for tensor in (left, right))
