"""What the lowering of BATCH_MATMUL refuses."""

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
    left: tuple[int, ...] = (2, 3, 4),
    right: tuple[int, ...] = (2, 4, 5),
    output: tuple[int, ...] = (2, 3, 5),
    dtype: str = "int8",
    zero_point: int = 0,
    constant: bool = False,
    **options: Any,
) -> Step:
    model = TfliteBuilder()
    x = model.input(left, scale=0.1, dtype=dtype, zero_point=zero_point)
    codes = np.ones(right, np.int8)
    z = model.constant(codes, scale=0.1) if constant else model.input(right, scale=0.1, zero_point=zero_point)
    model.op("BATCH_MATMUL", [x, z], [model.output(output, scale=1.0, dtype=dtype)], **options)
    return lower(model.graph())[0]


def test_transposition_and_repetition_are_strides() -> None:
    params = lowered(left=(4, 3), adj_x=True).params
    assert (params["batches"], params["left_batches"], params["right_batches"]) == ((1, 1, 2), (0, 0, 0), (0, 0, 20))
    assert (params["left_row"], params["left_step"], params["right_column"], params["right_step"]) == (1, 3, 1, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int16"}, "input 0 (t0) is int16"),
        ({"left": (4,)}, "its left side has shape [4]; 2 to 5 dimensions"),
        ({"right": (1, 1, 1, 2, 4, 5)}, "its right side has shape [1, 1, 1, 2, 4, 5]"),
        ({"right": (2, 3, 5)}, "matrices of [2, 3, 4] and [2, 3, 5], transposed [False, False]"),
        ({"right": (3, 4, 5)}, "do not fit"),
        ({"output": (2, 5, 3)}, "an output of [2, 5, 3] do not fit"),
        ({"output": (6, 5)}, "an output of [6, 5] do not fit"),
        ({"adj_y": True}, "transposed [False, True]"),
        ({"left": (1, 40_000), "right": (40_000, 1), "output": (1, 1), "zero_point": 127}, "can reach 2,601,000,000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_kernel_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(**changes)
    assert caught.value.message.startswith("op 0 (BATCH_MATMUL): ")


def test_the_proof_of_a_constant_side_is_made_from_its_codes() -> None:
    lowered(left=(1, 40_000), right=(40_000, 1), output=(1, 1), zero_point=127, constant=True)
