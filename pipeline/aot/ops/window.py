"""Sliding windows along one dimension: how many positions they have, and how much padding comes first."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.aot.steps import refuse
from pipeline.tflite import Op, Tensor

INT32_LIMIT = 1 << 31


@dataclass(frozen=True)
class Window:
    """A window of `taps` taps, `dilation` apart, that moves by `stride`; `pad` positions precede the input."""

    taps: int
    stride: int
    dilation: int
    pad: int

    def stays_inside(self, size: int, positions: int) -> bool:
        """No tap of so many positions lies outside an input of this size."""
        return self.pad == 0 and (positions - 1) * self.stride + (self.taps - 1) * self.dilation < size


def dilations(op: Op) -> tuple[int, int]:
    """Positions from one tap to the next, along height and width."""
    return int(op.options.get("dilation_hfactor", 1)), int(op.options.get("dilation_wfactor", 1))


def windows(
    op: Op, source: Tensor, output: Tensor, taps: tuple[int, int], dilations: tuple[int, int] = (1, 1)
) -> tuple[Window, Window]:
    """The windows along height and width of an op on tensors [batch, height, width, channels].

    An option `explicit_padding`, ((top, bottom), (left, right)), is padding around the input before the op's own
    (pipeline.aot.fusions); each window then has to meet the input, as it does with the op's own alone.

    Raises:  UnsupportedError: the shapes, strides, dilations and padding do not agree, or offsets leave int32.
    Source:  TFLite ComputePaddingHeightWidth, tensorflow/lite/kernels/padding.h.
    """
    for what, tensor in (("input", source), ("output", output)):
        if len(tensor.shape) != 4 or not all(tensor.shape):
            raise refuse(op, f"its {what} has shape {list(tensor.shape)}; four dimensions of at least 1 are needed.")
    if source.shape[0] != output.shape[0]:
        raise refuse(op, f"{source.shape[0]} samples go in and {output.shape[0]} come out.")
    above, beside = op.options.get("explicit_padding", ((0, 0), (0, 0)))
    vertical = _window(op, "height", source.shape[1], output.shape[1], taps[0], "stride_h", dilations[0], above)
    horizontal = _window(op, "width", source.shape[2], output.shape[2], taps[1], "stride_w", dilations[1], beside)
    rows = source.shape[1] + (vertical.taps - 1) * vertical.dilation
    columns = source.shape[2] + (horizontal.taps - 1) * horizontal.dilation
    if rows * columns * source.shape[3] >= INT32_LIMIT:
        raise refuse(
            op, f"input and padding have {rows * columns * source.shape[3]:,} elements; int32 has to count them."
        )
    return vertical, horizontal


def _window(
    op: Op, name: str, size: int, positions: int, taps: int, stride_key: str, dilation: int, around: tuple[int, int]
) -> Window:
    stride = int(op.options.get(stride_key, 0))
    padding = op.options.get("padding")
    if taps < 1 or stride < 1 or dilation < 1:
        raise refuse(op, f"{name}: filter {taps}, stride {stride}, dilation {dilation}; at least 1 is needed.")
    span = (taps - 1) * dilation + 1
    padded = size + sum(around)
    if padding == "SAME":
        expected = -(-padded // stride)
    elif padding == "VALID":
        expected = max(padded - span + stride, 0) // stride
    else:
        raise refuse(op, f"padding {padding}; SAME or VALID is needed.")
    if positions != expected:
        raise refuse(
            op,
            f"{name}: input {padded}, filter {taps}, stride {stride}, dilation {dilation} and padding {padding} give "
            f"{expected} outputs, the model says {positions}.",
        )
    last = (positions - 1) * stride
    pad = around[0] + max(last + span - padded, 0) // 2
    if any(around) and not (pad < span and last - pad < size):
        raise refuse(op, f"{name}: a window of {span} lies wholly in a padding of {around}.")
    return Window(taps, stride, dilation if taps > 1 else 1, pad)
