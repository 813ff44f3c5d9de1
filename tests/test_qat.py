import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
