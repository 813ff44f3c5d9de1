"""Cases that once failed (regressions/README.md) give TFLM's bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels import test_dsp
from tests.kernels.batch import HOST, Target, check
from tests.kernels.minimize import REGRESSIONS, load
from tests.kernels.test_mve import HELIUM

TARGETS = [
    pytest.param(HOST, id="host"),
    *test_dsp.TARGETS[1:],
    pytest.param(HELIUM, id="cortex-m55", marks=pytest.mark.emulated),
]


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_cases_that_once_failed_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [load(model) for model in sorted(REGRESSIONS.glob("*.tflite"))]
    assert cases
    check(cases, target, tmp_path)


def test_each_case_says_what_was_wrong() -> None:
    said = (REGRESSIONS / "README.md").read_text()
    assert all(f"`{model.stem}`" in said for model in REGRESSIONS.glob("*.tflite"))
