"""What the lowering of TRANSPOSE_CONV refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def lowered(
    *,
    weights: tuple[int, ...] = (4, 3, 3, 2),
    output: tuple[int, ...] = (1, 8, 10, 4),
    dtype: str = "int8",
    inputs: int = 3,
    **options: Any,
) -> Step:
    model = TfliteBuilder()
    x = model.input((1, 4, 5, 2), scale=0.1, zero_point=3, dtype=dtype)
    size = model.constant(np.array(output, np.int32))
    w = model.constant(np.ones(weights, np.int8), scale=0.1)
    y = model.output(output, scale=0.1)
    model.op(
        "TRANSPOSE_CONV", [size, w, x][:inputs], [y], **{"padding": "SAME", "stride_h": 2, "stride_w": 2} | options
    )
    return lower(model.graph())[0]


def test_a_sound_layer_is_lowered_and_counted() -> None:
    step = lowered(fused_activation_function="RELU")
    assert (step.kernel, step.macs) == ("transpose_conv_s8", 4 * 5 * 2 * 4 * 3 * 3)
    assert (step.params["pad_top"], step.params["activation_min"]) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int16"}, "input 0 (t0) is int16"),
        ({"inputs": 2}, "2 inputs; the output's shape, weights, input"),
        ({"output": (1, 9, 10, 4)}, "height: input 9, filter 3, stride 2"),
        ({"output": (1, 8, 10, 3)}, "filters [4, 3, 3, 2] for 2 input and 3 output channels"),
        ({"weights": (4, 3, 3, 1)}, "filters [4, 3, 3, 1] for 2 input and 4 output channels"),
        ({"weights": (4, 3, 3)}, "weights of shape [4, 3, 3]"),
        ({"stride_h": 0}, "stride 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_kernel_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(**changes)
    assert caught.value.message.startswith("op 0 (TRANSPOSE_CONV): ")
