"""Tables between whose entries the int16 kernels interpolate: one entry each 128 codes, and one behind the last."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pipeline.model import Array

_STEPS = 512
_LOW, _HIGH = -(1 << 15), (1 << 15) - 1


def interpolated_table(function: Callable[[float], float], largest: float, span: float) -> Array:
    """A function of a number that codes stand for, in Q0.15, int16 [513].

    An entry is moved by half of what a line to the next one is off in the middle.

    Args:    function: correctly rounded to float32 here. largest: the number of code 32767, 0 or span. span: what is
             between the numbers of the smallest and the largest code.
    Source:  TFLite LUTPopulate of int16, tensorflow/lite/kernels/internal/common.h: float32 throughout, in this order.
    """
    f32 = np.float32
    codes = f32(_HIGH - _LOW)
    input_scale, output_scale = f32(span) / codes, f32(2) / codes
    zero_point = _HIGH if largest == 0 else _LOW
    input_min, input_max = (input_scale * f32(code - zero_point) for code in (_LOW, _HIGH))
    step = (input_max - input_min) / f32(_STEPS)
    scaling = (codes + f32(1)) / (output_scale * f32(_HIGH) - output_scale * f32(_LOW))

    def scaled(x: np.float32) -> np.float32:
        return f32(function(float(x))) * scaling

    table = []
    for i in range(_STEPS):
        x = input_min + f32(i) * step
        sample = _rounded(scaled(x))
        line = _rounded((scaled(input_min + f32(i + 1) * step) + sample) / f32(2))
        bias = _rounded((line - _rounded(scaled(x + step / f32(2)))) / f32(2))
        table.append(sample - bias)
    table.append(_rounded(scaled(input_max)))
    result: Array = np.clip(table, _LOW, _HIGH).astype(np.int16)
    return result


def _rounded(value: np.float32) -> np.float32:
    """To the nearest integer, ties away from zero."""
    return np.float32(math.copysign(math.floor(abs(float(value)) + 0.5), float(value)))
