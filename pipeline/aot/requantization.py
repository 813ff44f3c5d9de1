"""How accumulators become codes: multipliers and ranges that are checked, and the proof that no int32 overflows.

The proof is made for each output channel at compile time, from the actual weights. With it, the C kernels need neither
saturation nor wider accumulators.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline import fixedpoint
from pipeline.aot.steps import refuse
from pipeline.errors import UnsupportedError
from pipeline.fixedpoint import INT32_MAX, Multiplier
from pipeline.tflite import Op, Tensor


def checked_multiplier(op: Op, real: float) -> Multiplier:
    """`fixedpoint.quantize_multiplier`, with scales that give no usable multiplier refused."""
    try:
        return fixedpoint.quantize_multiplier(real)
    except ValueError as error:
        raise refuse(op, f"its scales give {error}.", "check the model's quantization.") from error


def fused_range(op: Op, output: Tensor) -> tuple[int, int]:
    """The smallest and largest code of an output under the op's fused activation."""
    activation = op.options.get("fused_activation_function", "NONE")
    try:
        limits = np.iinfo(output.dtype)
        return fixedpoint.activation_range(
            str(activation), output.scale, output.zero_point, int(limits.min), int(limits.max)
        )
    except ValueError as error:
        raise refuse(op, f"{error}.") from error


def prove_no_overflow(
    op: Op, magnitudes: Sequence[int], multipliers: Sequence[Multiplier], output_zero_point: int
) -> None:
    """Prove that accumulation, requantization and the output's zero point stay within int32.

    Args:    magnitudes: for each channel the largest |accumulator| that any partial sum can reach, bias included.
             multipliers: one for each channel, or one for all.
    Raises:  UnsupportedError: naming the first channel that can overflow, and by how much.
    """
    for channel, magnitude in enumerate(magnitudes):
        multiplier = multipliers[channel if len(multipliers) > 1 else 0]
        shifted = int(magnitude) << max(multiplier.shift, 0)
        if magnitude > INT32_MAX:
            raise _overflow(op, f"the accumulator of channel {channel} can reach {magnitude:,}")
        if shifted > INT32_MAX:
            raise _overflow(op, f"the accumulator of channel {channel}, shifted left, can reach {shifted:,}")
        result = fixedpoint.requantize(int(magnitude), multiplier) + abs(output_zero_point)
        if result > INT32_MAX:
            raise _overflow(op, f"the requantized value of channel {channel} can reach {result:,}")


def prove_no_wide_overflow(op: Op, magnitudes: Sequence[int], multipliers: Sequence[Multiplier]) -> None:
    """`prove_no_overflow` for int64 accumulators that `fixedpoint.requantize_wide` makes int32 codes of.

    Raises:  UnsupportedError: naming the first channel that can leave the range for which that is defined.
    """
    for channel, magnitude in enumerate(magnitudes):
        try:
            result = fixedpoint.requantize_wide(int(magnitude), multipliers[channel if len(multipliers) > 1 else 0])
        except ValueError as error:
            raise refuse(
                op, f"the accumulator of channel {channel} can reach {error}.", "check this layer's quantization."
            ) from error
        if result > INT32_MAX:
            raise _overflow(op, f"the requantized value of channel {channel} can reach {result:,}")


def _overflow(op: Op, found: str) -> UnsupportedError:
    return refuse(
        op, f"{found}, an int32 holds {INT32_MAX:,}.", "check the scales and biases of this layer's quantization."
    )
