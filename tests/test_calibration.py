from typing import Any

import numpy as np
import pytest

from pipeline import calibration
from pipeline.data import Samples
from pipeline.errors import DataError
from pipeline.model import TensorSpec
from pipeline.tflite import Graph, quantized_model
from tests.tflite_builder import TfliteBuilder

RANDOM = np.random.default_rng(4)
TRAIN = Samples(RANDOM.random((90, 3)).astype(np.float32), np.repeat([0, 1, 2], 30))


def test_representative_samples_taken_from_the_training_data_are_counted_by_class() -> None:
    found = calibration.describe(TRAIN.x[10:70], TRAIN)
    assert (found["samples"], found["classes"]) == (60, [20, 30, 10])
    assert found["min"] == TRAIN.x[10:70].min() and found["max"] == TRAIN.x[10:70].max()
    assert calibration.balance_warnings(found) == []


@pytest.mark.parametrize("train", [None, Samples(TRAIN.x + 1, TRAIN.y), Samples(TRAIN.x[:, :2], TRAIN.y)])
def test_classes_of_other_samples_are_not_guessed(train: Samples | None) -> None:
    assert calibration.describe(TRAIN.x, train)["classes"] is None


def test_a_class_without_a_representative_sample_is_a_warning() -> None:
    (warning,) = calibration.balance_warnings(calibration.describe(TRAIN.x[:60], TRAIN))
    assert "no representative sample is of class 2:" in warning


def test_few_representative_samples_are_a_warning() -> None:
    (warning,) = calibration.balance_warnings(calibration.describe(TRAIN.x[::6], TRAIN))
    assert "only 15 representative samples" in warning


def convolution(weights: np.ndarray) -> Graph:
    """An input in -1..1 (scale 1/128), and one convolution."""
    model = TfliteBuilder()
    x = model.input([1, 2, 2, 1], scale=1 / 128, zero_point=0)
    w = model.constant(weights, scale=[0.1] * len(weights))
    name = "net/stem_relu/Relu;net/stem/Conv2D"
    model.op("CONV_2D", [x, w, -1], [model.output([1, 2, 2, len(weights)], scale=0.1, name=name)])
    return model.graph()


def test_test_data_within_the_calibrated_range_is_fine() -> None:
    graph = convolution(np.ones((2, 1, 1, 1), np.int8))
    x = np.linspace(-1, 1, 400).astype(np.float32).reshape(100, 2, 2, 1)
    assert calibration.warnings(graph, quantized_model(graph).inputs[0], x) == []


def test_test_data_in_other_units_is_a_warning() -> None:
    graph = convolution(np.ones((2, 1, 1, 1), np.int8))
    x = 255 * np.linspace(0, 1, 400).astype(np.float32).reshape(100, 2, 2, 1)
    (warning,) = calibration.warnings(graph, quantized_model(graph).inputs[0], x)
    assert warning.startswith("99.5 % of the test set's values lie outside of -1 to 0.9922")
    assert "in the same units" in warning


def ranged(layer: str, low: float, high: float, test_low: float, test_high: float, clipped: float) -> dict[str, Any]:
    tested = {"test_low": test_low, "test_high": test_high, "clipped": clipped, "usual": 0.0}
    return {"layer": layer, "low": low, "high": high, **tested}


def test_a_layer_beyond_its_calibrated_range_is_a_warning_that_says_by_how_much() -> None:
    fine, beyond = ranged("fine", 0, 6, 0, 5.9, 0), ranged("deep", -1, 4, -1.5, 9, 0.031)
    (warning,) = calibration.range_warnings([fine, beyond])
    assert "layer deep: 3.1 % of its values on the test set are clipped: they run from -1.5 to 9, 100 % of" in warning
    (warning,) = calibration.range_warnings([fine, beyond], "training")
    assert "100 % of the range beyond that of training (-1 to 4)" in warning
    assert calibration.range_warnings([{**beyond, "usual": 0.02}], "training") == [], "an average leaves some out"
    many = [ranged(f"layer_{i}", 0, 1, 0, 2, 0.01 * i) for i in range(1, 9)]
    found = calibration.range_warnings(many)
    assert found[0].startswith("layer layer_8: 8.0 %") and found[-1].startswith("3 more layers") and len(found) == 6


def test_a_layer_that_never_says_anything_is_a_warning() -> None:
    (warning,) = calibration.range_warnings([ranged("gone", 0, 0, 0, 0, 0)])
    assert "layer gone: its output is 0 for every test sample: a dead layer" in warning


def test_a_branch_that_representative_data_never_exercise_is_refused_by_its_name() -> None:
    calibration.require_exercised([ranged("gone", 0, 0, 0, 0, 0), ranged("fine", 0, 1, 0, 9, 0.5)])
    with pytest.raises(
        DataError, match=r"layer rare: its output is 0 for every representative sample, but 0 to 7"
    ) as e:
        calibration.require_exercised([ranged("fine", 0, 1, 0, 1, 0), ranged("rare", 0, 0, 0, 7, 0.2)])
    assert "exercise every branch" in (e.value.hint or "")


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 128), ("int8", 0)])
def test_test_data_beyond_the_range_of_either_type_is_a_warning(dtype: str, zero_point: int) -> None:
    spec = TensorSpec("x", (1, 4), dtype, 1 / 128, zero_point)
    inside = np.linspace(-1, 0.99, 40).astype(np.float32).reshape(10, 4)
    graph = convolution(np.ones((2, 1, 1, 1), np.int8))
    assert calibration.warnings(graph, spec, inside) == []
    assert len(calibration.warnings(graph, spec, inside + 1)) == 1


def test_a_channel_of_zeros_is_a_warning_that_names_it() -> None:
    graph = convolution(np.array([[[[3]]], [[[0]]], [[[-1]]]], np.int8))
    (warning,) = calibration.warnings(graph, quantized_model(graph).inputs[0], np.zeros((1, 2, 2, 1), np.float32))
    assert warning.startswith("stem_relu, stem, op 0 (CONV_2D): 1 of 3 channels have only zeros for weights (1)")
