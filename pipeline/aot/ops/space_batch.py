"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, of one or two dimensions of space. One is taken as two with a width of 1."""

from __future__ import annotations

import numpy as np

from pipeline.aot.ops.operands import constant_integers, expect_shape, moved
from pipeline.aot.ops.strided_copy import copy_step
from pipeline.aot.steps import Core, Step, refuse
from pipeline.tflite import Graph, Op, Tensor

Pair = tuple[int, int]


def lower_space_to_batch_nd(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_strided_copy. Paddings are refused: TFLM fills them with what it finds in its memory."""
    source, (block_height, block_width), pairs = _operands(graph, op, "paddings")
    given = f"an input of {list(source.shape)}, blocks {[block_height, block_width]}, paddings {pairs}"
    if any(before or after for before, after in pairs):
        raise refuse(op, f"{given}; TFLM leaves the value of padding to chance.", "put a PAD in front of it.")
    batches, height, width, depth = _image(source)
    if height % block_height or width % block_width:
        raise refuse(op, f"{given}; the blocks have to fill the input.")
    parts = [batches * block_height * block_width, height // block_height, width // block_width, depth]
    output = graph.tensor(op.outputs[0])
    expect_shape(op, output, _as_rank_of(source, parts), given)
    row, image = width * depth, height * width * depth
    loops = [
        (block_height, row),
        (block_width, depth),
        (batches, image),
        (parts[1], block_height * row),
        (parts[2], block_width * depth),
        (depth, 1),
    ]
    return copy_step(op, source, output, loops)


def lower_batch_to_space_nd(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_batch_to_space_nd."""
    source, (block_height, block_width), pairs = _operands(graph, op, "crops")
    given = f"an input of {list(source.shape)}, blocks {[block_height, block_width]}, crops {pairs}"
    parts, height, width, depth = _image(source)
    if parts % (block_height * block_width):
        raise refuse(op, f"{given}; the batch has to be a multiple of the blocks.")
    image = [
        parts // (block_height * block_width),
        height * block_height - sum(pairs[0]),
        width * block_width - sum(pairs[1]),
        depth,
    ]
    output = graph.tensor(op.outputs[0])
    expect_shape(op, output, _as_rank_of(source, image), given)
    return Step(
        op=op,
        kernel="batch_to_space_nd",
        reason="copies pixels, the same on any core",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "batches": image[0],
            "height": image[1],
            "width": image[2],
            "pixel_bytes": depth * np.dtype(source.dtype).itemsize,
            "block_height": block_height,
            "block_width": block_width,
            "top": pairs[0][0],
            "left": pairs[1][0],
            "input_height": height,
            "input_width": width,
        },
    )


def _operands(graph: Graph, op: Op, what: str) -> tuple[Tensor, Pair, list[Pair]]:
    """The input, the height and width of a block, and for both what is added or cropped before and after."""
    source = moved(graph, op, ("int8", "float32"))
    block, flat = constant_integers(graph, op, 1, "blocks"), constant_integers(graph, op, 2, what)
    space = len(source.shape) - 2
    if space not in (1, 2) or len(block) != space or len(flat) != 2 * space or min(block) < 1 or min(flat) < 0:
        raise refuse(
            op,
            f"an input of {list(source.shape)}, blocks {list(block)}, {what} {list(flat)}; three or four dimensions, "
            f"and for each but the first and last a block of at least 1 and two {what} of at least 0 are needed.",
        )
    pairs = [(flat[0], flat[1]), (flat[2], flat[3]) if space == 2 else (0, 0)]
    return source, (block[0], block[1] if space == 2 else 1), pairs


def _image(tensor: Tensor) -> tuple[int, int, int, int]:
    batches, height, *width, depth = tensor.shape
    return batches, height, width[0] if width else 1, depth


def _as_rank_of(source: Tensor, image: list[int]) -> list[int]:
    return image if len(source.shape) == 4 else [image[0], image[1], image[3]]
