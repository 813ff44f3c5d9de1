"""What the lowerings of SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM prove and refuse."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.plan import plan
from pipeline.aot.sigmoid_table import sigmoid_table
from pipeline.aot.steps import Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder


def svdf(
    *,
    features: Any = (6, 5),
    times: Any = (6, 4),
    feature_codes: int = 1,
    time_codes: int = 1,
    time_dtype: str = "int16",
    bias: int = 0,
    bias_scale: float = 2e-5,
    state: dict[str, Any] | None = None,
    inputs: int = 5,
    output_scale: float = 0.1,
    rank: int = 2,
) -> Step:
    """3 units of rank 2 over 5 inputs and a memory of 4."""
    model = TfliteBuilder()
    operands = [
        model.input((1, 5), scale=0.1, zero_point=-128),
        model.constant(np.full(features, feature_codes, np.int8), scale=0.01),
        model.constant(np.full(times, time_codes, time_dtype), scale=0.01),
        model.constant(np.full(3, bias, np.int32), scale=bias_scale),
        model.tensor((1, 24), **{"dtype": "int16", "scale": 0.002, "is_variable": True} | (state or {})),
    ]
    model.op("SVDF", operands[:inputs], [model.output((1, 3), scale=output_scale)], rank=rank)
    return lower(model.graph())[0]


def test_an_svdf_keeps_its_memory_as_state() -> None:
    step = svdf()
    (state,) = step.state
    assert (step.kernel, state.initial.dtype, state.initial.shape, step.macs) == ("svdf_s8", np.int16, (1, 24), 54)
    assert "wrap" not in step.reason


def test_an_svdf_whose_sums_can_wrap_around_says_so() -> None:
    assert "its sum over time can wrap around, as in TFLM" in svdf(feature_codes=127, time_codes=32767).reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 4}, "4 inputs; input, two kinds of weights, bias and state"),
        ({"features": (6, 4)}, "its weights of features (t1) have shape [6, 4]; [6, 5] is needed"),
        ({"times": (5, 4)}, "its weights of time (t2) have shape [5, 4]; [6, 4] is needed"),
        ({"times": (24,)}, "weights of time [24]"),
        ({"rank": 0}, "rank 0"),
        ({"rank": 3}, "its weights of features (t1) have shape [6, 5]; [9, 5]"),
        ({"time_dtype": "int32"}, "computed or int32; a constant int8 or int16"),
        ({"time_dtype": "int8"}, "its state (t4) is int16, 24 elements; int8, 24 are needed"),
        ({"state": {"zero_point": 3}}, "zero point 3; int16 needs 0, in TFLM too"),
        ({"state": {"scale": None}}, "its state (t4) needs one positive scale"),
        ({"bias_scale": 1e-3}, "a bias of scale 0.001 where state scale * time scale is 2e-05"),
        ({"output_scale": 1e-9, "bias": 1 << 30}, "shifted left, can reach"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_svdf_that_the_kernel_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        svdf(**changes)
    assert caught.value.message.startswith("op 0 (SVDF): ")


def lstm(
    *,
    changed: dict[int, int] | None = None,
    inputs: int = 24,
    hidden: dict[str, Any] | None = None,
    cell: dict[str, Any] | None = None,
    output: tuple[int, ...] = (1, 3, 2),
    bias: int = 0,
    weight_scale: Any = 0.01,
    **options: Any,
) -> Step:
    """2 units, 3 steps of 4 inputs. changed: operand -> another tensor's index, or -1."""
    model = TfliteBuilder()
    operands = [model.input((1, 3, 4), scale=0.1, zero_point=3)]
    operands += [model.constant(np.ones((2, d), np.int8), scale=weight_scale) for d in (4, 4, 4, 4, 2, 2, 2, 2)]
    operands += [-1] * 3
    operands += [model.constant(np.full(2, bias, np.int32), scale=0.001) for _ in range(4)]
    operands += [-1] * 2
    operands.append(model.tensor((1, 2), **{"scale": 0.01, "zero_point": 5, "is_variable": True} | (hidden or {})))
    made = {"dtype": "int16", "scale": 2.0**-11, "is_variable": True} | (cell or {})
    operands.append(model.tensor((1, 2), **made))
    operands += [-1] * 4
    for position, index in (changed or {}).items():
        operands[position] = index
    y = model.output(output, scale=0.01, zero_point=5)
    model.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands[:inputs], [y], **{"fused_activation_function": "TANH"} | options)
    return lower(model.graph())[0]


