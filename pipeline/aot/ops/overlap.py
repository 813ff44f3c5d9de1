"""How far before its input an output has to begin, so that both can share memory while a kernel goes through them.

Where outputs are computed in order, and later ones see a later part of the input, nothing far behind is needed again:
an output that begins so many bytes before its input never covers a byte that is still to be read.
"""

from __future__ import annotations

import numpy as np

from pipeline.aot.ops.window import Window
from pipeline.model import Array
from pipeline.tflite import Tensor


def lead_bytes(
    source: Tensor, output: Tensor, vertical: Window, horizontal: Window, *, together: int = 1, gathers: bool = False
) -> int:
    """The smallest safe distance, at least 0, of images [batch, height, width, channels].

    Args:    together: the kernel computes so many outputs at a time, the last time fewer; where there are fewer in all,
             one by one or at once. gathers: it has read the windows of all of these before it writes any.
    """
    batches, height, width, _ = output.shape
    rows = _first_positions(vertical, height, source.shape[1])
    columns = _first_positions(horizontal, width, source.shape[2])
    images = np.arange(batches)[:, None, None] * source.shape[1]
    first_read = ((images + rows[:, None]) * source.shape[2] + columns).reshape(-1) * _pixel_bytes(source)
    still_read = np.minimum.accumulate(first_read[::-1])[::-1]
    count = still_read.size
    starts = np.arange(0, count, together if count >= together else 1 if gathers else count)
    ends = np.append(starts[1:], count)
    written = (starts if gathers else ends) * _pixel_bytes(output)
    return max(0, int((written - still_read[starts]).max()))


def row_lead_bytes(source: Tensor, output: Tensor, vertical: Window) -> int:
    """`lead_bytes` of a kernel that keeps rows: it has read a row's windows wholly before it writes the row."""
    batches, height, width, _ = output.shape
    rows = np.clip(np.arange(height) * vertical.stride - vertical.pad + vertical.taps, 0, source.shape[1])
    images = np.arange(batches)[:, None] * source.shape[1]
    read = (images + rows).reshape(-1) * source.shape[2] * _pixel_bytes(source)
    written = np.arange(1, read.size + 1) * width * _pixel_bytes(output)
    return max(0, int((written - read)[read < source.bytes].max(initial=0)))


def _pixel_bytes(image: Tensor) -> int:
    return image.shape[3] * (image.bytes // image.elements)


def _first_positions(window: Window, count: int, size: int) -> Array:
    """The first position of the input that each window may read."""
    positions: Array = np.clip(np.arange(count) * window.stride - window.pad, 0, size - 1)
    return positions
