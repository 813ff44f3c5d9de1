"""What the lowerings of MEAN and its like refuse, and how they merge axes."""

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


def other(op: str, shape: Sequence[int], output: Sequence[int], axes: Any = None, **tensor: Any) -> Step:
    """SUM, REDUCE_MAX, ARG_MAX or L2_NORMALIZATION; `tensor` describes the output."""
    model = TfliteBuilder()
    operands = [model.input(shape, scale=0.1)]
    if axes is not None:
        operands.append(model.constant(np.array(axes, np.int32)))
    quantization: dict[str, Any] = {"dtype": "int32"} if op == "ARG_MAX" else {"scale": 0.1}
    model.op(op, operands, [model.output(output, **quantization | tensor)])
    return lower(model.graph())[0]


def test_a_sum_is_a_mean_that_is_not_divided() -> None:
    step = other("SUM", (4, 8), (4,), [1], scale=0.8)
    assert (step.kernel, step.params["multiplier"], step.params["shift"]) == ("mean_s8", 1 << 30, -2)


@pytest.mark.parametrize(
    ("arguments", "tensor", "message"),
    [
        (("SUM", (4, 8), (8,), [1]), {}, "an output of [4]"),
        (("SUM", (1 << 12, 1 << 12), (1,), [0, 1]), {}, "an output of []"),
        (("SUM", (1 << 12, 1 << 13), (), [0, 1]), {}, "the accumulator of channel 0 can reach 4,294,967,296"),
        (("REDUCE_MAX", (4, 8), (4,), [1]), {"scale": 0.2}, "they have to be the same, for TFLM as well"),
        (("REDUCE_MAX", (4, 8), (4,), [2]), {}, "axes [2] of an input of shape [4, 8]"),
        (("ARG_MAX", (4, 8), (4,), [1]), {"dtype": "int64"}, "one output of int32 is needed, by TFLM as well"),
        (("ARG_MAX", (4, 8), (8,), [1]), {}, "the output is [8], [4] is needed"),
        (("ARG_MAX", (4, 8), (4,), [0, 1]), {}, "axes [0, 1]; one axis is needed"),
        (("ARG_MAX", (4, 8), (4,), [-3]), {}, "axis -3 of 2 dimensions"),
        (("L2_NORMALIZATION", (1, 33026), (1, 33026)), {}, "the last of at most 33,025 elements"),
        (("L2_NORMALIZATION", (1, 4), (4,)), {}, "the same shape of at most 4 dimensions"),
        (("L2_NORMALIZATION", (1,) * 5, (1,) * 5), {}, "the same shape of at most 4 dimensions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_other_kernels_cannot_do_is_refused(
    arguments: tuple[Any, ...], tensor: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        other(*arguments, **tensor)
