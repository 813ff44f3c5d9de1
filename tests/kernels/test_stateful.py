"""SVDF, UNIDIRECTIONAL_SEQUENCE_LSTM and resource variables in C against TFLM, byte for byte, in sequences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.batch import HOST, TARGETS, Case, Target, case_count, check
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

SAMPLES = 8

Made = tuple[int, tuple[int, ...], float, int]  # a tensor, its shape, scale and zero point


def svdf(draw: Draw, model: TfliteBuilder, x: int, shape: tuple[int, ...], input_scale: float) -> Made:
    """An SVDF of random size that reads x of `shape`; its output."""
    batches, inputs = shape
    units, rank = draw.integer(1, 7), draw.choice((1, 2, draw.integer(1, 3)))
    memory = draw.choice((1, 2, draw.integer(1, 10)))
    wide = draw.chance(0.6)
    dtype, most = ("int16", 32767) if wide else ("int8", 127)
    times = draw.rng.integers(-most, most + 1, (units * rank, memory)).astype(dtype)
    if draw.chance(0.3):
        times = (times // (most // 8)).astype(dtype)  # small enough that no sum can wrap around
    feature_scale, time_scale = draw.log_uniform(1e-3, 0.1), draw.log_uniform(1e-5, 1e-2)
    reach = 3 * math.sqrt(inputs) * 80 * 80 * input_scale * feature_scale
    state_scale = reach / most * draw.choice((1.0, draw.log_uniform(0.1, 10)))
    state_zero = 0 if wide or draw.chance(0.5) else draw.zero_point()
    natural = state_scale * time_scale * max(float(np.abs(times).mean()), 1.0) * most / 3 * math.sqrt(memory * rank)
    output_scale = natural / 127 * draw.log_uniform(0.3, 3)
    bias_scale = float(np.float32(state_scale) * np.float32(time_scale))
    largest = min(max(int(natural / bias_scale), 1), 1 << 30)
    operands = [
        x,
        model.constant(draw.codes((units * rank, inputs)), scale=feature_scale),
        model.constant(times, scale=time_scale),
        model.constant(draw.rng.integers(-largest, largest + 1, units).astype(np.int32), scale=bias_scale),
        model.tensor(
            (batches, units * rank * memory), dtype=dtype, scale=state_scale, zero_point=state_zero, is_variable=True
        ),
    ]
    output_zero = draw.output_zero_point()
    y = model.tensor((batches, units), scale=output_scale, zero_point=output_zero)
    activation = draw.choice(("NONE", "RELU"))  # which TFLM does not apply
    model.op("SVDF", operands, [y], version=3, rank=rank, fused_activation_function=activation)
    return y, (batches, units), output_scale, output_zero


def lstm(draw: Draw, model: TfliteBuilder, x: int, shape: tuple[int, ...], scale: float) -> Made:
    """An LSTM of random size that reads x of `shape`; its output."""
    units, time_major = draw.integer(1, 9), draw.chance(0.3)
    batches = shape[1] if time_major else shape[0]
    hidden_scale, zero = draw.choice((1 / 128, draw.log_uniform(1e-3, 0.02))), draw.choice((0, draw.zero_point()))
    cell_scale = 2.0 ** -draw.choice((11, 12, 14, 15, draw.integer(5, 16)))
    operands = [x]
    operands += [
        model.constant(draw.codes((units, depth)), scale=draw.log_uniform(1e-3, 0.05))
        for depth in (shape[2], units)
        for _ in range(4)
    ]
    operands += [-1] * 3
    for gate in range(4):
        bias_scale = scale * float(model._tensors[operands[1 + gate]].quantization.scale[0])
        most = min(max(int(draw.log_uniform(0.1, 4) / bias_scale), 1), 1 << 28)
        operands.append(model.constant(draw.rng.integers(-most, most + 1, units).astype(np.int32), scale=bias_scale))
    operands += [-1, -1]
    operands.append(model.tensor((batches, units), scale=hidden_scale, zero_point=zero, is_variable=True))
    operands.append(model.tensor((batches, units), dtype="int16", scale=cell_scale, is_variable=True))
    operands += [-1] * 4
    y = model.tensor((*shape[:2], units), scale=hidden_scale, zero_point=zero)
    model.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], fused_activation_function="TANH", time_major=time_major,
        cell_clip=draw.choice((0.0, 10.0, draw.log_uniform(0.01, 20))),
    )  # fmt: skip
    return y, (*shape[:2], units), hidden_scale, zero


def svdf_case(number: int) -> Case:
    draw = Draw("SVDF", number)
    shape = draw.choice((1, 1, 2)), draw.integer(1, 9)
    scale, zero = draw.log_uniform(1e-3, 1.0), draw.zero_point()
    model = TfliteBuilder()
    model.as_output(svdf(draw, model, model.input(shape, scale=scale, zero_point=zero), shape, scale)[0])
    return Case(f"svdf_{number}", model.build(), draw.samples([(shape, zero)], SAMPLES))


def lstm_case(number: int) -> Case:
    draw = Draw("LSTM", number)
    shape = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 9)
    scale, zero = draw.log_uniform(5e-3, 0.1), draw.zero_point()
    model = TfliteBuilder()
    model.as_output(lstm(draw, model, model.input(shape, scale=scale, zero_point=zero), shape, scale)[0])
    return Case(f"lstm_{number}", model.build(), draw.samples([(shape, zero)], SAMPLES))


def variable_case(number: int) -> Case:
    """A sum of the last two inputs, over one or two variables, some of which CALL_ONCE initializes."""
    draw = Draw("VARIABLE", number)
    shape = tuple(draw.integer(1, 5) for _ in range(draw.integer(1, 4)))
    scale, zero = draw.log_uniform(0.01, 0.1), draw.zero_point()
    quantized = {"scale": scale, "zero_point": zero}

    model = TfliteBuilder()
    initialized = draw.chance(0.6)
    if initialized:
        model.op("CALL_ONCE", [], [], init_subgraph_index=1)
        first = model.subgraph()
        handle = first.tensor((), dtype="resource")
        first.op("VAR_HANDLE", [], [handle], container="", shared_name="last")
        first.op("ASSIGN_VARIABLE", [handle, first.constant(draw.codes(shape, zero), **quantized)], [])
    x = model.input(shape, **quantized)
    handles = [model.tensor((), dtype="resource") for _ in range(2)]
    for handle in handles:  # two handles of one variable
        model.op("VAR_HANDLE", [], [handle], container="", shared_name="last")
    before = model.tensor(shape, **quantized)
    model.op("READ_VARIABLE", [handles[0]], [before])
    if draw.chance(0.5):
        model.op("ASSIGN_VARIABLE", [handles[1], x], [])
        kept = before
    else:
        kept = model.tensor(shape, **quantized)
        model.op("ADD", [x, before], [kept])
        model.op("ASSIGN_VARIABLE", [handles[1], kept], [])
    if draw.chance(0.4):
        other = model.tensor((), dtype="resource")
        model.op("VAR_HANDLE", [], [other], container="", shared_name="older")
        older = model.tensor(shape, **quantized)
        model.op("READ_VARIABLE", [other], [older])
        model.op("ASSIGN_VARIABLE", [other, kept], [])
        kept = older
    y = model.output(shape, scale=2 * scale, zero_point=draw.zero_point())
    model.op("ADD", [x, kept], [y])
    return Case(f"variable_{number}", model.build(), draw.samples([(shape, zero)], SAMPLES))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_svdf_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([svdf_case(number) for number in range(case_count(20))], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_lstm_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([lstm_case(number) for number in range(case_count(20))], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_variables_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([variable_case(number) for number in range(case_count(10))], target, tmp_path)


@pytest.mark.golden
def test_variables_of_wider_integers_give_the_bytes_of_tflm(tmp_path: Path) -> None:
    """What goes in comes out one inference later."""
    cases = []
    for dtype in ("int16", "int32", "int64"):
        model, limits = TfliteBuilder(), np.iinfo(dtype)
        handle = model.tensor((), dtype="resource")
        model.op("VAR_HANDLE", [], [handle], container="", shared_name="last")
        x = model.input((2, 3), dtype=dtype)
        model.op("READ_VARIABLE", [handle], [model.output((2, 3), dtype=dtype)])
        model.op("ASSIGN_VARIABLE", [handle, x], [])
        rng = np.random.default_rng(2)
        samples = tuple((rng.integers(limits.min, limits.max, (2, 3), dtype),) for _ in range(4))
        cases.append(Case(f"delay_{dtype}", model.build(), samples))
    check(cases, HOST, tmp_path)
