import itertools

import numpy as np
import pytest

from pipeline import comparison
from pipeline.comparison import accuracy_interval, agreement_warnings, layer_gaps, paired
from pipeline.tflite import Graph
from tests.tflite_builder import TfliteBuilder


@pytest.mark.parametrize(
    ("correct", "samples", "low", "high"),
    [
        # Table I of Newcombe, Two-sided confidence intervals for the single proportion, 1998; Wilson's score method.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_an_accuracy_has_wilsons_interval(correct: int, samples: int, low: float, high: float) -> None:
    found = accuracy_interval(correct, samples)
    assert [round(value, 4) for value in found] == [low, high]
    mirrored = accuracy_interval(samples - correct, samples)
    assert mirrored == pytest.approx((1 - found[1], 1 - found[0]))


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        accuracy_interval(0, 0)


def test_changes_are_counted_by_sample() -> None:
    found = paired([0, 1, 2, 2, 1, 0], [0, 2, 1, 2, 0, 1], [0, 1, 1, 0, 2, 2])
    assert (found["changed"], found["gained"], found["lost"]) == (4, 1, 1)
    assert found["difference"] == 0
    low, high = found["interval"]
    assert low == -high


def test_a_paired_interval_is_that_of_agresti_and_min() -> None:
    # 30 gained, 10 lost of 100: 40.5 and 9.5 .. as counts, of which Wald's interval is taken.
    before = [1] * 10 + [0] * 30 + [1] * 60
    after = [0] * 10 + [1] * 30 + [1] * 60
    found = paired(before, after, [1] * 100)
    middle, half = 20 / 102, 1.959963984540054 * (41 - 20**2 / 102) ** 0.5 / 102
    assert found["difference"] == 0.2
    assert found["interval"] == pytest.approx([middle - half, middle + half])


def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    share = {(1, 1): 0.85, (1, 0): 0.08, (0, 1): 0.03, (0, 0): 0.04}  # right before, right after
    outcomes = list(itertools.chain(share))
    covered = 0
    for _ in range(400):
        drawn = random.choice(4, size=300, p=list(share.values()))
        before, after = ([outcomes[d][side] for d in drawn] for side in (0, 1))
        low, high = paired(before, after, [1] * 300)["interval"]
        covered += low <= -0.05 <= high
    assert 0.92 <= covered / 400 <= 0.98


def two_layers() -> Graph:
    """x -> conv and relu, merged into one op -> scores, scale 0.5 and 0.25."""
    model = TfliteBuilder()
    x = model.input([1, 4], scale=0.1, name="serving_default_x:0")
    y = model.tensor([1, 4], scale=0.5, zero_point=-10, name="m/quant_relu/Relu;m/quant_conv/Conv2D1")
    model.op("RELU", [x], [y])
    model.op("LOGISTIC", [y], [model.output([1, 4], scale=0.25, name="StatefulPartitionedCall:0")])
    return model.graph()


def test_gaps_are_in_steps_of_each_layers_own_scale() -> None:
    graph = two_layers()
    codes = {op.outputs[0]: np.array([[[-10, -9, 0, 10]], [[1, 2, 3, 4]]], np.int8) for op in graph.ops}
    relu = 0.5 * (codes[graph.ops[0].outputs[0]].reshape(2, 4).astype(np.float32) + 10)
    scores = 0.25 * codes[graph.ops[1].outputs[0]].reshape(2, 4).astype(np.float32)
    relu[1, 2] += 1.5  # three steps
    scores[0, 0] -= 0.25  # one
    simulated = {"conv": np.full((3, 4), 99, np.float32), "relu": np.vstack([relu, relu[:1]]), "scores": scores}
    gaps = layer_gaps(graph, codes, simulated)
    assert [(gap.layer, gap.op, gap.max_lsb, gap.mean_lsb) for gap in gaps] == [
        ("relu", "RELU", 3.0, 3 / 8),
        ("scores", "LOGISTIC", 1.0, 1 / 8),
    ]


def test_a_layer_of_another_size_is_not_compared() -> None:
    graph = two_layers()
    codes = {graph.ops[0].outputs[0]: np.zeros((2, 1, 4), np.int8)}
    assert layer_gaps(graph, codes, {"relu": np.zeros((2, 5), np.float32)}) == ()


def test_a_layer_is_found_by_the_last_of_the_names_merged_into_its_op() -> None:
    merged = "m/quant_relu/Relu;m/quant_bn/FusedBatchNormV3;m/conv/Conv2D1"
    assert comparison.layers_in(merged) == ["relu", "bn", "conv"]
    assert comparison.layers_in("StatefulPartitionedCall:0") == []


def test_agreement_below_99_percent_is_a_warning_that_names_the_first_layer_that_is_off() -> None:
    gaps = [
        {"layer": "stem", "max_lsb": 1.0},
        {"layer": "dense", "max_lsb": 9.0},
        {"layer": "softmax", "max_lsb": 20.0},
    ]
    assert agreement_warnings({"samples": 100, "same": 99}, gaps) == []
    (warning,) = agreement_warnings({"samples": 100, "same": 98}, gaps)
    assert "98 of 100" in warning and "is dense." in warning
