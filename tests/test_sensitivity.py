import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import calibration
from pipeline.errors import DataError

pytestmark = pytest.mark.train

CASES = Path(__file__).parent / "sensitivity_cases.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was found for every network; TensorFlow is loaded once, in a process of its own."""
    folder = tmp_path_factory.mktemp("sensitivity")
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


def layers(results: dict[str, Any], case: str) -> dict[str, dict[str, Any]]:
    return {layer["layer"]: layer for layer in results[case]["layers"]}


def test_what_the_converter_merges_is_one_layer_and_what_hands_on_codes_is_none(results: dict[str, Any]) -> None:
    kinds = {name: layer["kinds"] for name, layer in layers(results, "plain").items()}
    assert kinds == {
        "first_relu": ["Conv2D", "BatchNormalization", "ReLU"],
        "second": ["Conv2D"],
        "add_relu": ["Add", "ReLU"],
        "scores": ["Dense"],
    }


def test_the_most_sensitive_layer_is_first(results: dict[str, Any]) -> None:
    for case in ("plain", "wide weights", "wide output"):
        found = [layer["sqnr_db"] for layer in results[case]["layers"]]
        assert found == sorted(found)


def test_the_model_is_as_it_was_afterwards(results: dict[str, Any]) -> None:
    assert all(result["restored"] for result in results.values())


def test_a_layer_whose_weights_lose_their_digits_is_named_with_what_to_try(results: dict[str, Any]) -> None:
    worst = results["wide weights"]["layers"][0]
    assert worst["layer"] == "second"
    assert worst["weights_sqnr_db"] < worst["output_sqnr_db"]
    assert worst["suggestion"].startswith("its weights lose most: train it with int8 simulated")


def test_layers_whose_outputs_lose_their_digits_are_named_with_their_range(results: dict[str, Any]) -> None:
    worst, next_ = results["wide output"]["layers"][:2]
    assert {worst["layer"], next_["layer"]} == {"first_relu", "add_relu"}
    assert worst["suggestion"].startswith("its output loses most, in steps of 7 from 0 to 1.79e+03")
    assert worst["lost"] > 10
    assert layers(results, "wide output")["second"]["suggestion"] == ""


def test_layers_are_ranked_with_the_weights_that_quantizers_ask_for(results: dict[str, Any]) -> None:
    """A step of 4 bits is 127 / 7 times one of 8 (25 dB)."""
    eight, four = layers(results, "plain"), layers(results, "4 bits but in two layers")
    bits = {name: layer["weights_bits"] for name, layer in four.items()}
    assert bits == {"first_relu": 4, "second": 8, "add_relu": None, "scores": 8}
    assert 15 < eight["first_relu"]["weights_sqnr_db"] - four["first_relu"]["weights_sqnr_db"] < 35
    assert four["second"]["weights_sqnr_db"] == eight["second"]["weights_sqnr_db"]
    assert four["scores"]["weights_sqnr_db"] < eight["scores"]["weights_sqnr_db"]  # a Dense has one scale by default
    worst = results["4 bits but in two layers"]["layers"][0]
    assert worst["layer"] == "first_relu"
    assert worst["suggestion"] == "its weights of 4 bits lose most: 8 bits, or simulate them in training (qat)"


def test_one_scale_of_a_layer_is_that_behind_its_normalization(results: dict[str, Any]) -> None:
    each, one = (layers(results, f"a loud channel, per_channel={answer}")["first_relu"] for answer in (True, False))
    assert each["weights_sqnr_db"] > 30 > 10 > one["weights_sqnr_db"]


def test_with_activations_of_int16_it_is_the_weights_that_lose(results: dict[str, Any]) -> None:
    """A step of int16 is 257 times as fine as one of int8 (48 dB), or half of that where one side of 0 is not used."""
    int8, int16 = (layers(results, f"nothing clipped, {activations}") for activations in ("int8", "int16"))
    for name, layer in int16.items():
        assert 36 < layer["output_sqnr_db"] - int8[name]["output_sqnr_db"] < 54
        assert layer["weights_sqnr_db"] == int8[name]["weights_sqnr_db"]
    worst = results["wide weights, int16"]["layers"][0]
    assert worst["suggestion"] == (
        "its weights lose most: train it with int8 simulated (method: qat, activations: int8)"
    )
    assert results["wide output, int16"]["quantized_correct"] > results["wide output"]["quantized_correct"] + 10


def test_what_int16_clips_is_beyond_the_larger_side_of_a_range(results: dict[str, Any]) -> None:
    int8, int16 = (layers(results, case) for case in ("bright test set", "bright test set, int16"))
    assert all(layer["clipped"] <= int8[name]["clipped"] for name, layer in int16.items())
    both_sides = int16["second"]
    assert both_sides["low"] < 0 < both_sides["high"] and both_sides["clipped"] < int8["second"]["clipped"]


def test_lost_answers_are_those_of_the_whole_model(results: dict[str, Any]) -> None:
    found = results["wide output"]
    assert found["float_correct"] == found["samples"] == 96
    assert found["quantized_correct"] < 96 - 10


def test_what_would_take_too_long_is_left_out_with_a_reason(results: dict[str, Any]) -> None:
    assert results["too large"]["layers"] == []
    assert "4 layers with 1,651 MACs take too long" in results["too large"]["reason"]


def test_a_test_set_beyond_the_representative_data_shows_in_every_layer(results: dict[str, Any]) -> None:
    assert all(layer["clipped"] == 0 for layer in layers(results, "same").values())
    found = layers(results, "bright test set")
    assert list(found) == ["first_relu", "second", "add_relu", "scores"]
    for layer in found.values():
        assert 0.01 < layer["clipped"] < 0.6
        assert layer["test_high"] > layer["high"] > layer["low"] >= layer["test_low"]


def test_a_branch_that_the_representative_data_never_reach_is_named(results: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="layer bright: its output is 0 for every representative sample, but 0 to"):
        calibration.require_exercised(results["a branch"]["layers"])
    calibration.require_exercised(results["bright test set"]["layers"])
