"""What the lowering of MEAN refuses, and how it merges axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def lowered(
    axes: Any = (1, 2),
    shape: Sequence[int] = (1, 4, 5, 3),
    output: Sequence[int] = (1, 3),
    keep: bool = False,
    **scales: Any,
) -> Step:
    model = TfliteBuilder()
    x = model.input(shape, scale=0.1, zero_point=-128)
    axis = model.constant(axes) if isinstance(axes, np.ndarray) else model.constant(np.array(axes, np.int32))
    y = model.output(output, **{"scale": 0.1, "zero_point": 3} | scales)
    model.op("MEAN", [x, axis], [y], keep_dims=keep)
    return lower(model.graph())[0]


def test_neighbouring_axes_become_one_run() -> None:
    params = lowered().params
    assert (params["outputs"], params["reductions"], params["run"], params["run_stride"]) == (3, 1, 20, 3)
    assert params["kept_sizes"] == (1, 1, 1, 3)
    assert params["sum_offset"] == 128 * 20


def test_axes_apart_are_walked_with_their_strides() -> None:
    params = lowered(axes=(0, 2), shape=(2, 4, 5, 3), output=(4, 3)).params
    assert (params["outputs"], params["reductions"], params["run"], params["run_stride"]) == (12, 2, 5, 3)
    assert params["kept_strides"] == (0, 0, 15, 1)
    assert params["reduced_strides"] == (0, 0, 0, 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": (4,)}, "axes [4] of an input of shape [1, 4, 5, 3]"),
        ({"axes": (-5,)}, "axes [-5] of an input of shape"),
        ({"axes": np.array([1], np.int64)}, "axes (t1) are int64"),
        ({"output": (1, 4)}, "input [1, 4, 5, 3], axes [1, 2], output [1, 4]; an output of [1, 3]"),
        ({"keep": True}, "an output of [1, 1, 1, 3]"),
        ({"shape": (1, 0, 5, 3)}, "at least one element"),
        ({"dtype": "int16"}, "output 0 (t2) is int16"),
        ({"shape": (1, 4096, 2048, 3)}, "accumulator of channel 0 can reach 2,147,483,648"),
        ({"scale": 1e-30}, "its scales give a multiplier of 1e+29"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_kernel_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(**changes)
    assert caught.value.message.startswith("op 0 (MEAN): ")


def test_axes_that_are_computed_are_refused() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    axis = model.input((1,), dtype="int32")
    model.op("MEAN", [x, axis], [model.output((1,), scale=0.1)], keep_dims=False)
    with pytest.raises(UnsupportedError, match=r"axes \(t1\) are computed"):
        lower(model.graph())
