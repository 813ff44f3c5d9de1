"""The kernels for the DSP extension against TFLM, byte for byte: their C on the host, their assembly on a Cortex-M."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.aot import Core
from tests.kernels.batch import CORTEX_M4, CORTEX_M7, HOST, Case, Target, case_count, cases_with, check_many
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case, long_sum_case
from tests.kernels.test_mve import wide_conv_2d_case, wide_depthwise_conv_2d_case, wide_mean_case, wide_pool_2d_case
from tests.kernels.test_networks import network_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case

DSP = Core(frozenset({"dsp", "fpu"}))
TARGETS = [
    pytest.param(replace(HOST, name="host-dsp", core=DSP), id="host"),
    pytest.param(replace(CORTEX_M4, name="cortex-m4-dsp", core=DSP), id="cortex-m4", marks=pytest.mark.emulated),
    pytest.param(
        replace(CORTEX_M7, name="cortex-m7-dsp", core=DSP),
        id="cortex-m7",
        marks=[pytest.mark.emulated, pytest.mark.slow],
    ),
]

CASES: dict[str, tuple[Callable[[int], Case], ...]] = {
    "add_s8_dsp": (partial(elementwise_case, "ADD"), partial(elementwise_case, "SUB")),
    "average_pool_2d_s8_dsp": (partial(pool_2d_case, "AVERAGE_POOL_2D"), partial(wide_pool_2d_case, "AVERAGE_POOL_2D")),
    "conv_2d_s8_dsp": (conv_2d_case, wide_conv_2d_case),
    "depthwise_conv_2d_s8_dsp": (depthwise_conv_2d_case, wide_depthwise_conv_2d_case),
    "conv_2d_s16_dsp": (partial(conv_2d_case, dtype="int16"), partial(wide_conv_2d_case, dtype="int16")),
    "depthwise_conv_2d_s16_dsp": (partial(wide_depthwise_conv_2d_case, dtype="int16"),),
    "fully_connected_s8_dsp": (fully_connected_case,),
    "fully_connected_s16_dsp": (partial(fully_connected_case, dtype="int16"), long_sum_case),
    "max_pool_2d_s8_dsp": (partial(pool_2d_case, "MAX_POOL_2D"), partial(wide_pool_2d_case, "MAX_POOL_2D")),
    "mean_s8_dsp": (partial(wide_mean_case, "MEAN"), partial(wide_mean_case, "SUM")),
    "mul_s8_dsp": (partial(elementwise_case, "MUL"),),
}


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kernel", CASES)
def test_a_dsp_kernel_gives_the_bytes_of_tflm(kernel: str, target: Target, tmp_path: Path) -> None:
    """16 layers that have this kernel, 1,000 in a full run."""
    check_many(cases_with(kernel, CASES[kernel], DSP, case_count(16, 1000)), target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_random_networks_give_the_bytes_of_tflm_with_dsp_kernels(target: Target, tmp_path: Path) -> None:
    cases = [network_case(number, dtype) for number in range(case_count(16, 500)) for dtype in ("int8", "int16")]
    check_many(cases, target, tmp_path)
