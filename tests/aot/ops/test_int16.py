"""What the lowerings make of int16 codes, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.aot.lower import lower
from pipeline.aot.steps import PORTABLE, Core, Step
from pipeline.errors import UnsupportedError
from tests.tflite_builder import TfliteBuilder

WIDE = {"dtype": "int16", "scale": 1e-4}


def fully_connected(
    bias: Any = 0,
    weights: int = 1,
    outputs: dict[str, Any] | None = None,
    weight_type: str = "int8",
    depth: int = 4,
    core: Core = PORTABLE,
) -> Step:
    """Of one output; bias: a scalar of its type, or None for none."""
    model = TfliteBuilder()
    operands = [
        model.input((1, depth), **WIDE),
        model.constant(np.full((1, depth), weights, np.int8), scale=0.1, dtype=weight_type),
    ]
    if bias is not None:
        operands.append(model.constant(np.array([bias]), scale=1e-5))
    model.op("FULLY_CONNECTED", operands, [model.output((1, 1), **WIDE | (outputs or {}))])
    return lower(model.graph(), core)[0]


def depthwise(
    taps: int,
    weights: int,
    bias: Any = None,
    *,
    channels: int = 1,
    multiplier: int = 1,
    scale: float = 0.1,
    core: Core = PORTABLE,
) -> Step:
    """Of as many taps in a row. scale: of the weights, and what sums are multiplied with."""
    outputs = channels * multiplier
    model = TfliteBuilder()
    operands = [model.input((1, 1, taps, channels), **WIDE)]
    operands.append(model.constant(np.full((1, 1, taps, outputs), weights, np.int8), scale=scale))
    if bias is not None:
        operands.append(model.constant(np.full(outputs, bias), scale=1e-4 * scale))
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "depth_multiplier": multiplier}
    model.op("DEPTHWISE_CONV_2D", operands, [model.output((1, 1, 1, outputs), **WIDE)], **options)
    return lower(model.graph(), core)[0]


def convolution(
    bias: Any = None, *, taps: int = 1, depth: int = 8, channels: int = 3, groups: int = 1, feature: str = "dsp"
) -> Step:
    """Of an image of 5 x 5."""
    model = TfliteBuilder()
    weights = np.arange(channels * taps * depth // groups).reshape(channels, 1, taps, depth // groups).astype(np.int8)
    operands = [model.input((1, 5, 5, depth), **WIDE), model.constant(weights, scale=0.1)]
    if bias is not None:
        operands.append(model.constant(np.full(channels, bias), scale=1e-5))
    output = model.output((1, 5, 5, channels), **WIDE)
    model.op("CONV_2D", operands, [output], padding="SAME", stride_h=1, stride_w=1)
    return lower(model.graph(), Core(frozenset({feature})))[0]


def unary(op: str, scale: float = 1e-4, output_scale: float = 1 / 32768, **options: Any) -> Step:
    model = TfliteBuilder()
    x = model.input((2, 3), dtype="int16", scale=scale)
    model.op(op, [x], [model.output((2, 3), dtype="int16", scale=output_scale)], **options)
    return lower(model.graph())[0]


def test_a_bias_of_int64_is_rounded_once_and_one_of_int32_twice() -> None:
    once, twice = fully_connected(np.int64(5)), fully_connected(np.int32(5))
    assert once.kernel == twice.kernel == "fully_connected_s16"
    assert (once.params["rounds_twice"], twice.params["rounds_twice"]) == (0, 1)
    halves, wholes = ({c.role: c.data for c in step.constants}["multipliers"] for step in (once, twice))
    assert (halves, wholes) == (wholes + (1 << 15) >> 16, wholes)
    assert all(c.data.dtype == np.int64 for step in (once, twice) for c in step.constants if c.role == "bias")


def test_helium_takes_fully_connected_layers_of_any_depth() -> None:
    helium = Core(frozenset({"dsp", "mve"}))
    assert fully_connected(np.int64(5), depth=6, core=helium).kernel == "fully_connected_s16_mve"


def test_a_core_with_dsp_gets_its_kernel_for_whole_groups_of_four() -> None:
    dsp = Core(frozenset({"dsp"}))
    assert fully_connected(np.int64(5), depth=8, core=dsp).kernel == "fully_connected_s16_dsp"
    step = fully_connected(np.int64(5), depth=6, core=dsp)
    assert step.kernel == "fully_connected_s16"
    assert "not fully_connected_s16_dsp: a depth of 6, which is no multiple of 4" in step.reason


def test_sums_that_leave_int32_are_refused_only_with_a_bias_of_int32() -> None:
    coarse = {"scale": 1.0}
    assert fully_connected(np.int64(0), 127, coarse, depth=600).params["rounds_twice"] == 0
    assert fully_connected(np.int64(1 << 46), 127, coarse).params["rounds_twice"] == 0
    with pytest.raises(UnsupportedError, match="the accumulator of channel 0 can reach 2,496,921,600"):
        fully_connected(np.int32(0), 127, coarse, depth=600)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outputs": {"zero_point": 3}}, r"t3 is int16 with zero point 3; TFLite's int16 has 0"),
        ({"outputs": {"dtype": "int8"}}, r"output 0 \(t3\) is int8; the aot kernel works on int16"),
        ({"bias": np.float32(0)}, "is float32; the aot kernel takes int64 or int32"),
        ({"weight_type": "int4"}, "are int4; the aot kernel takes int8"),
        ({"bias": np.int64(1 << 47)}, r"channel 0 can reach 140737488486400 shifted left by -3; \+-2\*\*47 and 7"),
        ({"outputs": {"scale": 1e-8}}, "shifted left by 10"),
        ({"bias": np.int64(1 << 44)}, "the requantized value of channel 0 can reach 1,759,"),
    ],
)
def test_what_fully_connected_cannot_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        fully_connected(**{"bias": np.int64(0), **arguments})


def test_depthwise_sums_are_int32_and_its_bias_is_int64() -> None:
    step = depthwise(511, -128, np.int64(1 << 40) >> 10)
    assert step.kernel == "depthwise_conv_2d_s16"
    with pytest.raises(UnsupportedError, match="the sums can reach 2,147,483,648; an int32 holds"):
        depthwise(512, -128)
    with pytest.raises(UnsupportedError, match="is int32; the aot kernel takes int64"):
        depthwise(3, 1, np.int32(5))


def test_convolutions_of_int16_use_smlad_on_tiles_where_they_can() -> None:
    step = convolution(np.int64(7))
    assert (step.kernel, step.reason) == ("conv_2d_s16_dsp", "SMLAD on tiles of 2 pixels x 2 channels")
    constants = {constant.role: constant.data for constant in step.constants}
    assert constants["weights"][:16].tolist() == [0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15]
    assert constants["weights"][16:].tolist() == [16, 18, 17, 19, 0, 0, 0, 0, 20, 22, 21, 23, 0, 0, 0, 0]
    assert (constants["bias"].dtype, constants["bias"].tolist()) == (np.int32, [7, 7, 7, 0])
    assert (step.scratch_bytes, convolution(taps=3).scratch_bytes, convolution(depth=6).scratch_bytes) == (0, 96, 32)
    for arguments, obstacle in (
        ({"bias": np.int32(5)}, "a bias of int32, with which TFLM rounds twice"),
        ({"bias": np.int64(1 << 31)}, "the sum of channel 0 can reach 2,"),
        ({"channels": 4, "groups": 2}, "2 groups"),
    ):
        step = convolution(**arguments)
        assert step.kernel == "conv_2d_s16"
        assert f"not conv_2d_s16_dsp: {obstacle}" in step.reason


def test_convolutions_of_int16_use_helium_without_reordered_weights() -> None:
    step = convolution(feature="mve")
    assert (step.kernel, step.reason) == ("conv_2d_s16_mve", "VMLADAVA on tiles of 2 pixels x 2 channels")
    weights = next(constant.data for constant in step.constants if constant.role == "weights")
    assert weights.reshape(4, 8).tolist() == [*np.arange(24).reshape(3, 8).tolist(), [0] * 8]
    assert [convolution(depth=depth, feature="mve").scratch_bytes for depth in (8, 6)] == [0, 0]
    assert convolution(taps=3, depth=6, feature="mve").scratch_bytes == 72


def test_depthwise_layers_of_int16_use_smla_where_they_can() -> None:
    dsp = Core(frozenset({"dsp"}))
    step = depthwise(3, 100, np.int64(7), channels=8, core=dsp)
    assert (step.kernel, step.reason) == ("depthwise_conv_2d_s16_dsp", "SMLABB and SMLATT on four channels at once")
    bias = next(constant.data for constant in step.constants if constant.role == "bias")
    assert (bias.dtype, bias.tolist()) == (np.int32, [7] * 8)
    for arguments, obstacle in (
        ({"channels": 6}, "6 channels, which are no multiple of 4"),
        ({"channels": 4, "multiplier": 2}, "a depth multiplier of 2"),
        ({"channels": 4, "bias": np.int64(1 << 31)}, "the sum of channel 0 can reach 2,157,314,048"),
        ({"channels": 4, "scale": 0.25}, "channel 0 is multiplied by 1/4 or more"),
    ):
        step = depthwise(3, 100, core=dsp, **arguments)
        assert step.kernel == "depthwise_conv_2d_s16"
        assert f"not depthwise_conv_2d_s16_dsp: {obstacle}" in step.reason


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        ("SOFTMAX", {"output_scale": 1 / 32700, "beta": 1.0}, "1/32768 is needed, by TFLM as well"),
        ("SOFTMAX", {"scale": 10.0, "beta": 1.0}, "shifted left, can reach"),
        ("LOGISTIC", {"output_scale": 1 / 65536}, "1/32768 is needed, by TFLM as well"),
        ("TANH", {"output_scale": 1 / 256}, "1/32768 is needed, by TFLM as well"),
        ("LOGISTIC", {"scale": 2.7}, "an input scale of 2.7; at most 8/3"),
        ("RELU", {"scale": 2.5}, "shifted left, can reach"),
        ("HARD_SWISH", {}, "is int16; the aot kernel works on int8"),
        ("ABS", {}, "is int16; the aot kernel works on int8"),
    ],
)
def test_what_functions_of_one_code_cannot_do_is_refused(op: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        unary(op, **arguments)


def test_near_powers_of_two_sigmoids_have_tflms_other_formula() -> None:
    shifts = [unary("LOGISTIC", scale).params["shift"] for scale in (2.0**-12, 2.0**-12 * 1.0006, 2.0**-11)]
    assert [shift == 0 for shift in shifts] == [True, True, False]
    assert unary("TANH", 2.0**-11).params["multiplier"] == 6


def test_the_largest_window_that_is_averaged() -> None:
    def pool(height: int) -> Step:
        model = TfliteBuilder()
        x, y = model.input((1, height, 255, 1), **WIDE), model.output((1, 1, 1, 1), **WIDE)
        sizes = {"filter_height": height, "filter_width": 255, "stride_h": 1, "stride_w": 1, "padding": "VALID"}
        model.op("AVERAGE_POOL_2D", [x], [y], **sizes)
        return lower(model.graph())[0]

    assert pool(257).kernel == "average_pool_2d_s16"
    with pytest.raises(UnsupportedError, match="sums of up to 65,535 fit an int32"):
        pool(258)
