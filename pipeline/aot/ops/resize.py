"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR of int8 images. Codes go through as they are."""

from __future__ import annotations

import numpy as np

from pipeline.aot.ops.window import INT32_LIMIT
from pipeline.aot.steps import Constant, Core, Ref, Step, portable_reason, quantized_input, quantized_output, refuse
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor

_ONE = 1024  # an input position, in the steps of the bilinear kernel
_LONGEST = 1 << 15


def lower_resize_nearest_neighbor(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_resize_nearest_neighbor_s8, with the input's rows and columns computed here."""
    source, output = _images(graph, op)
    corners, half = _options(op)
    rows, columns = (_nearest(source.shape[axis], output.shape[axis], corners, half) for axis in (1, 2))
    return Step(
        op=op,
        kernel="resize_nearest_neighbor_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={**_sizes(source, output), "rows": Ref("rows"), "columns": Ref("columns")},
        constants=(Constant("rows", rows), Constant("columns", columns)),
    )


def lower_resize_bilinear(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_resize_bilinear_s8."""
    source, output = _images(graph, op)
    corners, half = _options(op)
    if corners and half:
        raise refuse(op, "align_corners and half_pixel_centers at once, which TFLM does not take either.")
    step_y, start_y = _steps(op, "height", source.shape[1], output.shape[1], corners, half)
    step_x, start_x = _steps(op, "width", source.shape[2], output.shape[2], corners, half)
    return Step(
        op=op,
        kernel="resize_bilinear_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            **_sizes(source, output),
            "step_y": step_y,
            "step_x": step_x,
            "start_y": start_y,
            "start_x": start_x,
        },
    )


def _images(graph: Graph, op: Op) -> tuple[Tensor, Tensor]:
    """Input and output [batch, height, width, channels], checked; the size in input 1 has to be the output's."""
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    if len(op.inputs) != 2 or op.inputs[1] < 0:
        raise refuse(op, "an input and a size are needed.")
    for what, tensor in (("input", source), ("output", output)):
        if len(tensor.shape) != 4 or not all(tensor.shape) or max(tensor.shape) >= _LONGEST:
            raise refuse(
                op, f"its {what} has shape {list(tensor.shape)}; four dimensions of 1 to {_LONGEST - 1:,} are needed."
            )
        if tensor.elements >= INT32_LIMIT:
            raise refuse(op, f"its {what} has {tensor.elements:,} elements; int32 has to count them.")
    size = graph.tensor(op.inputs[1])
    if size.dtype != "int32" or size.data is None:
        raise refuse(op, f"its size ({size.name}) is computed or {size.dtype}; an int32 constant is needed.")
    wanted = [int(v) for v in size.data.reshape(-1)]
    if source.shape[::3] != output.shape[::3] or wanted != list(output.shape[1:3]):
        raise refuse(op, f"input {list(source.shape)}, size {wanted}, output {list(output.shape)}: they do not agree.")
    return source, output


def _options(op: Op) -> tuple[bool, bool]:
    return bool(op.options.get("align_corners", False)), bool(op.options.get("half_pixel_centers", False))


def _sizes(source: Tensor, output: Tensor) -> dict[str, int]:
    return {
        "batches": source.shape[0],
        "input_height": source.shape[1],
        "input_width": source.shape[2],
        "channels": source.shape[3],
        "output_height": output.shape[1],
        "output_width": output.shape[2],
    }


def _nearest(inputs: int, outputs: int, corners: bool, half: bool) -> Array:
    """The input position of each output position, in float32 as TFLM computes it.

    Source:  TFLite GetNearestNeighbor, kernels/internal/reference/resize_nearest_neighbor.h.
    """
    between = corners and outputs > 1
    scale = np.float32(inputs - between) / np.float32(outputs - between)
    at = (np.arange(outputs).astype(np.float32) + np.float32(0.5 if half else 0.0)) * scale
    # Rounding is that of C's roundf: to the nearest, ties away from 0; exact in float64.
    whole = np.floor(at.astype(np.float64) + 0.5) if corners else np.floor(at)
    positions: Array = np.minimum(whole, inputs - 1).astype(np.int16)
    return positions


def _steps(op: Op, name: str, inputs: int, outputs: int, corners: bool, half: bool) -> tuple[int, int]:
    """How far apart output positions lie in the input and where the first one lies, in 1/1024 positions.

    Source:  TFLite ResizeBilinearInteger, kernels/internal/reference/resize_bilinear.h.
    """
    between = corners and outputs > 1
    step = (_ONE * (inputs - between) + (outputs - between) // 2) // (outputs - between)
    start = step // 2 - _ONE // 2 if half else 0
    last = start + (outputs - 1) * step
    if last // _ONE > inputs - 1 or last >= INT32_LIMIT - _ONE:
        raise refuse(
            op, f"{name}: from {inputs} to {outputs} positions, rounding leads outside the input, in TFLM too."
        )
    return step, start
