"""Kernels whose output overlaps their input as far as the planner may let it, against TFLM, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.aot import Core, export
from pipeline.aot.ops import conv_2d
from tests.kernels.batch import (
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M55,
    HOST,
    Case,
    Target,
    build,
    case_count,
    cases_with,
    check_many,
    differing,
    run,
    sources,
    tflm_outputs,
)
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_mve import wide_conv_2d_case, wide_depthwise_conv_2d_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case

Makers = tuple[Callable[[int], Case], ...]

CONVOLUTIONS: Makers = (conv_2d_case, wide_conv_2d_case)
DEPTHWISE: Makers = (depthwise_conv_2d_case, wide_depthwise_conv_2d_case)
AVERAGE: Makers = (partial(pool_2d_case, "AVERAGE_POOL_2D"),)
MAX: Makers = (partial(pool_2d_case, "MAX_POOL_2D"),)

OF_INT8: dict[str, Makers] = {
    "conv_2d_s8": CONVOLUTIONS,
    "depthwise_conv_2d_s8": DEPTHWISE,
    "average_pool_2d_s8": AVERAGE,
    "max_pool_2d_s8": MAX,
}
OF_INT16: dict[str, Makers] = {
    "conv_2d_s16": (partial(conv_2d_case, dtype="int16"),),
    "depthwise_conv_2d_s16": (partial(depthwise_conv_2d_case, dtype="int16"),),
    "average_pool_2d_s16": (partial(AVERAGE[0], dtype="int16"),),
    "max_pool_2d_s16": (partial(MAX[0], dtype="int16"),),
}
PORTABLE_KERNELS = OF_INT8 | OF_INT16
WIDE_CONVOLUTIONS: Makers = (partial(wide_conv_2d_case, dtype="int16"),)
DSP_KERNELS = {f"{kernel}_dsp": makers for kernel, makers in OF_INT8.items()} | {
    "conv_2d_s16_dsp": WIDE_CONVOLUTIONS,
    "depthwise_conv_2d_s16_dsp": (partial(wide_depthwise_conv_2d_case, dtype="int16"),),
}
HELIUM_KERNELS = {f"{kernel}_mve": makers for kernel, makers in OF_INT8.items()} | {
    "conv_2d_s16_mve": WIDE_CONVOLUTIONS,
}

DSP, HELIUM = Core(frozenset({"dsp", "fpu"})), Core(frozenset({"dsp", "fpu", "mve"}))
BOARD = [pytest.mark.emulated, pytest.mark.slow]
TARGETS = [
    pytest.param(HOST, PORTABLE_KERNELS, id="host"),
    pytest.param(replace(HOST, name="host-dsp", core=DSP), DSP_KERNELS, id="host-dsp"),
    pytest.param(CORTEX_M3, PORTABLE_KERNELS, id="cortex-m3", marks=BOARD),
    pytest.param(replace(CORTEX_M4, core=DSP), DSP_KERNELS, id="cortex-m4", marks=BOARD),
    pytest.param(replace(CORTEX_M55, core=HELIUM), HELIUM_KERNELS, id="cortex-m55", marks=BOARD),
]


def overlapping(kernel: str, makers: Makers, core: Core, count: int) -> list[Case]:
    """Those of so many cases whose input and output have bytes in common."""
    plans = [(case, export(case.graph(), core)) for case in cases_with(kernel, makers, core, count)]
    return [case for case, plan in plans if plan.arena_bytes < sum(-(-slot.bytes // 8) * 8 for slot in plan.arena)]


@pytest.mark.golden
@pytest.mark.parametrize(("target", "kernels"), TARGETS)
def test_an_output_that_overlaps_its_input_has_the_bytes_of_tflm(
    target: Target, kernels: dict[str, Makers], tmp_path: Path
) -> None:
    """A fifth at least of 5 layers of each kernel, of 400 in a full run."""
    count, cases = case_count(5, 400), []
    for kernel, makers in kernels.items():
        found = overlapping(kernel, makers, target.core, count)
        assert len(found) >= count // 5, f"{kernel}: {len(found)} of {count} overlap"
        cases += found
    check_many(cases, target, tmp_path, guard_bytes=0)


@pytest.mark.golden
def test_an_output_that_overlaps_its_input_too_far_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_2d, "lead_bytes", lambda *_, **__: 0)
    cases = cases_with("conv_2d_s8", CONVOLUTIONS, HOST.core, 4)
    program = build(sources(cases, guard_bytes=0), HOST, tmp_path / "program")
    assert differing(cases, tflm_outputs(cases, tmp_path / "golden"), run(program, cases, HOST, tmp_path / "program"))
