"""What activations and other functions of one code refuse."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder

LOOKUPS = ("LOGISTIC", "TANH", "LEAKY_RELU", "HARD_SWISH", "ELU", "ABS", "RSQRT")
OPS = ("SOFTMAX", "RELU", "RELU6", *LOOKUPS)


def lowered(
    op: str,
    shape: tuple[int, ...] = (2, 3),
    output_shape: tuple[int, ...] | None = None,
    input_scale: float = 0.1,
    input_zero_point: int | None = None,
    output_scale: float = 1 / 256,
    output_zero_point: int = -128,
    output_dtype: str = "int8",
    **options: Any,
) -> Step:
    model = TfliteBuilder()
    if input_zero_point is None:
        input_zero_point = -128 if op == "RSQRT" else 0
    x = model.input(shape, scale=input_scale, zero_point=input_zero_point)
    y = model.output(output_shape or shape, dtype=output_dtype, scale=output_scale, zero_point=output_zero_point)
    model.op(op, [x], [y], **({"beta": 1.0} if op == "SOFTMAX" else {}) | options)
    (step,) = lower(model.graph())
    return step


def refusal(op: str, **arguments: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        lowered(op, **arguments)
    return caught.value.message


@pytest.mark.parametrize("op", OPS)
def test_an_output_of_another_size_is_refused(op: str) -> None:
    assert "an input of [2, 3] and an output of [2, 2]" in refusal(op, output_shape=(2, 2))


@pytest.mark.parametrize("op", OPS)
def test_int16_outputs_are_refused(op: str) -> None:
    assert "is int16; the aot kernel works on int8" in refusal(op, output_dtype="int16")


@pytest.mark.parametrize("op", OPS)
def test_the_output_takes_over_the_input(op: str) -> None:
    assert lowered(op).in_place == 0


def test_softmax_of_another_output_quantization_is_refused() -> None:
    assert "1/256 and -128 are needed" in refusal("SOFTMAX", output_scale=1 / 255)
    assert "1/256 and -128 are needed" in refusal("SOFTMAX", output_zero_point=0)


def test_softmax_of_more_values_than_fit_the_sum_is_refused() -> None:
    assert lowered("SOFTMAX", shape=(4095,)).params["depth"] == 4095
    assert "a last dimension of 1 to 4,095 is needed" in refusal("SOFTMAX", shape=(4096,))
    assert "a last dimension of 1 to 4,095 is needed" in refusal("SOFTMAX", shape=())


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), 1e-9])
def test_softmax_of_a_beta_that_flattens_everything_is_refused(beta: float) -> None:
    assert f"beta {beta:g} and an input scale of 0.1" in refusal("SOFTMAX", beta=beta)


def test_softmax_takes_an_infinite_beta_as_tflm_does() -> None:
    assert lowered("SOFTMAX", beta=float("inf")).params["shift"] == 30


def test_logistic_of_another_output_zero_point_is_refused() -> None:
    assert "an output of zero point 0; -128 is needed" in refusal("LOGISTIC", output_zero_point=0)


def test_logistic_of_a_vanishing_scale_is_refused() -> None:
    assert "an input scale of 1e-09; at least 2**-28 is needed" in refusal("LOGISTIC", input_scale=1e-9)


def test_tanh_of_a_vanishing_scale_is_refused() -> None:
    assert "an input scale of 1e-09; at least 2**-28 is needed" in refusal("TANH", input_scale=1e-9)


def test_functions_of_one_code_are_tables_in_the_order_of_the_codes() -> None:
    step = lowered("ABS", output_scale=0.1, output_zero_point=-100)
    assert step.kernel == "lookup_s8"
    table = step.constants[0].data
    assert [int(table[code + 128]) for code in (-128, -3, 0, 3, 127)] == [28, -97, -100, -97, 27]


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_leaky_relu_of_an_alpha_below_zero_is_refused(alpha: float) -> None:
    assert f"an alpha of {alpha:g}; a finite number of at least 0 is needed" in refusal("LEAKY_RELU", alpha=alpha)


def test_rsqrt_of_what_may_be_negative_is_refused() -> None:
    assert "an input of zero point -127, so with codes below zero" in refusal("RSQRT", input_zero_point=-127)


def test_rsqrt_of_scales_that_give_only_zeros_is_refused() -> None:
    assert "with which all results are 0" in refusal("RSQRT", input_scale=1e6, output_scale=10.0)


def test_hard_swish_of_scales_that_16_bits_cannot_hold_is_refused() -> None:
    assert "an output scale of 1/128 to 512 times that" in refusal("HARD_SWISH", input_scale=0.1, output_scale=1e-4)
    assert "an output scale of 1/128 to 512 times that" in refusal("HARD_SWISH", input_scale=0.1, output_scale=100.0)
    assert "an input scale of 2**-22 or more" in refusal("HARD_SWISH", input_scale=1e-8, output_scale=1e-8)


@pytest.mark.parametrize("op", ["ABS", "LEAKY_RELU", "ELU"])
def test_tables_whose_results_leave_int32_are_refused(op: str) -> None:
    assert "its scales make" in refusal(op, input_scale=100.0, output_scale=1e-7)


def test_neg_is_refused_as_by_tflm() -> None:
    assert "op 0 (NEG): of int8; TFLM's own NEG takes float32 only" in refusal("NEG")


def test_relu_of_scales_that_leave_int32_is_refused() -> None:
    assert "can reach" in refusal("RELU", input_scale=1.0, output_scale=1e-8)
    assert "its scales give a multiplier of" in refusal("RELU", input_scale=1e30, output_scale=1e-30)


def test_relu6_of_a_scale_whose_six_is_no_int32_is_refused() -> None:
    assert "does not fit 32 bits" in refusal("RELU6", input_scale=1e-10)


def test_relu_n1_to_1_has_no_kernel_as_in_tflm() -> None:
    assert "RELU_N1_TO_1" in refusal("RELU_N1_TO_1")
