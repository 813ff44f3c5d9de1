"""Sigmoid and hyperbolic tangent of int16 in C against TFLM's LOGISTIC and TANH, for every code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot.sigmoid_table import sigmoid_table
from tests.kernels.batch import FIRMWARE, WARNINGS, Case, tflm_outputs
from tests.tflite_builder import TfliteBuilder

CODES = np.arange(-(1 << 15), 1 << 15).astype(np.int16)

PROGRAM = """#include <stdio.h>
#include "sigmoid_s16.h"

static const int16_t table[256] = {%s};

int main(void) {
  for (int32_t x = INT16_MIN; x <= INT16_MAX; ++x) {
    printf("%%d\\n", tflash_%s_s16(table, x * %d));
  }
  return 0;
}
"""


@pytest.mark.golden
@pytest.mark.parametrize(
    ("op", "function", "shift"), [("LOGISTIC", "sigmoid", 0), ("TANH", "tanh", 0), ("TANH", "tanh", 1)]
)
def test_every_code_gives_what_tflm_gives(op: str, function: str, shift: int, tmp_path: Path) -> None:
    model = TfliteBuilder()
    x = model.input(CODES.shape, dtype="int16", scale=2.0 ** (shift - 12))
    model.op(op, [x], [model.output(CODES.shape, dtype="int16", scale=2.0**-15)])
    ((answer,),) = tflm_outputs([Case(function, model.build(), ((CODES,),))], tmp_path / "golden")
    source = tmp_path / "main.c"
    source.write_text(PROGRAM % (", ".join(map(str, sigmoid_table())), function, 3 << shift))
    command = ["gcc", *WARNINGS, "-fsanitize=undefined", f"-I{FIRMWARE / 'kernels'}", str(source), "-o"]
    subprocess.run([*command, str(tmp_path / "program")], check=True, timeout=60)
    said = subprocess.run([tmp_path / "program"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert np.array(said.split(), np.int16).tobytes() == answer[0]
