"""The kernels for the DSP extension against TFLM, byte for byte: their C on the host, their assembly on a Cortex-M."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.aot import Core, export
from tests.kernels.batch import CORTEX_M4, CORTEX_M7, HOST, Case, Target, case_count, check
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case
from tests.kernels.test_mve import wide_conv_2d_case, wide_depthwise_conv_2d_case
from tests.kernels.test_networks import network_case

DSP = Core(frozenset({"dsp", "fpu"}))
CHUNK = 125  # cases in one program
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
    "add_s8_dsp": (partial(elementwise_case, "ADD"),),
    "conv_2d_s8_dsp": (conv_2d_case, wide_conv_2d_case),
    "depthwise_conv_2d_s8_dsp": (depthwise_conv_2d_case, wide_depthwise_conv_2d_case),
    "fully_connected_s8_dsp": (fully_connected_case,),
}


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kernel", CASES)
def test_a_dsp_kernel_gives_the_bytes_of_tflm(kernel: str, target: Target, tmp_path: Path) -> None:
    """25 layers that have this kernel, 1,000 in a full run."""
    makers, wanted = CASES[kernel], case_count(25, 1000)
    found: list[Case] = []
    for number in range(4 * wanted):
        if len(found) == wanted:
            break
        case = makers[number % len(makers)](number // len(makers))
        (choice,) = export(case.graph(), DSP).kernels
        if choice.kernel == f"tflash_{kernel}":
            found.append(case)
    assert len(found) == wanted, f"{kernel} was chosen for {len(found)} layers only"
    for start in range(0, wanted, CHUNK):
        check(found[start : start + CHUNK], target, tmp_path / str(start))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_random_networks_give_the_bytes_of_tflm_with_dsp_kernels(target: Target, tmp_path: Path) -> None:
    count = case_count(25, 500)
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        check([network_case(number) for number in numbers], target, tmp_path / str(start))
