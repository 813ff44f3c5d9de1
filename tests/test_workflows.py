"""The ways in which a model becomes int8, each from another source of models, each as a recipe.

whole_model_qat               .h5 of a Sequential model of Keras 3
ptq                           SavedModel of a functional model of tf_keras
qat_of_chosen_layers          factory of a functional model of Keras 3, a CNN with batch normalization
qat_after_transfer_learning   .keras of Keras 3, a base inside of the model
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, tflite
from pipeline.audit import require_int8

pytestmark = [pytest.mark.train, pytest.mark.golden]

CASES = Path(__file__).parent / "workflow_cases.py"
WORKFLOWS = ["whole_model_qat", "ptq", "qat_of_chosen_layers", "qat_after_transfer_learning"]


def carried_out(folder: Path, *workflows: str, before: str = "") -> dict[str, Any]:
    """Carry out workflows in a new process. before: Python that it runs first."""
    script = (
        f"{before}\nimport runpy, sys; sys.argv[0] = {str(CASES)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *workflows],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": "."},
        cwd=CASES.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workflows")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    results = carried_out(folder)
    assert list(results) == WORKFLOWS
    return results


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_workflow_gives_an_int8_model_that_has_learnt(results: dict[str, Any], workflow: str) -> None:
    found = results[workflow]
    require_int8(tflite.read(Path(found["model"])))
    assert min(found["correct"].values()) >= 60  # of 64; a third is chance


@pytest.mark.parametrize("workflow", [name for name in WORKFLOWS if name != "ptq"])
def test_the_int8_model_answers_as_its_simulation(results: dict[str, Any], workflow: str) -> None:
    agreement = results[workflow]["agreement"]
    assert agreement["samples"] == 64 and agreement["same"] >= 0.99 * 64


def test_whole_model_qat_simulates_every_layer(results: dict[str, Any]) -> None:
    found = results["whole_model_qat"]
    assert found["method"] == "qat"
    assert [layer["kind"] for layer in found["layers"] if layer["int8"]] == [
        "Conv2D",
        "BatchNormalization",
        "ReLU",
        "Flatten",
        "Dropout",
        "Dense",
    ]


def test_ptq_calibrates_with_a_representative_dataset_and_trains_nothing(results: dict[str, Any]) -> None:
    found = results["ptq"]
    assert found["method"] == "ptq" and set(found["files"]) == {"ptq"}
    assert found["representative"]["samples"] == 40
    assert sum(found["representative"]["classes"]) == 40


def test_qat_of_a_functional_cnn_with_batch_norm_may_be_of_chosen_layers_only(results: dict[str, Any]) -> None:
    layers = {layer["name"]: layer for layer in results["qat_of_chosen_layers"]["layers"]}
    left_out = {"depthwise", "depthwise_bn", "scores"}
    assert {name for name, layer in layers.items() if not layer["int8"]} == left_out
    assert all(layers[name]["reason"] == "excluded by the recipe" for name in left_out)


def test_qat_against_ptq_on_the_same_model_is_in_the_report(results: dict[str, Any]) -> None:
    for name in ("whole_model_qat", "qat_of_chosen_layers", "qat_after_transfer_learning"):
        found = results[name]
        methods = {method["name"]: method for method in found["report"]["methods"]}
        assert list(methods) == ["float", "ptq", "qat"]
        assert {name: method["correct"] for name, method in methods.items()} == found["correct"]
        assert found["files"]["ptq"] != found["files"]["qat"]


def test_qat_after_transfer_learning_keeps_what_the_last_phase_froze(results: dict[str, Any]) -> None:
    layers = results["qat_after_transfer_learning"]["layers"]
    assert [layer["name"] for layer in layers if layer["frozen"]] == ["conv", "bn"]
    assert [layer["name"] for layer in layers if not layer["frozen"] and layer["kind"] == "Dense"] == ["scores"]
    assert all(layer["int8"] for layer in layers)
    history = results["qat_after_transfer_learning"]["report"]["history"]
    assert [len(history[part]["loss"]) for part in ("float", "qat")] == [7, 1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be pinned to a core here")
def test_from_scratch_in_another_folder_on_one_core_the_files_are_the_same(
    results: dict[str, Any], tmp_path: Path
) -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    again = carried_out(tmp_path, WORKFLOWS[0], before=pin)
    assert set(again[WORKFLOWS[0]]["files"]) == {"ptq", "qat"}
    assert again[WORKFLOWS[0]]["files"] == results[WORKFLOWS[0]]["files"]


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.parametrize("workflow", WORKFLOWS)
@pytest.mark.usefixtures("results")
def test_every_workflow_ends_in_firmware_that_is_exact(
    folder: Path, workflow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(folder / f"{workflow}.yaml"), "--out", str(folder / workflow), "--json"]) == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert target["exact"] and target["device_accuracy"]["mismatched_samples"] == 0
