"""The vector requantization of mve.h and the two roundings of requant.h, lane by lane, on an emulated Cortex-M55."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kernels.batch import CORTEX_M55, FIRMWARE, HARNESS, WARNINGS

PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>

#include "mve.h"
#include "requant.h"

static uint32_t tried, wrong;

static void compare(const int32_t value[4], const int32_t multiplier[4], int32_t shift) {
  int32_t got[4];
  vstrwq_s32(got, tflash_mve_requantize(vldrwq_s32(value), vldrwq_s32(multiplier), vdupq_n_s32(shift)));
  for (int i = 0; i < 4; ++i) {
    ++tried;
    if (got[i] != tflash_requantize(value[i], multiplier[i], shift) && ++wrong <= 5) {
      printf("%ld * %ld >> %ld gives %ld\n", (long)value[i], (long)multiplier[i], (long)-shift, (long)got[i]);
    }
  }
}

static uint32_t state = 1;

static uint32_t draw(void) {
  state ^= state << 13;
  state ^= state >> 17;
  return state ^= state << 5;
}

int main(void) {
  static const int32_t halves[4] = {1 << 30, 1 << 30, 1 << 30, (1 << 30) + 1};
  for (int32_t n = 1; n <= 31; ++n) {
    /* Products that are whole, half and quarter numbers: every tie near 0, and every fourth bit pattern further out. */
    for (int32_t v = -(1 << 12); v < 1 << 12; ++v) {
      const int32_t near[4] = {v, (int32_t)((uint32_t)v << (n < 18 ? n - 1 : 18)), (int32_t)((uint32_t)v << 18) + 1,
                               (int32_t)((uint32_t)v << 18) - (v > -(1 << 12))};
      compare(near, halves, -n);
    }
    for (int32_t t = 0; t < 4000; ++t) {
      int32_t value[4], multiplier[4];
      for (int i = 0; i < 4; ++i) {
        value[i] = (int32_t)draw() >> (draw() % 31u);
        value[i] = value[i] == INT32_MIN ? -INT32_MAX : value[i];
        multiplier[i] = t % 50 == 0 ? (i % 2 ? INT32_MAX : 0) : (int32_t)(draw() >> 2 | 1u << 30);
      }
      compare(value, multiplier, -n);
    }
  }
  printf("%lu tried, %lu wrong\n", (unsigned long)tried, (unsigned long)wrong);
  return wrong != 0;
}
"""


@pytest.mark.emulated
def test_vectors_round_twice_as_the_portable_kernels_do(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    sources = [str(tmp_path / "main.c"), *(str(HARNESS / name) for name in CORTEX_M55.start)]
    command = [*CORTEX_M55.compiler, *WARNINGS, f"-I{FIRMWARE / 'kernels'}", *sources, *CORTEX_M55.link]
    subprocess.run([*command, "-o", str(tmp_path / "program")], check=True, timeout=120)
    done = subprocess.run(
        [*CORTEX_M55.runner, str(tmp_path / "program")],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{31 * 4 * ((1 << 13) + 4000)} tried, 0 wrong"
