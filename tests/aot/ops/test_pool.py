"""What the lowerings of AVERAGE_POOL_2D and MAX_POOL_2D refuse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder

OPS = ["AVERAGE_POOL_2D", "MAX_POOL_2D"]


def lowered(op: str, source: Any = None, output: Any = None, **options: Any) -> Step:
    model = TfliteBuilder()
    x = model.input((1, 4, 6, 3), **{"scale": 0.1, "zero_point": 3} | (source or {}))
    shape = (output or {}).pop("shape", (1, 2, 3, 3))
    y = model.output(shape, **{"scale": 0.1, "zero_point": 3} | (output or {}))
    defaults = {"padding": "VALID", "stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    model.op(op, [x], [y], **defaults | options)
    return lower(model.graph())[0]


@pytest.mark.parametrize("op", OPS)
def test_a_sound_pool_is_lowered_to_its_kernel(op: str) -> None:
    step = lowered(op, fused_activation_function="RELU")
    assert step.kernel == f"{op.lower()}_s8"
    assert (step.params["activation_min"], step.params["activation_max"]) == (3, 127)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {"dtype": "uint8"}}, "input 0 (t0) is uint8"),
        ({"output": {"scale": 0.2}}, "input quantized with (0.1, 3) and output with (0.2, 3)"),
        ({"output": {"zero_point": 4}}, "and output with (0.1, 4)"),
        ({"output": {"shape": (1, 2, 3, 4)}}, "3 channels go in and 4 come out"),
        ({"output": {"shape": (1, 2, 2, 3)}}, "give 3 outputs, the model says 2"),
        ({"output": {"shape": (1, 0, 3, 3)}}, "at least 1 are needed"),
        ({"filter_height": 0}, "height: filter 0"),
        ({"filter_width": 7}, "give 0 outputs, the model says 3"),
        ({"stride_w": 0}, "stride 0"),
        ({"fused_activation_function": "SIGN_BIT"}, "a fused activation SIGN_BIT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_kernel_cannot_do_is_refused(op: str, changes: dict[str, Any], message: str) -> None:
    copied = {key: dict(value) if isinstance(value, dict) else value for key, value in changes.items()}
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(op, **copied)
    assert caught.value.message.startswith(f"op 0 ({op}): ")


def test_a_window_whose_sum_could_overflow_is_refused() -> None:
    model = TfliteBuilder()
    x = model.input((1, 1 << 12, 1 << 12, 1), scale=0.1)
    y = model.output((1, 1, 1, 1), scale=0.1)
    size = 1 << 12
    model.op(
        "AVERAGE_POOL_2D", [x], [y], padding="VALID", stride_h=1, stride_w=1, filter_height=size, filter_width=size
    )
    with pytest.raises(UnsupportedError, match="windows of 16,777,216 positions"):
        lower(model.graph())
