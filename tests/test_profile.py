"""`tensorflash verify --profile`: what each layer counts on an emulated core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.display import Paint
from pipeline.display import verdict as shown
from pipeline.verification import verify_model
from tests.test_verification import odd_net


def profiled(folder: Path, board: str) -> dict[str, Any]:
    model = folder / "odd_net.tflite"
    model.write_bytes(odd_net())
    return verify_model(
        model, board=board, runtime="aot", samples=1, seed=0, inputs=None, golden_file=None, transport="fast",
        out=folder / "work", progress=lambda *_: None, profile=True,
    )  # fmt: skip


@pytest.mark.golden
@pytest.mark.emulated
def test_a_profile_says_where_the_instructions_go(tmp_path: Path) -> None:
    found = profiled(tmp_path, "qemu_cortex_m4")
    rows = found["layers"]
    assert [row["op_index"] for row in rows] == list(range(9))
    assert rows[1]["op"] == "CONV_2D" and rows[1]["macs"] == 36 * 4 * 9 * 2
    assert all(row["instructions_per_mac"] == round(row["instructions"] / row["macs"], 3) for row in rows[1:2])
    assert rows[0]["instructions_per_mac"] is None, "QUANTIZE has no MACs"
    assert rows[4]["op"] == "RESHAPE" and rows[4]["instructions"] < 50, "the hook itself"
    assert abs(sum(row["share"] for row in rows) - 1) < 0.001
    whole = sum(row["instructions"] for row in rows)
    assert 0 <= whole - found["instructions"]["min"] < 50 * len(rows), "the layers are all of the inference"
    assert profiled(tmp_path, "qemu_cortex_m4") == found, "and are counted again to the instruction"
    assert "CONV_2D" in shown(found, Paint(False))


@pytest.mark.golden
def test_a_profile_needs_a_counter(tmp_path: Path) -> None:
    found = profiled(tmp_path, "native")
    assert found["layers"] is None
    assert "no profile" in shown(found, Paint(False))
