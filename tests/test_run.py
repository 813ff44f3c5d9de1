from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline import cli
from pipeline.errors import BoardError, GateError, RequestError
from pipeline.run import STAGES, RunResult, run_recipe
from pipeline.tflm_library import CHIRALE
from tests import tiny_recipe
from tests.tflite_builder import TfliteBuilder
from tests.tiny_recipe import leftovers, report

pytestmark = [pytest.mark.golden, pytest.mark.emulated]


def run(recipe: Path, work: Path, *boards: str, until: str | None = None, force: bool = False) -> RunResult:
    return run_recipe(recipe, boards=boards, until=until, out=work, force=force, progress=lambda *_: None)


def made(result: RunResult) -> set[str]:
    return {step.stage for step in result.steps if not step.reused}


def reused(result: RunResult) -> set[str]:
    return {step.stage for step in result.steps if step.reused}


ALL = {"data", "model", "golden", "firmware-native-aot", "verify-native-aot"}
OF_A_STAGE = {
    "train": {"data", "model"},
    "golden": {"data", "model", "golden"},
    "build": {"data", "model", "golden", "firmware-native-aot"},
    "verify": ALL,
    "report": ALL,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RunResult]:
    """A recipe, its work folder after a whole run, and what the run returned. Look, but do not touch."""
    folder = tmp_path_factory.mktemp("done")
    recipe = tiny_recipe.write(folder)
    return recipe, folder / "work", run(recipe, folder / "work")


@pytest.fixture
def copy(done: tuple[Path, Path, RunResult], tmp_path: Path) -> tuple[Path, Path]:
    """The same recipe and work folder, to do anything with."""
    shutil.copytree(done[0].parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / done[0].name, tmp_path / "work"


def test_a_recipe_becomes_a_proof_and_a_report(done: tuple[Path, Path, RunResult]) -> None:
    _, work, result = done
    assert (result.exit_code, result.problems) == (0, ())
    assert result.report == work / "report" / "report.html"
    assert made(result) == ALL
    [target] = result.targets
    assert (target["board"], target["runtime"], target["exact"]) == ("native", "aot", True)
    assert (target["verify"]["samples"], target["verify"]["mismatched_samples"]) == (tiny_recipe.SAMPLES, 0)
    accuracy = target["device_accuracy"]
    assert (accuracy["total"], accuracy["mismatched_samples"]) == (12, 0)
    assert accuracy["correct"] == accuracy["host_correct"]


def test_the_report_is_written_in_three_forms(done: tuple[Path, Path, RunResult]) -> None:
    folder = done[1] / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "report.html", "report.json"]
    assert report(done[1])["recipe"]["name"] == "tiny"
    assert [target["board"]["id"] for target in report(done[1])["targets"]] == ["native"]
    assert not list(ElementTree.parse(folder / "junit.xml").iter("failure"))
    assert "tiny" in (folder / "report.html").read_text()


def test_nothing_half_made_is_left(done: tuple[Path, Path, RunResult]) -> None:
    assert leftovers(done[1]) == []
    assert not (done[1] / ".owner").exists()


def test_the_json_is_json_and_names_files_that_are_there(done: tuple[Path, Path, RunResult]) -> None:
    found = json.loads(json.dumps(done[2].as_json()))
    assert (
        Path(found["report"]).is_file() and Path(found["golden"]).is_file() and Path(found["model"]["path"]).is_file()
    )
    assert [(Path(path) / "platformio.ini").is_file() for path in found["projects"]] == [True]
    assert set(found["timing"]) == ALL


def test_the_json_of_run_and_verify_has_the_keys_of_the_docs(done: tuple[Path, Path, RunResult]) -> None:
    sections = (Path(__file__).parents[1] / "docs" / "json.md").read_text(encoding="utf-8").split("\n## ")[1:]
    described = {section.split("`")[1]: re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.M)))
                 for section in sections}  # fmt: skip
    found = done[2].as_json()
    assert sorted(described["tensorflash run --json"]) == sorted(found)
    assert sorted(described["tensorflash verify --json"]) == sorted(found["targets"][0]["verify"])


