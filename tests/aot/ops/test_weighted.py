"""What the lowerings of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED refuse, and what they say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import Core, Ref, Step
from pipeline.errors import UnsupportedError
from pipeline.fixedpoint import INT32_MAX
from tests.tflite_builder import TfliteBuilder

# A small layer of each op: tensors as (shape, keywords), then options. A test changes one thing.
LAYERS: dict[str, dict[str, Any]] = {
    "CONV_2D": {
        "input": ((1, 4, 4, 2), {"scale": 0.05, "zero_point": 3}),
        "weights": (np.ones((2, 3, 3, 2), np.int8), {"scale": [0.02, 0.03]}),
        "bias": (np.array([7, -7], np.int32), {"scale": [0.001, 0.0015]}),
        "output": ((1, 4, 4, 2), {"scale": 0.1, "zero_point": -5}),
        "options": {"padding": "SAME", "stride_h": 1, "stride_w": 1},
    },
    "DEPTHWISE_CONV_2D": {
        "input": ((1, 4, 4, 2), {"scale": 0.05, "zero_point": 3}),
        "weights": (np.ones((1, 3, 3, 2), np.int8), {"scale": [0.02, 0.03], "axis": 3}),
        "bias": (np.array([7, -7], np.int32), {"scale": [0.001, 0.0015]}),
        "output": ((1, 4, 4, 2), {"scale": 0.1, "zero_point": -5}),
        "options": {"padding": "SAME", "stride_h": 1, "stride_w": 1, "depth_multiplier": 1},
    },
    "FULLY_CONNECTED": {
        "input": ((1, 4), {"scale": 0.05, "zero_point": 3}),
        "weights": (np.ones((2, 4), np.int8), {"scale": [0.02, 0.03]}),
        "bias": (np.array([7, -7], np.int32), {"scale": [0.001, 0.0015]}),
        "output": ((1, 2), {"scale": 0.1, "zero_point": -5}),
        "options": {},
    },
}


def lowered(op: str, core: Core | None = None, **changes: Any) -> Step:
    """The op's step. A change of None leaves a bias out; an array as input makes it a constant."""
    layer = LAYERS[op] | changes
    model = TfliteBuilder()
    x = model.input(layer["input"][0], **layer["input"][1])
    if isinstance(layer["weights"][0], np.ndarray):
        w = model.constant(layer["weights"][0], **layer["weights"][1])
    else:
        w = model.input(layer["weights"][0], **layer["weights"][1])
    inputs = [x, w]
    if layer["bias"] is not None:
        array, keywords = layer["bias"]
        is_array = isinstance(array, np.ndarray)
        inputs.append(model.constant(array, **keywords) if is_array else model.input(array, **keywords))
    y = model.output(layer["output"][0], **layer["output"][1])
    model.op(op, inputs, [y], **LAYERS[op]["options"] | changes.get("options", {}))
    return lower(model.graph(), core or Core())[0]


@pytest.mark.parametrize("op", LAYERS)
def test_a_sound_layer_is_lowered_to_its_kernel(op: str) -> None:
    step = lowered(op)
    assert step.kernel == f"{op.lower()}_s8"
    assert step.params["input_offset"] == (0 if op == "FULLY_CONNECTED" else -3)
    assert step.params["output_offset"] == -5
    assert step.params["per_channel"] == 1
    assert {c.role for c in step.constants} == {"weights", "bias", "multipliers", "shifts"}
    assert step.macs == {"CONV_2D": 4 * 4 * 2 * 18, "DEPTHWISE_CONV_2D": 4 * 4 * 2 * 9, "FULLY_CONNECTED": 8}[op]


@pytest.mark.parametrize("op", LAYERS)
def test_a_core_with_dsp_gets_the_kernel_for_it_and_the_reason(op: str) -> None:
    assert lowered(op).reason == "portable C: the core has no dsp or mve"
    step = lowered(op, Core(frozenset({"dsp", "fpu"})))
    assert step.kernel == f"{op.lower()}_s8_dsp"
    assert step.reason.startswith("SMLAD on ")


