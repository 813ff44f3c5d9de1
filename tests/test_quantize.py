import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train

CASES = Path(__file__).parent / "quantize_cases.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every case; TensorFlow is loaded once, in a process of its own."""
    folder = tmp_path_factory.mktemp("quantize")
    done = subprocess.run(
        [sys.executable, str(CASES), str(folder)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        cwd=CASES.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def test_training_gives_weights_a_history_and_a_confusion_matrix(results: dict[str, Any]) -> None:
    result = results["trained"]
    assert set(result["files"]) == {"float.weights.h5", "float.json"}
    report = result["float"]
    assert report["parameters"] == 9 * 4 + 4 * 4 + (16 * 4 + 1) * 2
    assert {curve: len(values) for curve, values in report["history"].items()} == {"loss": 3, "accuracy": 3}
    assert sum(map(sum, report["confusion"])) == 20
    assert [sum(row) for row in report["confusion"]] == [10, 10]


def test_every_epoch_is_reported(results: dict[str, Any]) -> None:
    assert results["trained"]["progress"] == [[0, 3], [1, 3], [2, 3], [3, 3]]


def test_training_again_gives_the_same_bytes(results: dict[str, Any]) -> None:
    assert results["trained again"] == results["trained"]


def test_another_seed_gives_other_weights(results: dict[str, Any]) -> None:
    weights = [results[name]["files"]["float.weights.h5"] for name in ("trained", "trained with another seed")]
    assert weights[0] != weights[1]


def test_a_model_that_gives_logits_learns_too(results: dict[str, Any]) -> None:
    losses = results["logits"]["float"]["history"]["loss"]
    assert losses[-1] < losses[0]
    assert losses[0] < 2  # log-softmax of logits; taken as probabilities they would cost several times that


@pytest.mark.parametrize("method", ["ptq", "qat"])
def test_both_methods_give_a_tflite_file(results: dict[str, Any], method: str) -> None:
    assert f"{method}.tflite" in results[method]["files"]
    assert results[method]["progress"][-1] == [1, 1]


def test_activations_of_int16_are_analysed_as_int16(results: dict[str, Any]) -> None:
    int8, int16 = (results[case] for case in ("ptq", "ptq of int16"))
    assert int16["files"]["ptq.tflite"] != int8["files"]["ptq.tflite"]
    lost = [{layer["layer"]: layer["output_sqnr_db"] for layer in case["ptq"]["layers"]} for case in (int8, int16)]
    assert all(lost[1][layer] is None or lost[1][layer] > lost[0][layer] for layer in lost[0])


def test_qat_has_a_history_of_its_own(results: dict[str, Any]) -> None:
    assert len(results["qat"]["qat"]["history"]["loss"]) == 1


def test_a_model_is_the_same_from_a_file_and_from_weights(results: dict[str, Any]) -> None:
    reports = [results[f"from {form}"]["float"] for form in ("h5", "keras", "weights")]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["history"] == {}


STEM, HEAD = ["stem/kernel:0", "stem_bn/gamma:0", "stem_bn/beta:0"], ["head/kernel:0", "head/bias:0"]
PHASES = {  # phases -> what moved, what is frozen at the end
    "the head": (HEAD, ["stem", "stem_bn"]),
    "the head, then all": ([*STEM, *HEAD], []),
    "the head, then all but batch normalization": ([STEM[0], *HEAD], ["stem_bn"]),
    "all, then the head": ([*STEM, *HEAD], ["stem", "stem_bn"]),
}


@pytest.mark.parametrize("case", PHASES)
def test_each_phase_trains_the_layers_it_names_and_batch_normalization_keeps_its_averages(
    results: dict[str, Any], case: str
) -> None:
    result = results[f"phases: {case}"]
    assert (result["moved"], result["float"]["frozen"]) == PHASES[case]


def test_epochs_of_all_phases_are_one_history_and_one_progress(results: dict[str, Any]) -> None:
    result = results["phases: the head, then all"]
    assert len(result["float"]["history"]["loss"]) == 3
    assert result["progress"] == [[0, 3], [1, 3], [2, 3], [3, 3]]


def test_layers_that_the_last_phase_froze_are_the_same_in_int8_after_qat(results: dict[str, Any]) -> None:
    frozen, trained = results["qat after the head"], results["qat after the head, then all"]
    assert frozen["stem_lsb"] <= 0.5001 < 1 < trained["stem_lsb"]
    assert [layer["name"] for layer in frozen["qat"]["layers"] if layer["frozen"]] == ["stem", "stem_bn"]
    assert not any(layer["frozen"] for layer in trained["qat"]["layers"])


def ranges(results: dict[str, Any], case: str) -> dict[str, Any]:
    return {layer["name"]: layer["activations"] for layer in results[case]["qat"]["layers"] if layer["activations"]}


def test_ranges_no_longer_move_once_they_are_frozen(results: dict[str, Any]) -> None:
    one_epoch = ranges(results, "qat")
    assert ranges(results, "qat, ranges frozen") == one_epoch
    assert ranges(results, "qat, two epochs") != one_epoch
    weights = [results[case]["files"]["qat.tflite"] for case in ("qat", "qat, ranges frozen")]
    assert weights[0] != weights[1]  # which go on


def test_training_stops_early_and_keeps_the_best_weights(results: dict[str, Any]) -> None:
    history = results["qat, stopped early"]["qat"]["history"]
    best = history["val_loss"].index(min(history["val_loss"]))
    assert len(history["loss"]) == best + 1 + 2 < 40
    outputs = [results[case]["files"]["layers.npz"] for case in ("qat, stopped early", "qat, to the best epoch")]
    assert outputs[0] == outputs[1]


def test_only_the_most_sensitive_layers_are_simulated(results: dict[str, Any]) -> None:
    worst = results["ptq"]["ptq"]["layers"][0]["merged"]
    layers = results["qat of the most sensitive"]["qat"]["layers"]
    assert {layer["name"] for layer in layers if layer["int8"]} == set(worst)


def test_calibration_has_the_quantizers_of_the_recipe_too(results: dict[str, Any]) -> None:
    four, eight = (results[case]["files"]["ptq.tflite"] for case in ("ptq with 4 bits", "ptq"))
    assert four != eight
    assert results["ptq with 4 bits"]["int4"] == 2  # of the convolution and of the dense layer
    ranked = {
        case: [layer["weights_bits"] for layer in results[case]["ptq"]["layers"]] for case in ("ptq with 4 bits", "ptq")
    }
    assert ranked["ptq with 4 bits"] == [4, 4] and ranked["ptq"] == [8, 8]


def test_a_model_with_state_is_tested_and_calibrated_one_sample_after_another(results: dict[str, Any]) -> None:
    float_, ptq = results["with state"], results["with state, ptq"]
    assert float_["float"]["answers"] == float_["one by one"]
    same = sum(a == b for a, b in zip(ptq["answers"], float_["one by one"], strict=True))
    assert same >= 19, "of 20: state begins where it began in training"
    assert ptq["ptq"]["reason"] == "the model may keep state, and takes one sample after another"
    assert {layer["layer"] for layer in ptq["ranges"]} == {"with_last", "conv", "scores"}


MISTAKES = {
    "with state, trained": ("ModelError", "the model was built for a batch of 1 and may keep state from one sample to"),
    "with state, qat": ("ModelError", "the model was built for a batch of 1 and may keep state from one sample to"),
    "phases: no such layer": (
        "RecipeError",
        "train.phases[1]: 'heads' is the name or class of no layer; there are stem",
    ),
    "phases: nothing": ("RecipeError", "train.phases[0]: no layer is left to train"),
    "no representative": ("DataError", "no representative data (x_representative)"),
    "no training data": ("DataError", "no train data (x_train, y_train)"),
    "a lambda": ("ModelError", "lambda.h5: layer lambda: a Lambda layer is Python code in a file; it is not run"),
    "an empty file": ("ModelError", "empty.h5: Keras cannot load it as a model"),
    "a file cut short": ("ModelError", "short.keras: Keras cannot load it as a model"),
    "other weights": ("ModelError", "w.weights.h5: these weights do not fit the model"),
    "no model": ("ModelError", "build: a builtins.int is no Keras model; a model of tf_keras or Keras 3 is needed"),
    "other shape": ("DataError", "samples have shape [8, 8, 1]; the model takes [6, 6, 1]"),
    "too many classes": ("DataError", "the data has class number 2; the model has 2 classes"),
    "too many labels": ("DataError", "the recipe has 3 labels; the model has 2 classes"),
    "two outputs": ("ModelError", "the model has 1 inputs and 2 outputs"),
    "one score": ("ModelError", "the model's output has shape [1]; one score for each"),
    "a picture": ("ModelError", "the model's output has shape [4, 4, 2]; one score for each"),
    "a free size": ("ModelError", "the model's input shape is [None, 6, 1]; firmware needs every size"),
    "no ranking": ("RecipeError", "most_sensitive: the layers have no ranking: nothing was ranked"),
    "nothing held out": ("DataError", "early_stopping: 0.001 of 64 training samples are 0, at least one is needed"),
    "diverged": ("ModelError", "training diverged: the loss is nan in epoch 1 of 3"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_explained(results: dict[str, Any], case: str) -> None:
    kind, message = MISTAKES[case]
    assert results[case]["error"] == kind
    assert message in results[case]["message"]


def test_a_lambda_layer_is_named_as_what_it_is(results: dict[str, Any]) -> None:
    assert "Lambda layer is Python code" in results["a lambda"]["hint"]


def test_a_layer_that_tfmot_does_not_know_is_trained_float_and_named(results: dict[str, Any]) -> None:
    layers = {layer["kind"]: layer for layer in results["unknown to tfmot"]["qat"]["layers"]}
    assert layers["Dense"]["int8"] and layers["Flatten"]["int8"]
    assert not layers["LayerNormalization"]["int8"]
    assert layers["LayerNormalization"]["reason"] == "tensorflow-model-optimization does not know it"


def test_a_nested_model_of_keras_3_with_a_frozen_base_becomes_int8(results: dict[str, Any]) -> None:
    result = results["qat after the head"]
    assert {"qat.tflite", "layers.npz"} <= set(result["files"])
    layers = {layer["name"]: layer for layer in result["qat"]["layers"]}
    assert all(layer["int8"] for layer in layers.values())
    assert [name for name, layer in layers.items() if layer["frozen"]] == ["stem", "stem_bn"]
