"""Multipliers to the last bit: scales and codes at which a multiplier in float32 instead of double shows.

Random cases hardly ever find it: the two differ by less than 2**-24.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import HOST, Case, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

CODES = np.arange(-128, 128).astype(np.int8)

# input1, input2, output: each gives another difference of two codes when any of SUB's multipliers is a float32.
DIFFERENCES = (
    (0.0010243678698316216, 0.00032337629818357527, 0.0011458704248070717),
    (0.060556624, 0.1630801, 0.23883979),
    (0.0037440215, 0.93562376, 2.3259318),
    (0.10808839, 0.03198664, 0.09842333),
    (0.23751213, 0.7704859, 0.68446666),
    (0.73114157, 0.0078009036, 0.69896775),
    (0.0067700786, 0.003257813, 0.0060609346),
    (0.02519944, 0.048345987, 0.06466661),
    (0.004374268, 0.004070463, 0.002484725),
    (0.01190204, 0.009809732, 0.0060202866),
    (0.51468533, 0.31702498, 1.2693998),
    (0.1509684, 0.01969027, 0.25290614),
)


@pytest.mark.golden
def test_multipliers_of_a_difference_are_computed_in_double(tmp_path: Path) -> None:
    cases = []
    for number, (first, second, output) in enumerate(DIFFERENCES):
        model = TfliteBuilder()
        a, b = model.input((256, 1), scale=first), model.input((1, 256), scale=second)
        model.op("SUB", [a, b], [model.output((256, 256), scale=output)])
        cases.append(Case(f"sub_{number}", model.build(), ((CODES.reshape(256, 1), CODES.reshape(1, 256)),)))
    check(cases, HOST, tmp_path)


def cancelling_sum_case(number: int) -> Case:
    """ADD or SUB of all pairs of codes, of which many all but cancel; the output has a code for their last bit."""
    draw = Draw("CANCELLING_SUM", number)
    one = float(np.float32(draw.log_uniform(0.01, 1.0)))
    of = draw.integer(1, 100)
    # The ratio of small integers, but for some of the last bits of a float32.
    two = float(np.float32(one * draw.integer(1, of) / of * (1 + draw.integer(-4, 4) * 2.0**-23)))
    output = 2 * max(one, two) * 2.0**-20 * draw.log_uniform(1.01, 4.0)
    scales = draw.choice(((one, two), (two, one)))
    model = TfliteBuilder()
    a = model.input((256, 1), scale=scales[0], zero_point=draw.zero_point())
    b = model.input((1, 256), scale=scales[1], zero_point=draw.zero_point())
    model.op(draw.choice(("ADD", "SUB")), [a, b], [model.output((256, 256), scale=output)])
    return Case(draw.label, model.build(), ((CODES.reshape(256, 1), CODES.reshape(1, 256)),))


@pytest.mark.golden
def test_a_sum_is_exact_to_the_last_bit_of_its_operands(tmp_path: Path) -> None:
    check([cancelling_sum_case(number) for number in range(case_count(20))], HOST, tmp_path)


@pytest.mark.golden
def test_the_multiplier_of_a_product_is_computed_in_double(tmp_path: Path) -> None:
    cases = []
    for number in range(case_count(30)):
        draw = Draw("MUL in double", number)
        first, second = draw.log_uniform(0.01, 1.0), draw.log_uniform(0.01, 1.0)
        product = draw.integer(1, 200) * draw.integer(1, 200)  # which becomes a tie, but for rounding
        output = first * second * product / (draw.integer(0, 120) + 0.5)
        model = TfliteBuilder()
        a, b = model.input((256, 1), scale=first), model.input((1, 256), scale=second)
        model.op("MUL", [a, b], [model.output((256, 256), scale=output)])
        cases.append(Case(f"mul_{number}", model.build(), ((CODES.reshape(256, 1), CODES.reshape(1, 256)),)))
    check(cases, HOST, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("op", ["RELU", "QUANTIZE"])
def test_the_multiplier_of_a_rescaling_is_computed_in_double(op: str, tmp_path: Path) -> None:
    cases = []
    for number in range(case_count(60)):
        draw = Draw(f"{op} in double", number)
        output = draw.log_uniform(0.002, 1.0)
        tie = (draw.integer(0, 60) + 0.5) / draw.integer(1, 200)
        model = TfliteBuilder()
        x = model.input((256,), scale=output * tie, zero_point=-128)
        model.op(op, [x], [model.output((256,), scale=output, zero_point=-128)])
        cases.append(Case(f"{op.lower()}_{number}", model.build(), ((CODES,),)))
    check(cases, HOST, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("op", ["FULLY_CONNECTED", "CONV_2D"])
def test_multipliers_of_layers_are_computed_in_double(op: str, tmp_path: Path) -> None:
    cases = []
    for number in range(case_count(8)):
        draw = Draw(f"{op} in double", number)
        source, weight = (float(np.float32(draw.log_uniform(0.002, 0.4))) for _ in range(2))
        output = source * weight * (1 << 21) * draw.log_uniform(0.6, 1.0)
        # Biases of up to 2**28 next to those that give a tie.
        ties = (draw.rng.integers(-120, 120, 200) + 0.5) * output / (source * weight)
        bias = (np.round(ties) + draw.rng.integers(-3, 4, 200)).astype(np.int32)
        bias_scale = float(np.float32(source) * np.float32(weight))
        before, after = ((1, 1), (1, 200)) if op == "FULLY_CONNECTED" else ((1, 1, 1, 1), (1, 1, 1, 200))
        model = TfliteBuilder()
        x = model.input(before, scale=source)
        w = model.constant(np.ones((200, *before[1:]), np.int8), scale=weight)
        b = model.constant(bias, scale=bias_scale)
        options = {} if op == "FULLY_CONNECTED" else {"padding": "VALID", "stride_h": 1, "stride_w": 1}
        model.op(op, [x, w, b], [model.output(after, scale=output)], **options)
        cases.append(Case(f"{op.lower()}_{number}", model.build(), ((np.zeros(before, np.int8),),)))
    check(cases, HOST, tmp_path)