def test_an_lstm_keeps_hidden_and_cell_state() -> None:
    step = lstm(cell_clip=10.0)
    assert [(s.initial.dtype, s.initial.tolist()) for s in step.state] == [(np.int8, [[5, 5]]), (np.int16, [[0, 0]])]
    assert step.params["cell_clip"] == 10 * 2**11 and step.macs == 3 * 4 * 2 * (4 + 2)
    assert (step.params["tanh_multiplier"], step.params["tanh_shift"]) == (3 << 1, 0)
    assert (step.params["forget_multiplier"], step.params["forget_shift"]) == (1 << 30, -14)


def test_an_lstm_without_clipping_leaves_the_smallest_code() -> None:
    assert lstm().params["cell_clip"] == 1 << 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 20}, "20 inputs; 24 are needed"),
        ({"changed": {9: 1}}, "an LSTM with peepholes, which TFLM does not have either"),
        ({"changed": {16: 1}}, "an LSTM with a projection"),
        ({"changed": {20: 1}}, "an LSTM with layer normalization"),
        ({"changed": {1: -1}}, "it has no input weights"),
        ({"changed": {14: -1}}, "it has no cell biases"),
        ({"changed": {6: 1}}, "its recurrent forget weights (t1) have shape [2, 4]; [2, 2] is needed"),
        ({"changed": {18: -1}}, "input 18 is no variable tensor"),
        ({"hidden": {"dtype": "int16", "zero_point": 0}}, "its state (t13) is int16, 2 elements; int8, 2 are needed"),
        ({"cell": {"scale": 0.0005}}, "of scale 0.0005; a power of 2 from 2**-42 to 4"),
        ({"cell": {"scale": 8.0}}, "of scale 8; a power of 2"),
        ({"output": (1, 2, 2)}, "an input of [1, 3, 4] and an output of [1, 2, 2]"),
        ({"fused_activation_function": "RELU"}, "the activation RELU; TANH is needed"),
        ({"cell_clip": float("nan")}, "a cell_clip of nan"),
        ({"bias": (1 << 31) - 1}, "can reach"),
        ({"weight_scale": [0.01, 0.02]}, "need one positive scale and zero point 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_lstm_that_the_kernel_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lstm(**changes)
    assert caught.value.message.startswith("op 0 (UNIDIRECTIONAL_SEQUENCE_LSTM): ")


def test_another_op_that_reads_a_variable_tensor_is_refused() -> None:
    model = TfliteBuilder()
    kept = model.tensor((1, 4), scale=0.1, is_variable=True)
    model.op("ADD", [model.input((1, 4), scale=0.1), kept], [model.output((1, 4), scale=0.2)])
    graph = model.graph()
    with pytest.raises(UnsupportedError, match=r"op 0 \(ADD\): t0 keeps state between inferences"):
        plan(graph, lower(graph))


def test_lines_between_the_entries_of_the_sigmoid_table_are_off_by_1_3_units_at_most() -> None:
    table = sigmoid_table().astype(float) + 32768
    x = np.arange(0, 254.99, 0.25)
    error = np.interp(x, np.arange(256), table) - 65536 / (1 + np.exp(-x / 24))
    assert (table[0], table[-1]) == (32768, 65535) and -1.3 < error.min() < -0.9 < 0.9 < error.max() < 1.3