def test_a_second_run_makes_nothing_and_says_the_same(copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    before = (work / "report" / "report.json").read_bytes()
    result = run(recipe, work)
    assert (made(result), reused(result)) == (set(), ALL)
    assert (work / "report" / "report.json").read_bytes() == before


def test_a_forced_run_makes_everything_and_says_the_same(copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    before = report(work)
    assert made(run(recipe, work, force=True)) == ALL
    assert report(work) == before
    assert leftovers(work) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_stops_after_the_stage_that_was_named(stage: str, copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    shutil.rmtree(work / "report")
    result = run(recipe, work, until=stage)
    assert reused(result) == OF_A_STAGE[stage]
    assert (result.report is not None) == (work / "report").exists() == (stage == "report")
    assert len(result.targets) == (stage in ("verify", "report"))


def test_stages_beyond_the_last_one_are_not_begun_and_may_follow_later(tmp_path: Path) -> None:
    recipe = tiny_recipe.write(tmp_path)
    assert made(run(recipe, tmp_path / "work", until="train")) == OF_A_STAGE["train"]
    result = run(recipe, tmp_path / "work", until="golden")
    assert (made(result), reused(result)) == ({"golden"}, OF_A_STAGE["train"])
    steps = {path.name.rpartition("-")[0] for path in (tmp_path / "work").iterdir() if (path / "step.json").exists()}
    assert steps == OF_A_STAGE["golden"]


def test_what_does_not_build_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    recipe = tiny_recipe.write(tmp_path, target="qemu_cortex_m4")
    assert made(run(recipe, tmp_path / "work", until="golden")) == OF_A_STAGE["golden"]


def test_other_boards_take_the_place_of_the_recipes(copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    tiny_recipe.write(recipe.parent, target="qemu_riscv32")
    result = run(recipe, work, "native", "native")
    assert reused(result) >= OF_A_STAGE["build"]
    assert [target["board"] for target in result.targets] == ["native"]
    with pytest.raises(BoardError, match="qemu_cortex_m99"):
        run(recipe, work, "native", "qemu_cortex_m99")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("samples", {"golden", "verify-native-aot"}),
        ("data", {"data", "model", "verify-native-aot"}),
        ("without test set", {"verify-native-aot"}),
        ("labels", {"firmware-native-aot", "verify-native-aot"}),
        ("input", ALL - {"golden"}),
        ("formatting", set()),
        ("lost image", {"firmware-native-aot"}),
    ],
)
def test_a_change_makes_again_what_depends_on_it(change: str, again: set[str], copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    if change == "samples":
        tiny_recipe.write(recipe.parent, samples=6)
    elif change == "data":
        tiny_recipe.write_data(recipe.parent / "data.npz", seed=1)
    elif change == "without test set":
        tiny_recipe.write(recipe.parent, verify="{samples: 5, layer_samples: 2, test_set: false}")
    elif change == "labels":
        tiny_recipe.write(recipe.parent, labels="[a, b, c]")
    elif change == "input":
        tiny_recipe.write(recipe.parent, input="{raw: float32, mean: [0.5, 0, 0.25, 0], std: 2}")
    elif change == "formatting":
        recipe.write_text("# a comment\n" + recipe.read_text())
    else:
        next(work.glob("firmware-*/images/trace.elf")).write_bytes(b"")
    result = run(recipe, work)
    assert (made(result), reused(result)) == (again, ALL - again)
    assert result.exit_code == 0
    if change == "without test set":
        assert result.targets[0]["device_accuracy"] is None
    if change == "input":
        stated = {"raw": "float32", "scale": [0.5], "offset": [-0.25, 0.0, -0.125, 0.0], "layout": "channels_last"}
        assert report(work)["input_contract"] == stated
        headers = list(work.glob("firmware-*/project/lib/*/include/*_contract.h"))
        assert any("void small_preprocess(const float *raw, int8_t *input);" in path.read_text() for path in headers)


def test_a_model_without_data_is_proved_all_the_same(copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    tiny_recipe.write(recipe.parent, data="")
    result = run(recipe, work)
    assert (made(result), reused(result)) == ({"verify-native-aot"}, {"golden", "firmware-native-aot"})
    assert result.exit_code == 0


def test_an_emulated_board_and_the_host_say_the_same(copy: tuple[Path, Path]) -> None:
    recipe, work = copy
    tiny_recipe.write(recipe.parent, targets="[{board: native}, {board: qemu_cortex_m4}]")
    result = run(recipe, work)
    assert made(result) == {"firmware-qemu_cortex_m4-aot", "verify-qemu_cortex_m4-aot"}
    host, board = result.targets
    assert board["exact"] and board["device_accuracy"] == host["device_accuracy"]
    assert board["verify"]["instructions"]["median"] > 0
    rungs = [rung["rung"] for rung in report(work)["targets"][1]["ladder"]]
    assert rungs[-3:] == ["TFLM on the host", "aot on native", "aot on qemu_cortex_m4"]


def at_the_edges(io: str) -> bytes:
    """RELU and SOFTMAX on int8, with inputs and outputs of another type, as the converter writes them."""
    quantized = {"float32": {}, "uint8": {"scale": 0.5, "zero_point": 127}}[io]
    probability = {"float32": {}, "uint8": {"scale": 1 / 256, "zero_point": 0}}[io]
    model = TfliteBuilder()
    x, codes = model.input((1, 4), dtype=io, **quantized), model.tensor((1, 4), scale=0.5, zero_point=-1)
    relu, softmax = (
        model.tensor((1, 4), scale=0.25, zero_point=-128),
        model.tensor((1, 4), scale=1 / 256, zero_point=-128),
    )
    model.op("QUANTIZE", [x], [codes])
    model.op("RELU", [codes], [relu])
    model.op("SOFTMAX", [relu], [softmax], beta=1.0)
    model.op("QUANTIZE" if io == "uint8" else "DEQUANTIZE", [softmax], [model.output((1, 4), dtype=io, **probability)])
    return model.build()


@pytest.mark.parametrize(("io", "board"), [("uint8", "qemu_cortex_m4"), ("float32", "native")])
def test_a_model_with_other_types_at_its_edges_is_proved_and_fed_with_raw_data(
    io: str, board: str, tmp_path: Path
) -> None:
    recipe = tiny_recipe.write(
        tmp_path, target=board, input="{raw: int16, scale: [0.5, 0.25, 1, 2], offset: -3}", labels="[a, b, c, d]"
    )
    (tmp_path / "small.tflite").write_bytes(at_the_edges(io))
    raw = np.random.default_rng(2).integers(-30, 30, (12, 4)).astype(np.int16)
    np.savez(tmp_path / "data.npz", x_test=raw, y_test=np.arange(12) % 4)
    [target] = run(recipe, tmp_path / "work").targets
    assert (target["exact"], target["device_accuracy"]["mismatched_samples"]) == (True, 0)
    assert target["device_accuracy"]["total"] == 12


def test_a_test_set_beyond_the_models_range_is_a_warning_of_the_run(tmp_path: Path) -> None:
    recipe = tiny_recipe.write(tmp_path)
    np.savez(tmp_path / "data.npz", x_test=np.full((5, 4), 200.0), y_test=np.zeros(5, int))
    [warning] = run(recipe, tmp_path / "work", until="train").as_json()["warnings"]
    assert "100.0 % of the test set's values lie outside of -63.5 to 64" in warning


def test_data_that_somebody_has_normalised_already_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe.write(tmp_path, input="{raw: uint8, range: [-1, 1]}")  # its data are float32
    assert cli.main(["run", str(recipe), "--out", str(tmp_path / "work")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "data.npz: x_test is float32; the recipe's input section says that raw data are uint8." in said
    assert "without normalisation" in said


@pytest.mark.parametrize(
    ("targets", "library"),
    [
        ("[{board: nano_33_ble_sense, runtime: tflm}, {board: native}]", [CHIRALE.name]),
        ("[{board: esp32_s3_devkitc_1, runtime: tflm}, {board: nano_33_ble_sense, runtime: aot}]", []),
    ],
)
def test_training_is_told_of_libraries_that_compute_dense_wrongly(
    targets: str, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def train(*_: object, one_dense_scale_for: Sequence[str]) -> NoReturn:
        told.extend(one_dense_scale_for)
        raise GateError("far enough")

    monkeypatch.setattr("pipeline.run.training.train", train)
    with pytest.raises(GateError, match="far enough"):
        run(tiny_recipe.write(tmp_path, targets=targets), tmp_path / "work", until="train")
    assert told == library


def test_an_unknown_stage_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no stage 'deploy'") as caught:
        run(tmp_path / "nowhere.yaml", tmp_path / "work", until="deploy")
    assert "train, golden, build, verify, report" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


MODEL = """
import tf_keras

def build():
    image = tf_keras.Input((4,))
    return tf_keras.Model(image, tf_keras.layers.Dense(2, activation="softmax")(image))
"""
# Calibrated with values close to zero, the quantized model cannot tell the classes apart.
DATA = """
import numpy as np

def load():
    random = np.random.default_rng(1)
    x = random.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    x[y == 1, 1] += 100
    return {"train": (x, y), "test": (x[:60], y[:60]), "representative": 1e-3 * x[:5]}
"""


RAW = """
import numpy as np

def load():
    random = np.random.default_rng(1)
    x = random.integers(0, 256, (120, 3, 6, 5)).astype(np.uint8)  # channels first
    y = np.arange(120) % 2
    x[y == 1, 0] //= 4
    return {"train": (x, y), "test": (x[:40], y[:40]), "representative": x[:60]}
"""
IMAGES = """
import tf_keras
from tf_keras import layers

def build():
    image = tf_keras.Input((6, 5, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    return tf_keras.Model(image, layers.Dense(2, activation="softmax")(x))
"""


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("method", ["ptq", "qat"])
def test_a_network_is_trained_on_raw_bytes_and_converted_to_uint8(method: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(IMAGES)
    (tmp_path / "source.py").write_text(RAW)
    recipe = tiny_recipe.write(
        tmp_path,
        model="{factory: net.py:build}",
        data="{factory: source.py:load}",
        input="{raw: uint8, layout: channels_first, mean: [100, 128, 128], std: [60, 74, 74]}",
        train="{epochs: 3, learning_rate: 0.01}",
        quantize=f"{{method: {method}{', epochs: 1' if method == 'qat' else ''}}}",
        convert="{io: uint8, per_channel_dense: false}",
        targets="[{board: native}, {board: qemu_cortex_m4}]",
        labels="[bright, dark]",
    )
    result = run(recipe, tmp_path / "work")
    assert [target["exact"] for target in result.targets] == [True, True]
    found = report(tmp_path / "work")
    assert {tensor["dtype"] for tensor in (*found["model"]["inputs"], *found["model"]["outputs"])} == {"uint8"}
    assert found["targets"][0]["device_accuracy"]["correct"] > 30
    assert found["quantization"]["ranges"]


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("io", ["int16", "float32"])
def test_a_network_with_activations_of_int16_is_proved_from_raw_bytes_to_labels(io: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(IMAGES)
    (tmp_path / "source.py").write_text(RAW)
    recipe = tiny_recipe.write(
        tmp_path,
        model="{factory: net.py:build}",
        data="{factory: source.py:load}",
        input="{raw: uint8, layout: channels_first, mean: [100, 128, 128], std: [60, 74, 74]}",
        train="{epochs: 3, learning_rate: 0.01}",
        quantize="{method: ptq}",
        convert=f"{{activations: int16, io: {io}}}",
        targets="[{board: native}, {board: qemu_cortex_m3}, {board: qemu_cortex_m4}]",
        labels="[bright, dark]",
    )
    result = run(recipe, tmp_path / "work")
    assert [target["exact"] for target in result.targets] == [True, True, True]
    found = report(tmp_path / "work")
    assert {tensor["dtype"] for tensor in (*found["model"]["inputs"], *found["model"]["outputs"])} == {io}
    assert found["targets"][0]["device_accuracy"]["correct"] > 30
    assert found["quantization"]["ranges"] and found["quantization"]["activations"] == "int16"
    litert = found["targets"][0]["verify"]["litert"]
    assert litert["package"] is not None and litert["mismatched_samples"] is not None
    headers = [path.read_text() for path in (tmp_path / "work").glob("firmware-*/project/**/tiny_contract.h")]
    c_type = {"int16": "int16_t", "float32": "float"}[io]
    assert len(headers) == 3 and all(f"{c_type} *input" in header for header in headers)


def test_activations_of_int16_are_not_for_an_edge_tpu(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(IMAGES)
    recipe = tiny_recipe.write(
        tmp_path,
        model="{factory: net.py:build}",
        quantize="{method: ptq}",
        convert="{activations: int16}",
    )
    with pytest.raises(RequestError, match="activations of int16, and an Edge TPU computes with int8"):
        run(recipe, tmp_path / "work", "coral_usb", until="train")


@pytest.mark.train
def test_a_gate_that_fails_is_an_exit_code_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "source.py").write_text(DATA)
    recipe = tiny_recipe.write(
        tmp_path,
        name="gated",
        model="{factory: net.py:build}",
        data="{factory: source.py:load}",
        train="{epochs: 3, learning_rate: 0.1}",
        quantize="{method: ptq}",
        convert="{activations: int16}",
        gate="{max_drop: 0.01}",
        labels="",
    )
    assert cli.main(["run", str(recipe), "--out", str(tmp_path / "gated"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] and "gate" in found["problems"][0]
    assert found["quantization"]["gate"]["passed"] is False and found["quantization"]["activations"] == "int16"
    assert found["targets"][0]["exact"] is True
    assert report(tmp_path / "gated")["quantization"]["gate"]["passed"] is False
    assert list(ElementTree.parse(tmp_path / "gated" / "report" / "junit.xml").iter("failure"))
    assert leftovers(tmp_path) == []
