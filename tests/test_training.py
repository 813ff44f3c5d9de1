import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import golden, recipe, tflite, tflm, training
from pipeline.audit import require_int8
from pipeline.errors import DataError, GateError, RecipeError
from pipeline.recipe import Gate
from pipeline.tflm_library import CHIRALE
from pipeline.training import Evaluation, Trained
from pipeline.workspace import Workspace

MODEL = """
import tf_keras
from tf_keras import layers

def build():
    image = tf_keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, use_bias=False)(image)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(image, layers.Dense(2, activation="softmax")(x))
"""

# Which half of the image is brighter.
DATA = """
import numpy as np

def load():
    random = np.random.default_rng(1)
    x = random.random((400, 6, 6, 1)).astype(np.float32)
    y = random.integers(0, 2, 400)
    x[y == 1, :3] += 0.5
    x[y == 0, 3:] += 0.5
    return {"train": (x[:300], y[:300]), "test": (x[300:], y[300:]), "representative": x[:50]}
"""

RECIPE = """
name: halves
model: {factory: model.py:build}
data: {factory: data.py:load}
train: {epochs: 4, learning_rate: 1e-2}
quantize: {method: qat, epochs: 2, learning_rate: 1e-3}
gate: {max_drop: 0.05}
targets: [{board: native}]
labels: [lower, upper]
"""


