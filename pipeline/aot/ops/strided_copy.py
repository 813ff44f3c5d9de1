"""TRANSPOSE, SLICE, STRIDED_SLICE, REVERSE_V2, DEPTH_TO_SPACE, SPACE_TO_DEPTH: the input, read in strides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.aot.ops.operands import axis_of, constant_integers, expect_shape, moved
from pipeline.aot.steps import Core, Step, refuse
from pipeline.tflite import Graph, Op, Tensor

Loops = list[tuple[int, int]]  # (elements, stride in elements), outer to inner

_MAX_LOOPS = 5


def lower_transpose(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias where only dimensions of one element move."""
    source, output = moved(graph, op, ("int8", "int16", "float32")), graph.tensor(op.outputs[0])
    order, rank = constant_integers(graph, op, 1, "axes"), len(source.shape)
    given = f"axes {list(order)} of {list(source.shape)}"
    if rank > _MAX_LOOPS or sorted(order) != list(range(rank)):
        raise refuse(op, f"{given}; each axis once, at most {_MAX_LOOPS}, is needed.")
    expect_shape(op, output, [source.shape[axis] for axis in order], given)
    strides = _strides(source.shape)
    return copy_step(op, source, output, [(source.shape[axis], strides[axis]) for axis in order])


def lower_slice(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias where all is taken."""
    source, output = moved(graph, op, ("int8", "int16", "int32", "float32", "bool")), graph.tensor(op.outputs[0])
    begins = constant_integers(graph, op, 1, "begins", ("int32", "int64"))
    sizes = constant_integers(graph, op, 2, "sizes", ("int32", "int64"))
    rank = len(source.shape)
    given = f"begins {list(begins)} and sizes {list(sizes)} of {list(source.shape)}"
    if not len(begins) == len(sizes) == rank <= _MAX_LOOPS:
        raise refuse(op, f"{given}; one of each for every dimension, at most {_MAX_LOOPS}, is needed.")
    taken = tuple(
        whole - begin if size == -1 else size for whole, begin, size in zip(source.shape, begins, sizes, strict=True)
    )
    if any(b < 0 or n < 1 or b + n > whole for b, n, whole in zip(begins, taken, source.shape, strict=True)):
        raise refuse(op, f"{given}; what is taken has to be there.")
    expect_shape(op, output, taken, given)
    strides = _strides(source.shape)
    return copy_step(op, source, output, list(zip(taken, strides, strict=True)), _dot(begins, strides))


def lower_strided_slice(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias where all is taken.

    Source:  TFLM's strided_slice_common.cc, strided_slice_logic.h. Indices count as they do in Python.
    """
    source, output = moved(graph, op, ("int8", "int16", "int32", "float32", "bool")), graph.tensor(op.outputs[0])
    begins, ends, steps = (
        constant_integers(graph, op, position, what) for position, what in ((1, "begins"), (2, "ends"), (3, "strides"))
    )
    masks = {name: int(op.options.get(f"{name}_mask", 0)) for name in ("begin", "end", "shrink_axis")}
    rank = len(source.shape)
    given = f"begins {list(begins)}, ends {list(ends)}, strides {list(steps)} of {list(source.shape)}, masks {masks}"
    if any(op.options.get(name, 0) for name in ("ellipsis_mask", "new_axis_mask", "offset")):
        raise refuse(op, "an ellipsis, a new axis or ends that count from the begins; TFLM has none of them either.")
    if not len(begins) == len(ends) == len(steps) == rank <= 4:
        raise refuse(op, f"{given}; one of each for every dimension, at most 4, is needed, by TFLM as well.")
    taken: list[range] = []
    kept: list[int] = []
    for axis, (size, begin, end, step) in enumerate(zip(source.shape, begins, ends, steps, strict=True)):
        begin_given = None if masks["begin"] >> axis & 1 else begin
        shrinks = bool(masks["shrink_axis"] >> axis & 1)
        if step == 0 or (shrinks and step < 0):
            raise refuse(op, f"{given}; a stride of {step} along axis {axis}.")
        chosen = range(*slice(begin_given, None if masks["end"] >> axis & 1 else end, step).indices(size))
        if shrinks:
            chosen = range(chosen.start, min(chosen.start + 1, size))
        else:
            kept.append(len(chosen))
        taken.append(chosen)
    if not all(taken):
        raise refuse(op, f"{given}; nothing is left.")
    expect_shape(op, output, kept, given)
    strides = _strides(source.shape)
    loops = [(len(chosen), chosen.step * stride) for chosen, stride in zip(taken, strides, strict=True)]
    return copy_step(op, source, output, loops, _dot([chosen.start for chosen in taken], strides))


def lower_reverse_v2(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias where only dimensions of one element turn round.

    Source:  TFLM's reverse.cc, which takes neighbouring axes only.
    """
    source, output = (
        moved(graph, op, ("int8", "int16", "int32", "int64", "float32", "bool")),
        graph.tensor(op.outputs[0]),
    )
    rank = len(source.shape)
    axes = sorted(axis_of(op, axis, rank) for axis in constant_integers(graph, op, 1, "axes"))
    given = f"axes {axes} of {list(source.shape)}"
    if rank > _MAX_LOOPS or not axes or axes != list(range(axes[0], axes[-1] + 1)):
        raise refuse(
            op, f"{given}; neighbouring axes are needed, by TFLM as well, and at most {_MAX_LOOPS} dimensions."
        )
    expect_shape(op, output, source.shape, given)
    strides = _strides(source.shape)
    turned = [-stride if axis in axes else stride for axis, stride in enumerate(strides)]
    first = sum((source.shape[axis] - 1) * strides[axis] for axis in axes)
    return copy_step(op, source, output, list(zip(source.shape, turned, strict=True)), first)


def lower_depth_to_space(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias for blocks of 1."""
    source, output, block = _blocks(graph, op)
    batches, height, width, channels = source.shape
    depth = channels // (block * block)
    expect_shape(
        op,
        output,
        (batches, height * block, width * block, depth),
        f"an input of {list(source.shape)}, blocks of {block}",
    )
    row, pixel = width * channels, channels
    return copy_step(
        op,
        source,
        output,
        [(batches * height, row), (block, block * depth), (width, pixel), (block, depth), (depth, 1)],
    )


def lower_space_to_depth(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy; an alias for blocks of 1."""
    source, output, block = _blocks(graph, op)
    batches, height, width, depth = source.shape
    expect_shape(
        op,
        output,
        (batches, height // block, width // block, depth * block * block),
        f"an input of {list(source.shape)}, blocks of {block}",
    )
    row = width * depth
    return copy_step(
        op,
        source,
        output,
        [
            (batches * (height // block), block * row),
            (width // block, block * depth),
            (block, row),
            (block, depth),
            (depth, 1),
        ],
    )


def _blocks(graph: Graph, op: Op) -> tuple[Tensor, Tensor, int]:
    source, output = moved(graph, op, ("int8", "float32")), graph.tensor(op.outputs[0])
    block = int(op.options.get("block_size", 0))
    if len(source.shape) != 4 or block < 1:
        raise refuse(
            op, f"an input of {list(source.shape)} and blocks of {block}; four dimensions and at least 1 are needed."
        )
    return source, output, block


def copy_step(op: Op, source: Tensor, output: Tensor, loops: Loops, first: int = 0) -> Step:
    """Loops over the output as one call; an alias where they go through the input as it is.

    Args:    loops: (elements, stride in elements of the input), outer to inner. first: the first element that is read.
    """
    itemsize = np.dtype(source.dtype).itemsize
    merged = _merged(loops)
    run = merged.pop()[0] if merged and merged[-1][1] == 1 else 1
    if not merged and first == 0 and run == source.elements:
        return Step(op, "", "the same bytes in the same order", (source.index,), (output.index,))
    unused = _MAX_LOOPS - len(merged)
    return Step(
        op=op,
        kernel="strided_copy",
        reason=f"copies runs of {run * itemsize} bytes, the same on any core",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "sizes": (*[1] * unused, *(size for size, _ in merged)),
            "strides": (*[0] * unused, *(stride * itemsize for _, stride in merged)),
            "first_byte": first * itemsize,
            "run_bytes": run * itemsize,
        },
    )


def _merged(loops: Loops) -> Loops:
    """Loops of one element are none; two that go on evenly are one."""
    merged: Loops = []
    for size, stride in loops:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return merged


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _dot(begins: Sequence[int], strides: Sequence[int]) -> int:
    return sum(begin * stride for begin, stride in zip(begins, strides, strict=True))
