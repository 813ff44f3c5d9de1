from typing import Any

import numpy as np
import pytest

from pipeline import fidelity
from pipeline.model import Array
from pipeline.qat import Kernel, LayerTraining, Prepared, Range
from pipeline.quantizers import Activations, Phase, RangeQuantizer, WeightQuantizer, Weights
from pipeline.tflite import Graph
from tests.tflite_builder import TfliteBuilder

CODES = np.array([[127, -3], [5, -127], [127, 0]])  # [inputs, outputs] of a Dense, as Keras has them
SCALES = np.array([0.5, 0.25])
EIGHT_BITS = Weights()


class Variable:
    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value, np.float32)

    def numpy(self) -> Array:
        return self.value


def prepared(settings: Weights = EIGHT_BITS, *, asked: bool = True) -> Prepared:
    """A Dense called scores, its weights CODES * SCALES, its range -1..3."""
    quantizer = WeightQuantizer(settings, Phase(), depthwise=False, merged_scale=None)
    ends = {"max_var": Variable(SCALES * settings.highest)}
    kernel = Kernel("scores", "Dense", None, Variable(CODES * SCALES), quantizer, ends, asked)
    learnt = {"min_var": Variable(-1.0), "max_var": Variable(3.0)}
    found = Range("scores", RangeQuantizer(Activations(), Phase()), learnt, asked)
    layer = LayerTraining("scores", "Dense", int8=True)
    return Prepared(None, (layer,), Phase(), (kernel,), (found,))


def written(
    codes: Array = CODES.T, scales: Any = SCALES, low: float = -1.0, high: float = 3.0, name: str = "quant_scores"
) -> Graph:
    """A .tflite with one FULLY_CONNECTED, whose output has a range."""
    builder = TfliteBuilder()
    image = builder.input([1, 3], scale=0.1)
    weights = builder.constant(codes.astype(np.int8), scale=list(scales), name=f"model/{name}/MatMul")
    scale = (high - low) / 255
    zero_point = round(-128 - low / scale)
    scores = builder.output([1, 2], scale=scale, zero_point=zero_point, name="model/quant_scores/BiasAdd")
    builder.op("FULLY_CONNECTED", [image, weights, -1], [scores])
    return builder.graph()


def what(model: Prepared, graph: Graph) -> list[str]:
    return [f"{each.layer}: {each.what}" for each in fidelity.differences(model, graph)]


def test_nothing_is_different_when_codes_scales_and_range_are_as_simulated() -> None:
    assert what(prepared(), written()) == []


@pytest.mark.parametrize(("code", "is_other"), [(4, True), (5, False), (6, False), (7, True)])
def test_a_weight_halfway_between_two_codes_may_have_either(code: int, is_other: bool) -> None:
    model = prepared()
    model.kernels[0].variable.value[1, 0] = 5.5 * SCALES[0]
    codes = CODES.T.copy()
    codes[0, 1] = code
    assert bool(what(model, written(codes))) == is_other


def test_a_channel_may_be_turned_around_as_a_whole() -> None:
    assert what(prepared(), written(CODES.T * [[1], [-1]])) == []


def test_weights_with_other_codes_are_counted() -> None:
    codes = CODES.T.copy()
    codes[0, 1] += 1
    assert what(prepared(), written(codes)) == ["scores: 1 of 6 weights have other codes"]


def test_codes_of_a_channel_that_adds_nothing_do_not_matter() -> None:
    codes = CODES.T * [[1], [0]]
    assert what(prepared(), written(codes, [0.5, 1e-9])) == []
    assert what(prepared(), written(codes)) == ["scores: 2 of 6 weights have other codes"]


def test_another_width_is_named_first() -> None:
    assert what(prepared(Weights(bits=4)), written()) == ["scores: weights of type int4 became int8"]


@pytest.mark.parametrize(
    ("settings", "scales", "message"),
    [
        (Weights(per_channel=False), SCALES, "scores: one scale for all weights became 2 different ones"),
        (EIGHT_BITS, [0.5], "scores: scales for each of 2 channels became 1"),
    ],
)
def test_another_number_of_scales_is_named(settings: Weights, scales: Any, message: str) -> None:
    assert what(prepared(settings), written(scales=scales)) == [message]


def test_a_range_that_became_another_is_named_with_both() -> None:
    found = what(prepared(), written(low=0.0, high=2.0))
    assert found == ["scores: the range -1..3 became 0..2 of model/quant_scores/BiasAdd"]


def test_weights_that_are_in_no_op_are_missed_if_they_were_asked_for() -> None:
    elsewhere = written(name="dense")
    assert what(prepared(), elsewhere) == ["scores: no op with its weights is in the model"]
    assert what(prepared(asked=False), elsewhere) == []
