"""Answers within bounds: each bound can fail on its own, and by no more than it says."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.edgetpu.comparison import Bounds, compare, for_model
from pipeline.errors import DataError
from pipeline.model import Array
from tests.test_cli import small_model
from tests.tflite_builder import TfliteBuilder


def scores(samples: int = 100, classes: int = 4) -> Array:
    random = np.random.Generator(np.random.PCG64(0))
    values = random.integers(-100, 0, (samples, 1, classes)).astype(np.int8)
    values[np.arange(samples), 0, np.arange(samples) % classes] = 100
    return values


def test_equal_answers_are_within_every_bound() -> None:
    found = compare([scores()], [scores()], bounds=Bounds(0, 1.0, 1.0, 0.0), classes=np.arange(100) % 4)
    assert found.problems == ()
    assert found.histogram == {0: 400}
    assert (found.max_lsb, found.top1, found.accuracy) == (0, 1.0, (100, 100, 100))


def test_the_histogram_counts_codes_by_their_distance_without_wrapping_around() -> None:
    host = np.array([[127, -128, 5, 5]], np.int8)
    device = np.array([[-128, 127, 6, 3]], np.int8)
    assert compare([host], [device]).histogram == {255: 2, 1: 1, 2: 1}


@pytest.mark.parametrize(("far", "within"), [(20, True), (21, False)])
def test_the_share_of_codes_near_the_hosts_is_bounded(far: int, within: bool) -> None:
    device = scores()
    device[:far, 0, 0] += 3
    found = compare([scores()], [device], bounds=Bounds(lsb=2, within_lsb=0.95, top1_agreement=0.0))
    assert (found.problems == ()) is within
    if not within:
        assert "94.75 % of the output codes are within 2 LSB" in found.problems[0]


@pytest.mark.parametrize(("wrong", "within"), [(2, True), (3, False)])
def test_the_top_class_is_bounded(wrong: int, within: bool) -> None:
    device = scores()
    device[:wrong] = device[:wrong, :, ::-1]
    found = compare([scores()], [device], bounds=Bounds(lsb=255))
    assert found.top1 == 1 - wrong / 100
    assert (found.problems == ()) is within


def test_a_class_that_shares_the_hosts_top_score_is_right() -> None:
    host = np.array([[7, 7, 0]], np.int8)
    assert compare([host], [np.array([[6, 7, 0]], np.int8)]).top1 == 1.0
    assert compare([host], [np.array([[6, 6, 7]], np.int8)]).top1 == 0.0


@pytest.mark.parametrize(("lost", "within"), [(1, True), (2, False)])
def test_the_tasks_accuracy_is_bounded(lost: int, within: bool) -> None:
    device = scores()
    device[:lost] = device[:lost, :, ::-1]
    found = compare([scores()], [device], classes=np.arange(100) % 4, bounds=Bounds(lsb=255, top1_agreement=0.0))
    assert found.accuracy == (100 - lost, 100, 100)
    assert (found.problems == ()) is within


def test_a_device_that_is_more_accurate_than_the_host_is_welcome() -> None:
    found = compare([scores()[:, :, ::-1]], [scores()], classes=np.arange(100) % 4,
                    bounds=Bounds(lsb=255, top1_agreement=0.0))  # fmt: skip
    assert found.problems == ()


def test_one_code_an_output_has_no_top_class() -> None:
    found = compare([np.zeros((5, 1), np.int8)], [np.ones((5, 1), np.int8)], classes=np.zeros(5, np.int64))
    assert (found.top1, found.accuracy) == (None, None)


@pytest.mark.parametrize(
    "device",
    [np.zeros((5, 2), np.int8), np.zeros((4, 3), np.int8), np.zeros((5, 3), np.uint8)],
    ids=["shape", "samples", "type"],
)
def test_what_does_not_fit_is_refused(device: Array) -> None:
    with pytest.raises(DataError, match="other shapes or types"):
        compare([np.zeros((5, 3), np.int8)], [device])


def test_real_outputs_have_no_lsb() -> None:
    with pytest.raises(DataError, match="integer outputs"):
        compare([np.zeros((5, 3), np.float32)], [np.zeros((5, 3), np.float32)])


def test_a_final_softmax_widens_the_bound_by_its_slope() -> None:
    # Two steps of 0.25 before it are at most 0.5 / 4 = 32 / 256 behind it.
    assert for_model(small_model().graph()).lsb == 2 + 32
    dense = TfliteBuilder()
    weights = dense.constant(np.ones((3, 4), np.int8), scale=0.1)
    dense.op("FULLY_CONNECTED", [dense.input((1, 4), scale=0.5), weights, -1], [dense.output((1, 3), scale=0.2)])
    assert for_model(dense.graph()).lsb == 2
