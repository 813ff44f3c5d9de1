import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import calibration

pytestmark = pytest.mark.train

CASES = Path(__file__).parent / "qat_cases.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every case; TensorFlow is loaded once, in a process of its own."""
    folder = tmp_path_factory.mktemp("qat")
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


def reasons(results: dict[str, Any], case: str) -> dict[str, str]:
    """Why layers are trained float, by name."""
    return {name: layer["reason"] for name, layer in results[case]["layers"].items() if not layer["int8"]}


def test_a_model_of_known_layers_is_simulated_as_a_whole(results: dict[str, Any]) -> None:
    assert reasons(results, "whole") == {}
    assert len(results["whole"]["moved"]) == 12  # all there is: kernels, biases, normalization


def test_each_depthwise_channel_is_trained_with_the_scale_that_it_is_converted_with(results: dict[str, Any]) -> None:
    # On the converter's grid the largest weight of every channel is the code 127; on a coarser one it is not.
    assert results["whole"]["codes"] == [127, 127, 127]


def test_frozen_layers_stay_frozen_with_their_normalization(results: dict[str, Any]) -> None:
    frozen = {name for name, layer in results["frozen"]["layers"].items() if layer["frozen"]}
    assert frozen == {"depthwise", "depthwise_bn", "pointwise", "pointwise_bn"}
    assert results["frozen"]["moved"] == ["scores/kernel:0", "scores/bias:0"]


def test_excluded_layers_and_the_normalization_merged_into_them_are_trained_float(results: dict[str, Any]) -> None:
    assert reasons(results, "excluded") == {
        "pointwise": "excluded by the recipe",
        "pointwise_bn": "pointwise, into which it is merged, is trained float",
        "scores": "excluded by the recipe",
    }


def test_only_included_layers_are_simulated(results: dict[str, Any]) -> None:
    simulated = [name for name, layer in results["included"]["layers"].items() if layer["int8"]]
    assert simulated == ["depthwise", "depthwise_bn", "relu"]


def test_what_the_simulation_would_get_wrong_is_trained_float_and_named(results: dict[str, Any]) -> None:
    assert reasons(results, "odd") == {
        "lone_bn": "only right behind a convolution without activation is it merged as in int8",
        "swish": "its activation swish is not known; in a layer of its own it would be",
        "twice": "it is called 2 times",
        "active_bn": "only right behind a convolution without activation is it merged as in int8",
        "split_bn": "split has other readers, so that it is not merged",
        "dense": "the converter merges dense_bn into it, which the simulation does not",
        "dense_bn": "only right behind a convolution without activation is it merged as in int8",
    }


def test_the_output_of_every_layer_is_kept(results: dict[str, Any]) -> None:
    outputs = results["whole"]["outputs"]
    assert list(outputs) == list(results["whole"]["layers"])
    assert (outputs["relu"], outputs["scores"]) == ([16, 6, 6, 3], [16, 3])
    assert set(results["odd"]["outputs"]) == set(results["odd"]["layers"])


def test_a_pattern_that_fits_no_layer_is_an_error(results: dict[str, Any]) -> None:
    assert results["no such layer"]["error"] == "RecipeError"
    assert "'conv9' is the name or class of no layer; there are depthwise, " in results["no such layer"]["message"]


def test_leaving_out_every_layer_is_an_error(results: dict[str, Any]) -> None:
    assert "no layer is left for quantization-aware training" in results["nothing left"]["message"]


def test_each_layer_has_the_quantizer_that_the_recipe_gives_it(results: dict[str, Any]) -> None:
    written = results["custom"]["written"]
    depthwise, pointwise, dense = (written[op] for op in ("DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED"))
    assert (depthwise["dtype"], depthwise["codes"]) == ("int4", [-7, 7])
    assert len(set(depthwise["scales"])) == 3
    assert pointwise["dtype"] == "int8"
    assert max(pointwise["scales"]) == pytest.approx(min(pointwise["scales"]), rel=1e-6)
    assert -128 in pointwise["codes"] or 127 in pointwise["codes"]
    assert (dense["dtype"], len(dense["scales"]), dense["codes"]) == ("int8", 3, [-127, 127])
    assert pointwise["output"][1] == 0  # symmetric, though a ReLU gives nothing below 0
    assert written["input"][1] == 0
    assert written["input"][0] == pytest.approx(results["calibrated"]["symmetric"][1] / 127, rel=1e-4)


def test_four_bits_go_into_every_kind_of_weights(results: dict[str, Any]) -> None:
    written = results["custom, 4 bits"]["written"]
    assert {op: found["dtype"] for op, found in written.items() if op != "input"} == {
        "DEPTHWISE_CONV_2D": "int4",
        "CONV_2D": "int4",
        "FULLY_CONNECTED": "int4",
    }
    assert written["CONV_2D"]["codes"][0] >= -7  # narrow: of two quantizers that mean it, the last
    assert written["DEPTHWISE_CONV_2D"]["codes"][0] == -8 or written["DEPTHWISE_CONV_2D"]["codes"][1] == 7
    assert len(written["FULLY_CONNECTED"]["scales"]) == 1


