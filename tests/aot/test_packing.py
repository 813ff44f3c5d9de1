"""Packing: what the fast kernels want, and what does not fit it."""

from __future__ import annotations

import numpy as np

from pipeline.aot import packing
from pipeline.fixedpoint import Multiplier

ONE = 1 << 30


def test_rows_take_turns_by_groups_of_four_and_those_left_over_come_last() -> None:
    weights = np.arange(15, dtype=np.int8).reshape(3, 5)
    packed = packing.rows_by(weights, 2).reshape(-1, 4).tolist()
    assert packed == [[0, 1, 2, 3], [5, 6, 7, 8], [4, 0, 0, 0], [9, 0, 0, 0], [10, 11, 12, 13], [14, 0, 0, 0]]


def test_packing_rounds_the_depth_up_to_four_and_adds_nothing_else() -> None:
    assert packing.rows_by(np.ones((7, 64), np.int8), 4).size == 7 * 64
    assert packing.rows_by(np.ones((7, 27), np.int8), 4).size == 7 * 28


def test_shift_codes_tell_right_shifts_from_left_ones() -> None:
    shifts = [Multiplier(ONE, -1), Multiplier(ONE, -22), Multiplier(ONE, 0), Multiplier(ONE, 3)]
    assert packing.shift_codes(shifts, 4).tolist() == [0, 21, -1, -4]
    assert packing.shift_codes(shifts[:1], 3).tolist() == [0, 0, 0]


def test_nibbles_hold_what_exceeds_the_lowest_code_and_a_zero_mantissa_does_not_count() -> None:
    shifts = [Multiplier(ONE, -9), Multiplier(ONE, -7), Multiplier(0, 0)]
    packed, base = packing.nibbles(shifts, 3)
    assert (packed.tolist(), base) == ([2, 0], 6)
    assert packing.nibble_obstacle(shifts) is None


def test_shifts_that_do_not_fit_four_bits_are_an_obstacle() -> None:
    assert packing.nibble_obstacle([Multiplier(ONE, -20), Multiplier(ONE, -4)]) == "shifts that differ by 16"
