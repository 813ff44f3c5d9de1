"""What ops on two tensors become, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import PORTABLE, Core, Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def lowered(
    op: str,
    first: tuple[int, ...] = (2, 3),
    second: tuple[int, ...] = (2, 3),
    output: tuple[int, ...] = (2, 3),
    scales: tuple[float, float, float] = (0.1, 0.1, 0.1),
    constant: bool = False,
    core: Core = PORTABLE,
    **options: Any,
) -> Step:
    """The step of one op; constant: the first operand is one."""
    model = TfliteBuilder()
    zeros = np.zeros(first, np.int8)
    a = model.constant(zeros, scale=scales[0]) if constant else model.input(first, scale=scales[0])
    b = model.input(second, scale=scales[1])
    model.op(op, [a, b], [model.output(output, scale=scales[2])], **options)
    (step,) = lower(model.graph(), core)
    return step


def refusal(op: str, **arguments: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        lowered(op, **arguments)
    return caught.value.message


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU"])
def test_shapes_that_do_not_broadcast_are_refused(op: str) -> None:
    assert refusal(op, second=(2, 2)) == (
        f"op 0 ({op}): inputs of [2, 3] and [2, 2] and an output of [2, 3]; shapes that broadcast are needed."
    )
    assert "shapes that broadcast" in refusal(op, output=(3, 3))


def test_more_alternations_than_loops_are_refused() -> None:
    message = refusal("ADD", first=(2, 1, 2, 1, 2), second=(1, 2, 1, 2, 1), output=(2, 2, 2, 2, 2))
    assert "repeat in 5 alternations; the aot kernel has 4 loops" in message


def test_neighbouring_dimensions_that_go_on_alike_are_one_loop() -> None:
    step = lowered("MUL", first=(2, 3, 4, 5), second=(4, 5), output=(2, 3, 4, 5))
    assert step.params["shape"] == (1, 1, 6, 20)
    assert step.params["strides1"] == (0, 0, 20, 1)
    assert step.params["strides2"] == (0, 0, 0, 1)


@pytest.mark.parametrize("op", ["ADD", "SUB"])
def test_an_output_scale_too_small_for_the_sum_is_refused(op: str) -> None:
    assert "a multiplier of 1; more than 0 and less than 1 is needed" in refusal(op, scales=(0.5, 0.5, 2.0**-20))
    assert "a multiplier of 2; more than 0 and less than 1 is needed" in refusal(op, scales=(0.5, 0.5, 2.0**-21))


def test_a_product_that_leaves_int32_is_refused() -> None:
    assert "can reach" in refusal("MUL", scales=(1.0, 1.0, 1e-6))


def test_a_squared_difference_that_leaves_int32_is_refused() -> None:
    assert "can reach" in refusal("SQUARED_DIFFERENCE", scales=(1.0, 1.0, 1e-5))


def test_a_rectifier_that_leaves_int32_is_refused() -> None:
    assert "can reach" in refusal("PRELU", scales=(1.0, 1e-3, 1e-8))
    assert "can reach" in refusal("PRELU", scales=(1.0, 1e6, 1.0))


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_an_unknown_fused_activation_is_refused(op: str) -> None:
    assert "a fused activation TANH" in refusal(op, fused_activation_function="TANH")


def test_the_output_takes_over_an_operand_of_its_size_that_is_no_constant() -> None:
    assert lowered("ADD").in_place == 0
    assert lowered("ADD", constant=True).in_place == 1
    assert lowered("ADD", first=(1, 3)).in_place == 1
    assert lowered("ADD", first=(1, 3), second=(2, 1)).in_place is None


def test_sums_of_other_types_are_refused() -> None:
    model = TfliteBuilder()
    x = model.input((4,), dtype="int16", scale=0.1)
    model.op("PRELU", [x, x], [model.output((4,), dtype="int16", scale=0.1)])
    with pytest.raises(UnsupportedError, match="is int16; the aot kernel works on int8"):
        lower(model.graph())


@pytest.mark.parametrize("op", ["ADD", "SUB"])
@pytest.mark.parametrize("second", [(3,), (2, 1), (1,)])
def test_sums_with_an_operand_that_repeats_have_the_dsp_kernel(op: str, second: tuple[int, ...]) -> None:
    assert lowered(op, second=second, core=Core(frozenset({"dsp"}))).kernel == "add_s8_dsp"
