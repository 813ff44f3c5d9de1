"""What the lowerings of RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR refuse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder

OPS = ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"]


def lowered(
    op: str,
    *,
    source: tuple[int, ...] = (1, 2, 3, 4),
    size: Any = (4, 6),
    output: tuple[int, ...] = (1, 4, 6, 4),
    dtype: str = "int8",
    **options: Any,
) -> Step:
    model = TfliteBuilder()
    x = model.input(source, scale=0.1, dtype=dtype)
    s = model.input((2,), dtype="int32") if size is None else model.constant(np.asarray(size, np.int32))
    model.op(op, [x, s], [model.output(output, scale=0.1, dtype=dtype)], **options)
    return lower(model.graph())[0]


def test_the_nearest_positions_are_computed_at_compile_time() -> None:
    step = lowered("RESIZE_NEAREST_NEIGHBOR")
    assert [list(c.data) for c in step.constants] == [[0, 0, 1, 1], [0, 0, 1, 1, 2, 2]]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int16"}, "input 0 (t0) is int16"),
        ({"source": (2, 3, 4)}, "its input has shape [2, 3, 4]; four dimensions"),
        ({"output": (1, 1 << 15, 6, 4)}, "four dimensions of 1 to 32,767 are needed"),
        ({"size": None}, "its size (t1) is computed or int32; an int32 constant is needed"),
        ({"size": (4, 7)}, "size [4, 7], output [1, 4, 6, 4]: they do not agree"),
        ({"output": (1, 4, 6, 3)}, "input [1, 2, 3, 4], size [4, 6], output [1, 4, 6, 3]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_kernels_cannot_do_is_refused(op: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(op, **changes)
    assert caught.value.message.startswith(f"op 0 ({op}): ")


def test_what_tflm_refuses_of_bilinear_resizing_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="align_corners and half_pixel_centers at once"):
        lowered("RESIZE_BILINEAR", align_corners=True, half_pixel_centers=True)


def test_steps_whose_rounding_leaves_the_input_are_refused() -> None:
    """1024 * 3 / 2000 is 1.536, rounded to 2: the last position would be 3.9 of 0..2."""
    with pytest.raises(UnsupportedError, match="height: from 3 to 2000 positions, rounding leads outside the input"):
        lowered("RESIZE_BILINEAR", source=(1, 3, 3, 1), size=(2000, 3), output=(1, 2000, 3, 1))
