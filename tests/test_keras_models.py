import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train

CASES = Path(__file__).parent / "keras_models_cases.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every model; TensorFlow is loaded once, in a process of its own."""
    folder = tmp_path_factory.mktemp("models")
    done = subprocess.run(
        [sys.executable, str(CASES), str(folder)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": "."},
        cwd=CASES.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


SOURCES = [
    f"{who} {build}{suffix}"
    for who in ("keras 3", "tf_keras")
    for build in ("sequential", "nested", "base", "shared")
    for suffix in ("", " .keras", " .h5")
    if (who, build, suffix) != ("keras 3", "nested", " .h5")
] + ["SavedModel sequential", "SavedModel nested"]


@pytest.mark.parametrize("case", SOURCES)
def test_a_model_from_any_source_is_a_flat_tf_keras_model_with_the_same_answers(
    results: dict[str, Any], case: str
) -> None:
    made = results[case]
    assert (made["of"], made["flat"]) == ("tf_keras", True)
    assert made["difference"] <= (1e-6 if "keras 3" in case else 0.0)


@pytest.mark.parametrize("case", [case for case in SOURCES if "nested" in case])
def test_models_inside_are_taken_apart_and_what_was_frozen_stays_frozen(results: dict[str, Any], case: str) -> None:
    made = results[case]
    assert made["layers"][1:6] == ["conv", "bn", "relu", "nested_conv", "add"]
    assert made["classes"][6:] == ["GlobalAveragePooling2D", "Dense"]
    assert made["classes"][5] == "Add"  # a + b
    assert made["frozen"] == ["conv", "bn", "relu"]


@pytest.mark.parametrize("case", ["keras 3 sequential", "keras 3 sequential .keras"])
def test_a_regularizer_comes_along(results: dict[str, Any], case: str) -> None:
    assert results[case]["regularizers"] == ["scores"]


def test_a_batch_that_the_model_fixes_stays_for_a_recurrent_layer_needs_it(results: dict[str, Any]) -> None:
    assert results["fixed batch"] == [1, 8, 8]


def test_a_layer_that_is_called_twice_stays_one_layer(results: dict[str, Any]) -> None:
    assert results["keras 3 shared"]["layers"][1:] == ["twice", "flatten_1", "dense_1"]


def test_a_flat_model_of_tf_keras_is_left_as_it_is(results: dict[str, Any]) -> None:
    assert results["untouched"] is True


def test_the_graph_in_a_saved_model_never_runs(results: dict[str, Any]) -> None:
    assert results["a program"]["difference"] == 0.0
    assert results["a program ran"] is False


REFUSED = {
    "exported": "a SavedModel without Keras's description of its layers",
    "keras 3 nested .h5": "nested-keras3.h5: Keras 3",
    "lambda": "layer lambda (Lambda) cannot be brought over to tf_keras",
    "lambda .keras": "lambda.keras: layer lambda: a Lambda layer is Python code in a file; it is not run",
    "lambda .h5": "lambda.h5: layer lambda: a Lambda layer is Python code in a file; it is not run",
    "own class": "layer squeeze (Squeeze) cannot be brought over to tf_keras: Squeeze is a class of your own",
    "own class .keras": "own_class.keras: layer squeeze is a Squeeze: a class of your own",
    "own class .h5": "Squeeze",
    "group normalization": "layer rms_normalization (RMSNormalization) cannot be brought over to tf_keras",
    "an operation": "layer sin (Sin) cannot be brought over to tf_keras: it is an operation of keras.ops",
    "a constant": "Add with a constant has no layer in tf_keras",
    "subclassed": "the model subclassed (Subclassed) has no graph of layers",
    "mixed precision": "layer rescaling computes in float16: mixed precision cannot be quantized",
    "mixed precision of tf_keras": "layer conv computes in bfloat16: mixed precision cannot be quantized",
    "NaN": "layer conv: 1 of 36 values of conv/kernel:0 are NaN or infinite",
    "no input": "has no graph of layers that could be followed",
    "state in a loop": "layer lstm is a LSTM with a loop: of those the converter crashes on all but an LSTM",
    "weights only": "only.weights.h5: holds weights, but no model",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_brought_over_is_named(results: dict[str, Any], case: str) -> None:
    assert REFUSED[case] in results[case]["error"]
    assert results[case]["hint"]
