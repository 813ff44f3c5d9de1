"""Ops as the converter writes them, with its shapes, masks and constants, in C against TFLM, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.batch import HOST, Case, check
from tests.kernels.random_cases import Draw


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.golden
def test_functions_of_tensorflow_give_the_bytes_of_tflm(tmp_path: Path) -> None:
    worker = Path(__file__).parent / "converter_worker.py"
    done = subprocess.run([sys.executable, str(worker), str(tmp_path)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    cases = []
    for number, path in enumerate(sorted(tmp_path.glob("*.tflite"))):
        draw = Draw("converted", number)
        cases.append(Case(path.stem, path.read_bytes(), draw.samples([((1, 4, 4, 4), 0)])))
    found = {op.name for case in cases for op in case.graph().ops}
    assert {"HARD_SWISH", "L2_NORMALIZATION", "RSQRT", "SPLIT_V", "STRIDED_SLICE", "ARG_MAX"} <= found
    check(cases, HOST, tmp_path)