def write(folder: Path, text: str = RECIPE, model: str = MODEL, data: str = DATA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(model)
    (folder / "data.py").write_text(data)
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def train(path: Path, work: Path, progress: training.Progress = lambda stage, done, total: None) -> Trained:
    with Workspace(work) as workspace:
        return training.train(recipe.load(path), workspace, progress)


@dataclasses.dataclass(frozen=True)
class Made:
    trained: Trained
    recipe: Path
    work: Path
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A small recipe, carried out once for all tests here."""
    folder = tmp_path_factory.mktemp("halves")
    path = write(folder / "recipe")
    calls: list[tuple[str, int, int]] = []
    trained = train(path, folder / "work", lambda *call: calls.append(call))
    return Made(trained, path, folder / "work", calls)


@pytest.mark.train
def test_a_recipe_becomes_an_int8_model_under_its_own_name(made: Made) -> None:
    model = made.trained.model
    assert (model.name, model.path.name) == ("halves", "halves.tflite")
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("int8", "int8")
    require_int8(tflite.read(model.path))


@pytest.mark.train
def test_float_ptq_and_qat_are_tested_on_the_whole_test_set(made: Made) -> None:
    assert list(made.trained.evaluations) == ["float", "ptq", "qat"]
    for evaluation in made.trained.evaluations.values():
        assert evaluation.samples == 100
        assert evaluation.accuracy >= 0.9  # two halves of an image are not hard to tell apart


@pytest.mark.train
def test_every_epoch_is_in_the_history_and_in_the_progress(made: Made) -> None:
    assert {name: len(curves["loss"]) for name, curves in made.trained.history.items()} == {"float": 4, "qat": 2}
    assert list(dict.fromkeys(stage for stage, _, _ in made.progress)) == ["data", "float", "ptq", "qat", "model"]
    floats = [(done, total) for stage, done, total in made.progress if stage == "float"]
    assert list(dict.fromkeys(floats)) == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.train
@pytest.mark.golden
def test_the_answers_of_tflm_to_the_test_set_are_kept(made: Made) -> None:
    trained = made.trained
    assert trained.test is not None and trained.test.golden is not None
    answers = golden.load(trained.test.golden, trained.model)
    assert answers.samples == 100
    np.testing.assert_array_equal(answers.vectors.inputs[0], trained.test.vectors().inputs[0])
    assert trained.judge == answers.source
    matrix = training.confusion(answers.outputs[0], trained.test.answers())
    assert matrix == trained.evaluations["qat"].confusion


@pytest.mark.train
@pytest.mark.golden
def test_the_int8_model_answers_as_its_simulation_and_each_layer_is_compared(made: Made) -> None:
    trained = made.trained
    assert trained.agreement is not None and trained.agreement["samples"] == 100
    assert trained.agreement["same"] >= 99
    assert [layer["kind"] for layer in trained.layers] == ["Conv2D", "BatchNormalization", "ReLU", "Flatten", "Dense"]
    compared = {layer["kind"]: layer["max_lsb"] for layer in trained.layers if layer["max_lsb"] is not None}
    assert {"ReLU", "Dense"} <= set(compared)
    assert compared["ReLU"] <= 2


@pytest.mark.train
def test_changes_from_the_float_model_are_counted_by_sample(made: Made) -> None:
    report = training.quantization_report(made.trained, None)
    assert report is not None
    float_, ptq, qat = report["methods"]
    assert float_["against_float"] is None
    for method in (ptq, qat):
        against = method["against_float"]
        assert against["gained"] - against["lost"] == method["correct"] - float_["correct"]
        assert against["changed"] >= against["gained"] + against["lost"]
        assert against["interval"][0] <= against["difference"] <= against["interval"][1]
    assert report["representative"]["classes"] is not None and sum(report["representative"]["classes"]) == 50


@pytest.mark.train
def test_the_report_holds_the_accuracies_side_by_side(made: Made) -> None:
    report = training.quantization_report(made.trained, Gate(max_drop=1.0))
    assert report is not None
    assert [(m["name"], m["chosen"], m["total"]) for m in report["methods"]] == [
        ("float", False, 100),
        ("ptq", False, 100),
        ("qat", True, 100),
    ]
    assert report["gate"]["passed"] and report["representative"]["samples"] == 50
    assert json.loads(json.dumps(report)) is not None


@pytest.mark.train
def test_a_second_run_finds_every_step_and_the_same_result(made: Made) -> None:
    again = train(made.recipe, made.work)
    assert all(step.reused for step in again.steps)
    assert dataclasses.replace(again, steps=()) == dataclasses.replace(made.trained, steps=())


@pytest.mark.train
def test_a_recipe_that_moves_finds_every_step(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.recipe.parent, tmp_path / "elsewhere")
    shutil.copytree(made.work, tmp_path / "work")
    again = train(tmp_path / "elsewhere" / "recipe.yaml", tmp_path / "work")
    assert all(step.reused for step in again.steps)


@pytest.mark.train
def test_a_change_makes_what_depends_on_it_and_nothing_else(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.work, tmp_path / "work")
    path = write(tmp_path / "r", RECIPE.replace("method: qat", "method: ptq").replace("epochs: 2, ", ""))
    again = train(path, tmp_path / "work")
    assert {step.stage: step.reused for step in again.steps} == {
        "data": True,
        "float": True,
        "ptq": True,
        "model": False,
    }
    assert again.method == "ptq" and list(again.evaluations) == ["float", "ptq"]
    assert again.evaluations["ptq"] == made.trained.evaluations["ptq"]


@pytest.mark.train
def dense_scales(trained: Trained) -> list[int]:
    graph = tflite.read(trained.model.path)
    return [graph.tensor(op.inputs[1]).scales.size for op in graph.ops if op.name == "FULLY_CONNECTED"]


@pytest.mark.train
@pytest.mark.slow
def test_dense_gets_one_scale_for_a_library_that_would_compute_several_wrongly(made: Made, tmp_path: Path) -> None:
    text = RECIPE.replace("qat, epochs: 2, learning_rate: 1e-3", "ptq")
    found = {}
    for name, convert in (("", ""), ("insisting", "convert: {per_channel_dense: true}\n")):
        shutil.copytree(made.work, tmp_path / name / "work")
        path = write(tmp_path / name, text + convert)
        with Workspace(tmp_path / name / "work") as workspace:
            found[name] = training.train(recipe.load(path), workspace, one_dense_scale_for=[CHIRALE.name])
    assert (dense_scales(found[""]), dense_scales(found["insisting"])) == ([1], [2])
    [said] = [warning for warning in found[""].warnings if "Dense" in warning]
    assert CHIRALE.name in said and "per_channel_dense" in said
    assert not any("Dense" in warning for warning in found["insisting"].warnings)
    problems = [tflm.preflight(tflite.read(trained.model.path), CHIRALE) for trained in found.values()]
    assert problems[0] == () and "its weights have a scale for each of 2 outputs" in problems[1][0]


def test_a_given_int8_model_is_tested_without_training(made: Made, tmp_path: Path) -> None:
    path = write(
        tmp_path / "r", f"name: x\nmodel: {{tflite: {made.trained.model.path}}}\ndata: {{factory: data.py:load}}\n"
        "targets: [{board: native}]\n",
    )  # fmt: skip
    given = train(path, tmp_path / "work")
    assert given.method == "given" and given.model.sha256 == made.trained.model.sha256
    assert given.evaluations["given"].confusion == made.trained.evaluations["qat"].confusion
    assert training.quantization_report(given, None) is None


@pytest.mark.train
def test_a_step_that_fails_leaves_the_steps_before_it_and_its_log(tmp_path: Path) -> None:
    path = write(tmp_path / "r", model=MODEL.replace("x = layers.Flatten()(x)", "raise ValueError('too deep')"))
    with pytest.raises(RecipeError, match=r"model\.py:10: build\(\) raised ValueError: too deep"):
        train(path, tmp_path / "work")
    assert {p.name.partition("-")[0] for p in (tmp_path / "work").iterdir()} == {"data", "logs", ".lock"}
    assert "ValueError: too deep" in (tmp_path / "work" / "logs" / "float.log").read_text()


@pytest.mark.parametrize(
    ("npz", "message"),
    [
        ({"x_test": np.ones((3, 4)), "y_test": np.arange(3)}, "no representative data"),
        ({"x_test": np.ones((3, 4)), "y_test": np.arange(3), "x_representative": np.full((3, 4), np.nan)}, "NaN"),
        ({"x_test": np.ones((3, 4)), "y_test": np.arange(3), "x_representative": np.ones((0, 4))}, "is empty"),
        ({"x_test": np.ones((3, 4)), "y_test": np.arange(3), "x_representative": np.eye(5)}, r"have shape \[5\]"),
    ],
)
@pytest.mark.train
def test_bad_representative_data_is_refused_before_anything_is_trained(
    npz: dict[str, Any], message: str, tmp_path: Path
) -> None:
    text = RECIPE.replace("factory: data.py:load", "npz: d.npz").replace("method: qat", "method: ptq")
    path = write(tmp_path / "r", text.replace("train: {epochs: 4, learning_rate: 1e-2}\n", ""))
    np.savez(tmp_path / "r" / "d.npz", **npz)
    with pytest.raises(DataError, match=message):
        train(path, tmp_path / "work")
    assert {p.name for p in (tmp_path / "work").iterdir()} <= {"logs", ".lock"}


def trained_with(float_correct: int, int8_correct: int, samples: int = 300) -> Trained:
    def evaluation(correct: int) -> Evaluation:
        return Evaluation(((correct, samples - correct), (0, 0)), 1)

    model = None
    return Trained(model, "qat", {"float": evaluation(float_correct), "qat": evaluation(int8_correct)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("int8", "passed"), [(300, True), (290, True), (288, True), (287, True), (286, False), (0, False)]
)
def test_the_gate_counts_samples(int8: int, passed: bool) -> None:
    trained = trained_with(290, int8)
    report = training.gate_report(trained, Gate(max_drop=0.01))
    assert report is not None and report["passed"] is passed
    if passed:
        training.check_gate(trained, Gate(max_drop=0.01))
    else:
        with pytest.raises(GateError, match=rf"right on {int8} of 300 test samples, the float model on 290") as caught:
            training.check_gate(trained, Gate(max_drop=0.01))
        assert caught.value.exit_code == 1


def test_without_a_gate_everything_passes() -> None:
    assert training.gate_report(trained_with(300, 0), None) is None
    training.check_gate(trained_with(300, 0), None)


def test_of_equal_scores_the_first_class_is_the_answer() -> None:
    scores = np.array([[[3, 3, 1]], [[0, 5, 5]], [[-1, -1, -1]]], np.int8)
    assert training.confusion(scores, np.array([0, 2, 2])) == ((1, 0, 0), (0, 0, 0), (1, 1, 0))


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be pinned to a core here")
def test_pinned_to_one_core_in_another_folder_training_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pinned = train(write(tmp_path / "elsewhere"), tmp_path / "work")
    finally:
        os.sched_setaffinity(0, cores)
    for before, after in zip(made.trained.steps, pinned.steps, strict=True):
        assert before.outputs == after.outputs, before.stage
