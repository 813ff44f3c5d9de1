"""`tensorflash bench`: what is measured, what a rival is given, what is quoted, and the picture of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import bench, interpreters, tflite
from pipeline.bench import bakenn, picture
from pipeline.display import Paint
from pipeline.display import bench as shown
from pipeline.errors import RequestError, ToolError, UnsupportedError
from tests.tflite_builder import TfliteBuilder


def as_published(folder: Path) -> Path:
    """A model with all that BakeNN refuses in published ones: a batch of -1, RESHAPE without options, SOFTMAX."""
    rng = np.random.default_rng(3)
    m = TfliteBuilder()
    x = m.input((1, 4, 4, 2), scale=1 / 64, zero_point=-3, shape_signature=(-1, 4, 4, 2))
    w = m.constant(rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8), scale=[1 / 128, 1 / 64, 3 / 128], axis=0)
    b = m.constant(rng.integers(-900, 900, 3).astype(np.int32), scale=[1 / 8192, 1 / 4096, 3 / 8192], axis=0)
    y = m.tensor((1, 4, 4, 3), scale=1 / 16, zero_point=-10)
    m.op("CONV_2D", [x, w, b], [y], version=3, padding="SAME", stride_h=1, stride_w=1, fused_activation_function="RELU")
    flat = m.tensor((1, 48), scale=1 / 16, zero_point=-10)
    m.op("RESHAPE", [y, m.constant(np.array([-1, 48], np.int32))], [flat])
    m.without_options()
    dense = m.constant(rng.integers(-127, 128, (5, 48)).astype(np.int8), scale=1 / 128)
    bias = m.constant(rng.integers(-900, 900, 5).astype(np.int32), scale=1 / 2048)
    logits = m.tensor((1, 5), scale=0.2, zero_point=4)
    m.op("FULLY_CONNECTED", [flat, dense, bias], [logits], version=4)
    m.op("SOFTMAX", [logits], [m.output((1, 5), scale=1 / 256, zero_point=-128)], beta=1.0)
    path = folder / "published.tflite"
    path.write_bytes(m.build())
    return path


def quietly(models: list[Path], board: str = "qemu_cortex_m4", rivals: bool = True) -> dict[str, Any]:
    return bench.bench_models(models, board=board, samples=2, seed=0, rivals=rivals, progress=lambda *_: None)


@pytest.mark.golden
def test_a_rival_gets_a_model_that_computes_the_same(tmp_path: Path) -> None:
    graph = tflite.read(as_published(tmp_path))
    (tmp_path / "prepared").mkdir()
    prepared = bakenn.prepare(graph, tmp_path / "prepared")
    assert prepared.changes == (
        "the batch dimension of -1 made 1",
        "RESHAPE given options",
        "the last SOFTMAX left out",
    )
    assert [op.name for op in prepared.graph.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    logits = graph.ops[-1].inputs[0]
    given = np.random.default_rng(0).integers(-128, 128, (3, 1, 4, 4, 2)).astype(np.int8)
    whole = interpreters.tflm(tflite.quantized_model(graph), (given,), (logits,), 3)
    cut = interpreters.tflm(tflite.quantized_model(prepared.graph), (given,))
    assert np.array_equal(whole.layers[logits], cut.outputs[0]) and np.unique(cut.outputs[0]).size > 3


@pytest.mark.golden
@pytest.mark.emulated
def test_a_rival_that_cannot_be_had_is_told_beside_our_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_progress: object) -> Path:
        raise ToolError("BakeNN: pip has no network.")

    monkeypatch.setattr(bakenn, "environment", fails)
    found = quietly([as_published(tmp_path)])
    ours, *others = found["models"][0]["results"]
    assert ours["exact"] and ours["instructions"] > 0 and ours["overhead_bytes"] > 0
    assert [o["runtime"] for o in others] == ["BakeNN 1.0.0", "BakeNN 1.0.0 + CMSIS-NN"]
    assert all(o["error"] == "BakeNN: pip has no network." and o["exact"] is None for o in others)
    text = shown(found, Paint(False))
    assert "pip has no network" in text and f"{ours['instructions']:,}" in text
    assert quietly([as_published(tmp_path)], rivals=False)["models"][0]["results"] == [ours]


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.slow
def test_bakenn_runs_in_the_same_firmware_and_answers_the_same(tmp_path: Path) -> None:
    results = quietly([as_published(tmp_path)])["models"][0]["results"]
    assert [r["error"] for r in results] == [None, None, None], results
    assert all(r["exact"] and r["instructions"] > 0 for r in results)
    assert results[0]["changes"] == [] and len(results[1]["changes"]) == 3


def test_a_board_that_counts_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="counts instructions"):
        quietly([as_published(tmp_path)], board="native")


def test_a_model_that_is_refused_is_named_before_any_is_measured(tmp_path: Path) -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    model.op("NEG", [x], [model.output((1, 4), scale=0.1)])
    refused = tmp_path / "refused.tflite"
    refused.write_bytes(model.build())
    seen: list[str] = []
    with pytest.raises(UnsupportedError, match=r"refused\.tflite: op 0 \(NEG\)"):
        bench.bench_models(
            [as_published(tmp_path), refused], board="qemu_cortex_m4", samples=1, seed=0, rivals=False,
            progress=lambda stage, done, total: seen.append(stage),
        )  # fmt: skip
    assert not seen


def test_figures_are_quoted_for_the_networks_they_were_measured_with() -> None:
    kws = bench.quoted("cortex-m4", 2_656_768, 24_368)
    assert [q["runtime"] for q in kws] == ["TFLM + CMSIS-NN", "TFLM, reference kernels"]
    assert kws[0]["instructions"] == 7_844_126 and "GCC 12.2" in kws[0]["source"]
    assert bench.quoted("cortex-m55", 2_656_768, 24_368)[0]["overhead_bytes"] is None
    assert bench.quoted("cortex-m4", 2_656_768, 24_369) == []


def test_the_picture_has_a_bar_for_each_figure() -> None:
    result = {"runtime": "aot", "instructions": 50, "overhead_bytes": 10, "model_ram_bytes": 5, "error": None}
    quote = {"runtime": "<others>", "instructions": 100, "overhead_bytes": None, "ram_bytes": 20, "source": "a paper"}
    failed = {**result, "runtime": "gone", "error": "it failed"}
    found = {"board": "b", "models": [{"model": {"path": "m.tflite"}, "results": [result, failed], "quoted": [quote]}]}
    root = ET.fromstring(picture.draw(found))
    bars = root.findall(".//{http://www.w3.org/2000/svg}rect")
    assert [bar.get("class") for bar in bars] == ["ours"] * 3 + ["quoted"] * 2
    assert [int(bar.get("width", 0)) for bar in bars] == [55, 110, 28, 110, 110]
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<others>" in texts and "gone" not in texts