def test_a_layer_that_the_dsp_kernel_cannot_do_says_why() -> None:
    options = LAYERS["CONV_2D"]["options"] | {"dilation_h_factor": 2, "dilation_w_factor": 2}
    step = lowered("CONV_2D", Core(frozenset({"dsp"})), options=options)
    assert step.kernel == "conv_2d_s8"
    assert step.reason == "portable C; not conv_2d_s8_dsp: a dilation of 2 x 2"


@pytest.mark.parametrize("op", LAYERS)
def test_packing_folds_the_zero_point_into_a_bias_where_there_was_none(op: str) -> None:
    step = lowered(op, Core(frozenset({"dsp"})), bias=None)
    assert {c.role for c in step.constants} == {"weights", "bias", "multipliers", "codes"}


@pytest.mark.parametrize("features", [(), ("dsp",), ("mve", "dsp")])
@pytest.mark.parametrize("op", LAYERS)
def test_int4_weights_stay_packed(op: str, features: tuple[str, ...]) -> None:
    shape = (1, 3, 3, 2) if op == "DEPTHWISE_CONV_2D" else (2, 4) if op == "FULLY_CONNECTED" else (2, 3, 3, 2)
    codes = np.resize(np.array([-8, 7, 3, 0, -1], np.int8), shape)
    axis = 3 if op == "DEPTHWISE_CONV_2D" else 0
    scales = [0.02] if op == "FULLY_CONNECTED" else [0.02, 0.03]
    weights = (codes, {"dtype": "int4", "scale": scales, "axis": axis})
    step = lowered(op, Core(frozenset(features)), weights=weights, bias=None)
    assert step.kernel == f"{op.lower()}_s8_w4"
    assert step.reason.startswith("portable C on int4 weights, which stay packed")
    packed = next(c.data for c in step.constants if c.role == "weights").view(np.uint8)
    assert packed.size == codes.size // 2 and list(packed[:2]) == [0x78, 0x03]
    assert step.params["layer.per_channel"] == len(scales) - 1


@pytest.mark.parametrize("op", LAYERS)
def test_a_bias_may_be_missing(op: str) -> None:
    step = lowered(op, bias=None, input=(LAYERS[op]["input"][0], {"scale": 0.05, "zero_point": 0}))
    assert step.params["bias"] is None
    assert "bias" not in {c.role for c in step.constants}


VALID = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
BELOW_ONLY = {"padding": "SAME", "stride_h": 2, "stride_w": 2}


@pytest.mark.parametrize(
    ("op", "changes", "offset", "bias"),
    [
        ("FULLY_CONNECTED", {}, 0, [7 - 3 * 4, -7 - 3 * 4]),
        ("FULLY_CONNECTED", {"bias": None}, 0, [-12, -12]),
        ("FULLY_CONNECTED", {"input": ((1, 4), {"scale": 0.05, "zero_point": 0})}, 0, [7, -7]),
        ("CONV_2D", {"options": VALID, "output": ((1, 2, 2, 2), {"scale": 0.1})}, 0, [7 - 3 * 18, -7 - 3 * 18]),
        ("CONV_2D", {"options": BELOW_ONLY, "output": ((1, 2, 2, 2), {"scale": 0.1})}, -3, [7, -7]),
        ("CONV_2D", {}, -3, [7, -7]),
    ],
)
def test_portable_kernels_have_the_zero_point_in_the_bias_where_no_window_meets_padding(
    op: str, changes: dict[str, Any], offset: int, bias: list[int]
) -> None:
    step = lowered(op, **changes)
    assert step.kernel == f"{op.lower()}_s8"
    assert step.params["input_offset"] == offset
    assert step.params["bias"] == Ref("bias")
    assert next(c.data for c in step.constants if c.role == "bias").tolist() == bias


