"""The table behind firmware/kernels/sigmoid_s16.h."""

from __future__ import annotations

import math

import numpy as np

from pipeline.model import Array

_STEPS = 24  # of the table, for 1.0 of the argument


def sigmoid_table() -> Array:
    """2**16 * (sigmoid(i / 24) - 1/2), int16 [256], a little too high, so that a line between two errs to both sides.

    A straight line between points of a curve that bends down lies below it, by up to step**2 / 8 * |second derivative|;
    half of that is added. The last entry is the largest there is.

    Source:  the table sigmoid_table_uint16 of TFLite's int16 LOGISTIC and TANH, whose values this formula gives.
    """
    table = []
    for i in range(255):
        sigmoid = 1 / (1 + math.exp(-i / _STEPS))
        bend = sigmoid * (1 - sigmoid) * (2 * sigmoid - 1)
        table.append(math.floor(65536 * (sigmoid + bend / (16 * _STEPS**2)) + 0.5) - 32768)
    return np.array([*table, 32767], np.int16)
