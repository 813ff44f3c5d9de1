"""The examples, each carried out once from its recipe to its boards: what their READMEs say of them. Minutes each."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import recipe, tflite, training
from pipeline.run import RunResult, run_recipe
from pipeline.workspace import Workspace

pytestmark = [pytest.mark.train, pytest.mark.golden, pytest.mark.emulated, pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True)
class Expected:
    """Of an example: samples of the test set, the least accuracy of int8, the frozen layers, the ops."""

    samples: int
    accuracy: float
    frozen: int
    ops: set[str]


EXPECTED = {
    "digits": Expected(360, 0.95, 0, {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}),
    "gestures": Expected(1145, 0.75, 0, {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}),
    "transfer": Expected(496, 0.88, 70, {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}),
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Expected, RunResult]:
    path = EXAMPLES / request.param / "recipe.yaml"
    out = tmp_path_factory.mktemp(request.param) / "work"
    return EXPECTED[request.param], run_recipe(path, out=out, progress=lambda *_: None)


def test_an_example_is_exact_on_all_its_boards(example: tuple[Expected, RunResult]) -> None:
    expected, result = example
    assert (result.exit_code, result.problems) == (0, ())
    assert len(result.targets) == 2
    for target in result.targets:
        assert target["exact"] and target["verify"]["mismatched_samples"] == 0
        assert target["device_accuracy"]["total"] == expected.samples
        assert target["device_accuracy"]["mismatched_samples"] == 0


def test_an_example_answers_as_well_as_its_readme_says(example: tuple[Expected, RunResult]) -> None:
    expected, result = example
    evaluations = result.trained.evaluations
    assert evaluations["qat"].samples == expected.samples
    assert evaluations["qat"].accuracy >= expected.accuracy
    assert result.recipe.gate is not None
    training.check_gate(result.trained, result.recipe.gate)


def test_the_int8_model_of_an_example_answers_as_its_simulation(example: tuple[Expected, RunResult]) -> None:
    expected, result = example
    agreement = result.trained.agreement
    assert agreement is not None and agreement["samples"] == expected.samples
    assert agreement["same"] >= 0.99 * expected.samples
    compared = [layer for layer in result.trained.layers if layer["max_lsb"] is not None]
    assert compared, "differences are explained by layer"


def test_an_example_is_trained_with_all_layers_in_int8_and_the_frozen_ones_frozen(
    example: tuple[Expected, RunResult],
) -> None:
    expected, result = example
    assert all(layer["int8"] for layer in result.trained.layers)
    assert sum(layer["frozen"] for layer in result.trained.layers) == expected.frozen
    assert {op.name for op in tflite.read(result.trained.model.path).ops} == expected.ops


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be pinned to a core here")
def test_digits_from_scratch_in_two_folders_once_on_one_core_have_the_same_bytes(tmp_path: Path) -> None:
    models = []
    cores = os.sched_getaffinity(0)
    for pinned in (cores, {min(cores)}):
        folder = tmp_path / str(len(pinned))
        shutil.copytree(EXAMPLES / "digits", folder / "recipe")
        os.sched_setaffinity(0, pinned)
        try:
            with Workspace(folder / "work") as workspace:
                trained = training.train(recipe.load(folder / "recipe" / "recipe.yaml"), workspace)
        finally:
            os.sched_setaffinity(0, cores)
        models.append([trained.model.sha256, *(step.outputs for step in trained.steps)])
    assert models[0] == models[1]
