"""`tensorflash verify` from the file to the verdict, on this computer and on emulated boards."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import board, golden, interpreters, runtimes, tflite, vectors, verification
from pipeline.check import check_export
from pipeline.display import Paint
from pipeline.display import verdict as shown
from pipeline.errors import BudgetError, ToolError
from pipeline.verification import verify_model
from tests.conftest import FULL
from tests.tflite_builder import TfliteBuilder

SAMPLES = 12
EMULATED = [each.id for each in board.all_boards() if each.emulator is not None]


def on_boards(*by_default: str) -> list[Any]:
    """Parameters: these boards, and in a full run all emulated ones."""
    return [pytest.param(name, marks=[] if name in by_default else [pytest.mark.slow]) for name in EMULATED]


def odd_net() -> bytes:
    """What published models have and tutorials do not.

    Float32 at both ends, two inputs and four outputs; a batch of -1 in the shape signature; RESHAPE without options;
    an output that another op reads; an input that is an output; constants as operands.
    """
    random = np.random.default_rng(3)
    model = TfliteBuilder()
    codes: dict[str, Any] = {"scale": 0.04, "zero_point": -5}
    image = model.input((1, 6, 6, 2), dtype="float32", name="image", shape_signature=(-1, 6, 6, 2))
    side = model.input((1, 6, 6, 2), scale=0.07, zero_point=12, name="side")
    quantized = model.tensor((1, 6, 6, 2), shape_signature=(-1, 6, 6, 2), **codes)
    wide = model.tensor((1, 6, 6, 4), scale=0.06, zero_point=-128, shape_signature=(-1, 6, 6, 4))
    added, scaled = (model.tensor((1, 6, 6, 2), scale=s, zero_point=3) for s in (0.1, 0.12))
    flat = model.tensor((1, 144), scale=0.06, zero_point=-128)
    logits = model.tensor((1, 5), scale=0.05, zero_point=10)
    odds = model.tensor((1, 5), scale=1 / 256, zero_point=-128, name="odds")

    model.op("QUANTIZE", [image], [quantized])
    filters = model.constant(random.integers(-127, 128, (4, 3, 3, 2)).astype(np.int8), scale=[0.01, 0.012, 0.007, 0.02])
    bias = model.constant(random.integers(-400, 400, 4).astype(np.int32), scale=0.0004)
    model.op("CONV_2D", [quantized, filters, bias], [wide], padding="SAME", stride_h=1, stride_w=1,
             fused_activation_function="RELU6")  # fmt: skip
    model.op("ADD", [quantized, side], [added])
    gain = model.constant(random.integers(-127, 128, (1, 1, 1, 2)).astype(np.int8), scale=0.02)
    model.op("MUL", [gain, added], [scaled])
    model.op("RESHAPE", [wide], [flat])
    model.without_options()
    weights = model.constant(random.integers(-127, 128, (5, 144)).astype(np.int8), scale=0.0005)
    model.op("FULLY_CONNECTED", [flat, weights, -1], [logits])
    model.op("SOFTMAX", [logits], [odds], beta=1.0)
    model.op("DEQUANTIZE", [odds], [model.output((1, 5), dtype="float32", name="probabilities")])
    model.as_output(odds)
    model.as_output(side)
    frame = model.constant(random.integers(-128, 128, (1, 6, 6, 1)).astype(np.int8), scale=0.12, zero_point=3)
    framed = model.output((1, 6, 6, 3), scale=0.12, zero_point=3, name="framed")
    model.op("CONCATENATION", [scaled, frame], [framed], axis=3)
    return model.build()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that keeps what was built for one test for the next."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "odd_net.tflite"
    path.write_bytes(odd_net())
    return path


def proved(model: Path, name: str = "native", **options: Any) -> dict[str, Any]:
    given = {"runtime": "aot", "samples": SAMPLES, "seed": 0, "inputs": None, "golden_file": None, "out": None,
             "transport": "fast", "progress": lambda *_: None}  # fmt: skip
    return verify_model(model, board=name, **{**given, **options})


def exact(found: dict[str, Any], layers: int = 9) -> None:
    assert found["first_divergence"] is None
    assert (found["mismatched_samples"], found["mismatched_bytes"], found["max_abs_diff"]) == (0, 0, 0)
    assert (found["layers_compared"], found["layer_mismatches"]) == (layers, 0)


@pytest.mark.golden
def test_a_model_is_proved_on_this_computer(model: Path, work: Path) -> None:
    found = proved(model, out=work)
    exact(found)
    assert (found["board"], found["samples"], found["layer_samples"]) == ("native", SAMPLES, SAMPLES)
    assert found["golden"] == f"tflite-micro {interpreters.tflm_version()}"
    folded = 5 * 4  # the input zero point of a layer without a bias, as a bias
    assert found["weights_bytes"] == 4 * 9 * 2 + 4 * 4 + 2 + 5 * 144 + folded + 36
    assert found["macs"] == 36 * 4 * 9 * 2 + 5 * 144
    assert found["model_ram_bytes"] >= found["arena_bytes"] > 0
    assert found["instructions"] is None


@pytest.mark.golden
def test_two_runs_say_the_same(model: Path, work: Path) -> None:
    first, second = proved(model, out=work), proved(model)
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("name", on_boards("qemu_cortex_m4"))
def test_a_model_is_proved_on_an_emulated_board(name: str, model: Path, work: Path) -> None:
    found = proved(model, name, out=work)
    exact(found)
    counts = found["instructions"]
    assert 0 < counts["min"] <= counts["median"] <= counts["max"]
    assert counts["max"] < 100 * found["macs"]
    assert 0 < found["stack_bytes"] <= (board.load(name).stack_bytes or 0)


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize("name", on_boards("qemu_cortex_m4"))
def test_the_uart_brings_the_same_answers_and_counts(name: str, model: Path, work: Path) -> None:
    over_uart = proved(model, name, out=work, transport="uart")
    exact(over_uart)
    assert over_uart == proved(model, name, out=work)


@pytest.mark.golden
@pytest.mark.emulated
def test_a_profile_says_where_the_instructions_go(model: Path, work: Path) -> None:
    found = proved(model, "qemu_cortex_m4", out=work, samples=1, profile=True)
    rows = found["layers"]
    assert [row["op_index"] for row in rows] == list(range(9))
    assert rows[1]["op"] == "CONV_2D" and rows[1]["macs"] == 36 * 4 * 9 * 2
    assert all(row["instructions_per_mac"] == round(row["instructions"] / row["macs"], 3) for row in rows[1:2])
    assert rows[0]["instructions_per_mac"] is None, "QUANTIZE has no MACs"
    assert rows[4]["op"] == "RESHAPE" and rows[4]["instructions"] < 50, "the hook itself"
    assert abs(sum(row["share"] for row in rows) - 1) < 0.001
    whole = sum(row["instructions"] for row in rows)
    assert 0 <= whole - found["instructions"]["min"] < 50 * len(rows), "the layers are all of the inference"
    again = proved(model, "qemu_cortex_m4", out=work, samples=1, profile=True)
    assert again == found, "and are counted again to the instruction"
    assert "CONV_2D" in shown(found, Paint(False))


@pytest.mark.golden
def test_a_profile_needs_a_counter(model: Path, work: Path) -> None:
    found = proved(model, out=work, samples=1, profile=True)
    assert found["layers"] is None
    assert "no profile" in shown(found, Paint(False))


@pytest.mark.golden
def test_samples_of_ones_own_are_proved(model: Path, work: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    image = random.normal(0, 3, (5, 6, 6, 2)).astype(np.float32)
    side = random.integers(-128, 128, (5, 6, 6, 2)).astype(np.int8)
    np.savez(tmp_path / "mine.npz", image=image, input_1=side)
    found = proved(model, out=work, inputs=tmp_path / "mine.npz")
    exact(found)
    assert found["samples"] == 5


def save_golden(model: Path, path: Path) -> Path:
    """What a host with TFLM leaves for others."""
    export = runtimes.export(tflite.read(model), board.load("native"), "aot")
    golden.compute(export.model, vectors.make(export.model, SAMPLES, 0), export.layers).save(path)
    return path


def hide_tflm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host for which tflite-micro has no wheel."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tflite_micro" else find_spec(name, *rest)
    )


@pytest.mark.golden
def test_saved_golden_answers_do_without_tflm(
    model: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, with_tflm = save_golden(model, tmp_path / "golden.npz"), proved(model, out=work)
    hide_tflm(monkeypatch)
    assert proved(model, out=work, golden_file=saved) == with_tflm


@pytest.mark.golden
def test_saved_golden_answers_that_were_changed_are_noticed(model: Path, work: Path, tmp_path: Path) -> None:
    saved = save_golden(model, tmp_path / "golden.npz")
    with np.load(saved) as content:
        arrays = {name: content[name].copy() for name in content.files}
    arrays["output_2"][7, 0, 3, 4, 1] += 1
    np.savez(saved, **arrays)
    found = proved(model, out=work, golden_file=saved)
    assert (found["mismatched_samples"], found["mismatched_bytes"], found["layer_mismatches"]) == (1, 1, 0)
    first = found["first_divergence"]
    # The third output is the second input: no op computes it.
    assert (first["sample"], first["op_index"], first["op"], first["tensor"]) == (7, -1, "INPUT", "side")
    assert (first["index"], first["expected"] - first["actual"]) == (3 * 12 + 4 * 2 + 1, 1)


def test_an_error_that_names_a_log_says_how_to_keep_it() -> None:
    with (
        pytest.raises(ToolError, match=r"Try: read it\. And with --out DIR"),
        verification._folder(None) as folder,
    ):
        raise ToolError(f"the log is {folder}/log.", hint="read it.")
    with pytest.raises(ToolError) as caught, verification._folder(None):
        raise ToolError("no compiler.")
    assert caught.value.hint is None


def test_without_tflm_and_saved_answers_nothing_is_built(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_tflm(monkeypatch)
    with pytest.raises(ToolError, match="tflite-micro is not installed") as caught:
        proved(model, out=tmp_path / "out")
    assert "--golden FILE.npz" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


@pytest.mark.golden
@pytest.mark.zoo
@pytest.mark.emulated
@pytest.mark.parametrize("name", on_boards("qemu_cortex_m4"))
@pytest.mark.parametrize(("file", "layers"), [("kws_ref_model", 13), ("ad01_int8", 10)])
def test_a_published_model_is_proved_on_every_board_that_it_fits(
    file: str, layers: int, name: str, model_zoo: Path
) -> None:
    path = model_zoo / "mlperf_tiny" / f"{file}.tflite"
    graph, target = tflite.read(path), board.load(name)
    if check_export(graph, runtimes.export(graph, target, "aot"), target).fits:
        found = proved(path, name, samples=100 if FULL else 3)
        exact(found, layers)
        if FULL:
            assert json.dumps(proved(path, name, samples=100)) == json.dumps(found)
    else:
        assert name == "qemu_cortex_m0"
        with pytest.raises(BudgetError, match=r"(flash|RAM): about [\d,]+ bytes are needed, the board has"):
            proved(path, name)