@pytest.mark.parametrize(("room", "offset"), [(523, 3), (524, 0)])
def test_a_zero_point_stays_out_of_a_bias_with_which_a_partial_sum_could_leave_int32(room: int, offset: int) -> None:
    bias = (np.array([INT32_MAX - room, 0], np.int32), {"scale": [0.001, 0.0015]})
    step = lowered("FULLY_CONNECTED", input=((1, 4), {"scale": 0.05, "zero_point": -3}), bias=bias)
    assert step.params["input_offset"] == offset


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("CONV_2D", {"input": ((1, 4, 4, 2), {})}, "input 0 (t0) needs one positive scale, it has 0"),
    ("CONV_2D", {"input": ((1, 4, 4, 2), {"dtype": "uint8", "scale": 0.1})}, "input 0 (t0) is uint8"),
    ("CONV_2D", {"input": ((1, 4, 4, 2), {"scale": 0.1, "zero_point": 300})}, "zero point 300, outside int8"),
    ("CONV_2D", {"output": ((1, 4, 4, 2), {"dtype": "float32"})}, "output 0 (t3) is float32"),
    ("CONV_2D", {"output": ((1, 4, 4, 3), {"scale": 0.1})}, "2 filters for 3 output channels"),
    ("CONV_2D", {"output": ((2, 4, 4, 2), {"scale": 0.1})}, "1 samples go in and 2 come out"),
    ("CONV_2D", {"output": ((1, 3, 4, 2), {"scale": 0.1})}, "height: input 4, filter 3, stride 1"),
    ("CONV_2D", {"output": ((1, 4, 8), {"scale": 0.1})}, "output has shape [1, 4, 8]"),
    ("CONV_2D", {"input": ((1, 4, 4, 3), {"scale": 0.1})}, "3 input and 2 output channels, filters of 2"),
    ("CONV_2D", {"options": {"stride_w": 0}}, "width: filter 3, stride 0"),
    ("CONV_2D", {"options": {"stride_h": -1}}, "height: filter 3, stride -1"),
    ("CONV_2D", {"options": {"dilation_h_factor": 0}}, "dilation 0; at least 1"),
    ("CONV_2D", {"options": {"dilation_h_factor": 1 << 30}}, "int32 has to count them"),
    ("CONV_2D", {"options": {"padding": 7}}, "padding 7; SAME or VALID"),
    ("CONV_2D", {"options": {"padding": "VALID"}}, "padding VALID give 2 outputs, the model says 4"),
    ("CONV_2D", {"options": {"fused_activation_function": "TANH"}}, "a fused activation TANH"),
    ("CONV_2D", {"options": {"fused_activation_function": 77}}, "a fused activation 77"),
    ("CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int16), {"scale": 0.1})}, "weights (t1) are int16"),
    ("CONV_2D", {"weights": ((2, 3, 3, 2), {"scale": 0.1})}, "weights (t1) are computed"),
    ("CONV_2D", {"weights": (np.ones((2, 18), np.int8), {"scale": 0.1})}, "weights of shape [2, 18]"),
    ("CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int8), {})}, "weights with 0 scales; 1 or 2"),
    ("CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int8), {"scale": [0.1, 0.0]})}, "all above 0"),
    ("CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int8), {"scale": [0.1, 0.1], "axis": 3})}, "along dimension 3"),
    ("CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int8), {"scale": 0.1, "zero_point": 1})}, "other than 0"),
    ("CONV_2D", {"bias": (np.ones(2, np.int64), {})}, "bias (t2) is int64"),
    ("CONV_2D", {"bias": (np.ones(3, np.int32), {})}, "a bias of 3 values for 2"),
    ("CONV_2D", {"bias": ((2,), {"dtype": "int32"})}, "bias (t2) is computed"),
    ("CONV_2D", {"bias": (np.array([0, 2**31 - 1], np.int32), {})}, "accumulator of channel 1 can reach 2,147,486,005"),
    ("CONV_2D", {"bias": (np.array([-(2**31), 0], np.int32), {})}, "accumulator of channel 0 can reach 2,147,486,006"),
    ("CONV_2D", {"output": ((1, 4, 4, 2), {"scale": 1e-9})}, "channel 0, shifted left, can reach"),
    ("CONV_2D", {"output": ((1, 4, 4, 2), {"scale": 1e-30})}, "its scales give a multiplier of 1e+27"),
    ("DEPTHWISE_CONV_2D", {"options": {"depth_multiplier": 2}}, "depth multiplier 2 for 2 input and 2 output"),
    ("DEPTHWISE_CONV_2D", {"options": {"depth_multiplier": 0}}, "depth multiplier 0"),
    ("DEPTHWISE_CONV_2D", {"output": ((1, 4, 4, 4), {"scale": 0.1})}, "for 2 input and 4 output channels"),
    ("DEPTHWISE_CONV_2D", {"weights": (np.ones((2, 3, 3, 2), np.int8), {"scale": 0.1})}, "weights [2, 3, 3, 2]"),
    ("FULLY_CONNECTED", {"options": {"weights_format": "SHUFFLED4x16INT8"}}, "weights in format 1"),
    (
        "FULLY_CONNECTED",
        {"weights": (np.ones((2, 4), np.int8), {"dtype": "int4", "scale": [0.02, 0.03]})},
        "int4 weights with 2 scales",
    ),
    ("FULLY_CONNECTED", {"output": ((1, 3), {"scale": 0.1})}, "2 filters for an output of shape [1, 3]"),
    ("FULLY_CONNECTED", {"output": ((2, 2), {"scale": 0.1})}, "an input of shape [1, 4] for filters of 4"),
    ("FULLY_CONNECTED", {"input": ((1, 5), {"scale": 0.1})}, "an input of shape [1, 5] for filters of 4"),
    (
        "FULLY_CONNECTED",
        {"weights": (np.ones((2, 4), np.int8), {"scale": 0.02}), "bias": (np.ones(2, np.int32), {"scale": 0.02})},
        "a bias of scale 0.02 where input scale * weight scale is 0.001",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("op", "changes", "message"), REFUSED, ids=[f"{op}: {text}" for op, _, text in REFUSED])
def test_what_the_kernel_cannot_do_is_refused(op: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as caught:
        lowered(op, **changes)
    assert caught.value.message.startswith(f"op 0 ({op}): ")
    assert caught.value.hint


@pytest.mark.parametrize("op", LAYERS)
def test_too_many_and_too_few_inputs_are_refused(op: str) -> None:
    for inputs in (1, 4):
        model = TfliteBuilder()
        x = model.input((1, 4, 4, 2), scale=0.1)
        y = model.output((1, 4, 4, 2), scale=0.1)
        model.op(op, [x] * inputs, [y], **LAYERS[op]["options"])
        with pytest.raises(UnsupportedError, match=f"{inputs} inputs; input, weights and perhaps a bias"):
            lower(model.graph())


def test_one_scale_for_all_weights_needs_one_multiplier() -> None:
    step = lowered("CONV_2D", weights=(np.ones((2, 3, 3, 2), np.int8), {"scale": 0.02}))
    assert step.params["per_channel"] == 0
    assert [c.data.size for c in step.constants if c.role == "multipliers"] == [1]


def test_options_that_are_absent_are_refused_rather_than_guessed() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05)
    w = model.constant(np.ones((2, 1, 1, 2), np.int8), scale=0.02)
    model.op("CONV_2D", [x, w], [model.output((1, 4, 4, 2), scale=0.1)])
    model.without_options()
    with pytest.raises(UnsupportedError, match="stride 0"):
        lower(model.graph())
