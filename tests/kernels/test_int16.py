"""A few layers and networks of int16 codes, of every kernel for them, against TFLM, byte for byte.

The tests of the ops have more of them in a full run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.batch import TARGETS, Case, Target, check
from tests.kernels.test_activations_s8 import WIDE, wide_activation_case
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_data_movement import pad_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case, long_sum_case
from tests.kernels.test_networks import network_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case
from tests.kernels.test_reduce_s8 import reduce_case
from tests.kernels.test_softmax_s8 import wide_softmax_case

OPS = {
    elementwise_case: ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"),
    pool_2d_case: ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
    reduce_case: ("MEAN", "SUM"),
    pad_case: ("PAD", "PADV2"),
}


def cases() -> list[Case]:
    layers = [case(number, dtype="int16") for case in (conv_2d_case, depthwise_conv_2d_case) for number in range(8)]
    layers += [fully_connected_case(number, dtype="int16") for number in range(6)]
    layers += [case(number) for case in (long_sum_case, wide_softmax_case) for number in range(5)]
    layers += [case(op, number, "int16") for case, ops in OPS.items() for op in ops for number in range(3)]
    layers += [wide_activation_case(op, number) for op in WIDE for number in range(3)]
    return layers + [network_case(number, "int16") for number in range(8)]


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_int16_codes_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check(cases(), target, tmp_path)