@pytest.mark.golden
@pytest.mark.parametrize("case", ["custom", "custom, 4 bits"])
def test_custom_quantizers_run_as_they_were_simulated(results: dict[str, Any], case: str) -> None:
    assert results[case]["differences"] == 0
    assert results[case]["agreement"] >= 0.98  # of 64 random images


def test_the_quantizer_of_each_layer_is_reported(results: dict[str, Any]) -> None:
    layers = results["custom"]["layers"]
    assert layers["depthwise"]["weights"] == {"bits": 4, "per_channel": True, "narrow_range": True}
    assert layers["flatten"]["weights"] is None and layers["flatten"]["activations"] is None
    assert layers["relu"]["activations"]["range"] == "percentile"
    assert layers["relu_2"]["activations"]["symmetric"]  # asked of pointwise_bn, which is merged into one with it
    assert 0 == layers["relu"]["activations"]["low"] < layers["relu"]["activations"]["high"]


def test_a_quantizer_that_the_converter_ignores_is_an_error_that_names_the_layer(results: dict[str, Any]) -> None:
    ignored = results["ignored"]
    assert ignored["depthwise"] == "weights of type int4 became int8"
    assert ignored["pointwise"] == "one scale for all weights became 4 different ones"
    assert ignored["scores"] == "scales for each of 3 channels became 1"
    assert ignored["relu"].startswith("the range 0..")
    assert " became -3.84..3.931 of serving_default_input" in ignored["the model's input"]
    assert "depthwise: the converter ignores its quantizer: weights of" in results["ignored, as an error"]["message"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("a layer that is none", "quantize.quantizers[0]: 'conv9' is the name or class of no layer"),
        ("weights of a ReLU", "quantize.quantizers[0]: relu has no weights to quantize"),
        ("a range of a Flatten", "quantize.quantizers[0]: flatten has no range of its own"),
        ("4 bits for each output of a Dense", "scores is a Dense; TensorFlow's converter carries a scale for each"),
        ("a layer that is trained float", "pointwise cannot have this quantizer, for it is not simulated: excluded"),
    ],
)
def test_a_quantizer_that_cannot_be_is_refused(results: dict[str, Any], case: str, message: str) -> None:
    assert results[case]["error"] == "RecipeError"
    assert message in results[case]["message"]


def test_channels_that_normalization_multiplies_by_0_are_named_where_a_quantizer_is_asked_for(
    results: dict[str, Any],
) -> None:
    found = results["dead channels"]
    assert found["error"] == "ModelError"
    assert "pointwise: the BatchNormalization behind it multiplies 2 of its channels by 0" in found["message"]


@pytest.mark.parametrize("estimator", ["min_max", "moving_average", "percentile"])
def test_ranges_start_from_the_representative_samples(results: dict[str, Any], estimator: str) -> None:
    calibrated = results["calibrated"]
    assert calibrated[estimator] == pytest.approx(calibrated["of numpy"][estimator], rel=1e-5)


def test_a_symmetric_range_holds_all_values_around_code_0(results: dict[str, Any]) -> None:
    low, high = results["calibrated"]["symmetric"]
    smallest, largest = results["calibrated"]["of numpy"]["min_max"]
    assert low == pytest.approx(-high * 128 / 127, rel=1e-6)
    assert low <= smallest and largest <= high


def test_weights_in_front_of_a_relu_are_simulated_too(results: dict[str, Any]) -> None:
    assert results["merged relu"]["moved"]


def test_what_data_have_beyond_the_learnt_ranges_is_told_from_what_these_leave_out_anyway(
    results: dict[str, Any],
) -> None:
    once, thrice = results["beyond"]["1"], results["beyond"]["3"]
    assert set(once) == {"relu", "relu_2", "scores"}, "every layer that learns a range, and not the model's input"
    assert once["relu"]["clipped"] == once["relu"]["usual"] < 0.001
    assert thrice["relu"]["clipped"] > 0.001 and thrice["relu"]["test_high"] > 2 * thrice["relu"]["high"]
    assert once["relu_2"]["test_high"] > once["relu_2"]["high"]
    assert once["relu_2"]["clipped"] == once["relu_2"]["usual"] == thrice["relu_2"]["usual"] > 0.001
    assert calibration.range_warnings(list(once.values())) == [] != calibration.range_warnings(list(thrice.values()))


def test_batch_normalization_keeps_its_averages_in_the_second_half_of_training(results: dict[str, Any]) -> None:
    first, second, third = results["schedule"]["averages"]
    assert 0.0 not in first and all(a != b for a, b in zip(first, second, strict=True))
    assert third == second


def test_the_learning_rate_falls_along_half_a_cosine(results: dict[str, Any]) -> None:
    before_the_last_of_6_batches = 1e-3 * (1 + math.cos(math.pi * 5 / 6)) / 2
    assert results["schedule"]["rate"] == pytest.approx(before_the_last_of_6_batches)
