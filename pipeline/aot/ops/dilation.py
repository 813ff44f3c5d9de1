"""A dilated column of taps is one without gaps, where rows lie side by side.

An image of H rows, W pixels each, has the bytes of one of H / d rows, d * W pixels each. Taps that are d rows apart in
the first are neighbours in a column of the second. One-dimensional networks (WaveNet, TCN) have such layers only; they
get the kernels, and the speed, of layers without a dilation.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.aot.ops.weighted import Operands
from pipeline.aot.ops.window import Window
from pipeline.tflite import Tensor

Layer = tuple[Operands, Window, Window]


def without_dilation(layer: Operands, vertical: Window, horizontal: Window) -> Layer:
    """The same layer on the same bytes without its dilation, or unchanged where rows cannot be put side by side.

    Args:    layer: images [batch, height, width, channels] and weights [.., height, width, ..].
    """
    upright = _upright(layer, vertical, horizontal)
    if upright is None:
        return layer, vertical, horizontal
    column, window = upright
    apart, heights = window.dilation, (column.source.shape[1], column.output.shape[1])
    if apart == 1 or window.stride != 1 or any(size % apart for size in (*heights, window.pad)):
        return layer, vertical, horizontal
    side_by_side = replace(
        column, source=_side_by_side(column.source, apart), output=_side_by_side(column.output, apart)
    )
    return side_by_side, Window(window.taps, 1, 1, window.pad // apart), Window(1, 1, 1, 0)


def _upright(layer: Operands, vertical: Window, horizontal: Window) -> tuple[Operands, Window] | None:
    """A layer whose taps are a column, and the window of this column; a single row of pixels is as good as a column."""
    if horizontal == Window(1, 1, 1, 0) and layer.source.shape[2] == layer.output.shape[2]:
        return layer, vertical
    if vertical == Window(1, 1, 1, 0) and layer.source.shape[1] == layer.output.shape[1] == 1:
        source, weights, output = (_turned(t) for t in (layer.source, layer.weights, layer.output))
        return replace(layer, source=source, weights=weights, output=output), horizontal
    return None


def _turned(tensor: Tensor) -> Tensor:
    """Height and width exchanged, one of which is 1, so that the order of the elements is the same."""
    first, height, width, last = tensor.shape
    return _seen_as(tensor, (first, width, height, last))


def _side_by_side(image: Tensor, rows: int) -> Tensor:
    batch, height, width, channels = image.shape
    return _seen_as(image, (batch, height // rows, rows * width, channels))


def _seen_as(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return replace(tensor, shape=shape, data=None if tensor.data is None else tensor.data.reshape(shape))
