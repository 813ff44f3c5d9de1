"""Fused networks give the bytes of TFLM, every layer that is left included, and name the tensors they lack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot import Core, export
from pipeline.aot.fusions import fuse
from pipeline.model import Export
from tests.kernels.batch import CORTEX_M4, CORTEX_M55, HOST, Case, Target, case_count, check_many
from tests.kernels.random_cases import Draw, Layer, layer, window_positions
from tests.tflite_builder import TfliteBuilder

DSP = Core(frozenset({"dsp"}))
TARGETS = [
    pytest.param(HOST, id="host", marks=pytest.mark.slow),
    pytest.param(replace(HOST, name="host-dsp", core=DSP), id="host-dsp"),
    pytest.param(replace(CORTEX_M4, core=DSP), id="cortex-m4", marks=[pytest.mark.emulated, pytest.mark.slow]),
    pytest.param(
        replace(CORTEX_M55, core=Core(frozenset({"dsp", "mve"}))),
        id="cortex-m55",
        marks=[pytest.mark.emulated, pytest.mark.slow],
    ),
]


def hidden(exported: Export) -> list[str]:
    return [layer.op for layer in exported.hidden]


def kernels(exported: Export) -> list[str]:
    return [choice.kernel.removeprefix("tflash_") for choice in exported.kernels]


def padded_case(number: int) -> Case:
    """PAD or PADV2 with any padding that every window looks over, a convolution of either kind, and RELU or RELU6."""
    draw = Draw("PAD and convolution", number)
    depthwise, padding = draw.chance(0.5), draw.choice(("VALID", "VALID", "SAME"))
    taps = draw.choice(((3, 3), (3, 3), (draw.integer(1, 5), draw.integer(2, 5))))
    dilation = draw.choice(((1, 1), (1, 1), (draw.integer(1, 2), draw.integer(1, 2))))
    stride = draw.choice(((1, 1), (2, 2), (draw.integer(1, 3), draw.integer(1, 3))))
    span = [(t - 1) * d + 1 for t, d in zip(taps, dilation, strict=True)]
    around = [[draw.integer(0, s // 2), draw.integer(0, s // 2)] for s in span]
    sizes = [draw.integer(s, s + 5) for s in span]
    depth, channels = draw.choice((1, 3, 4, 8, 16)), draw.integer(1, 9)
    random = layer(draw, (1, *taps, depth) if depthwise else (channels, *taps, depth), 3 if depthwise else 0)
    channels = depth if depthwise else channels
    zero, scale, output_scale = draw.zero_point(), random.input_scale, random.output_scale
    output_zero = draw.output_zero_point()

    model = TfliteBuilder()
    shape = (1, *sizes, depth)
    padded = [size + sum(pair) for size, pair in zip(sizes, around, strict=True)]
    x = model.input(shape, scale=scale, zero_point=zero)
    between = model.tensor((1, *padded, depth), scale=scale, zero_point=zero)
    pads = model.constant(np.array([[0, 0], *around, [0, 0]], np.int32))
    if draw.chance(0.3):
        value = model.constant(np.array(zero, np.int8), scale=scale, zero_point=zero)
        model.op("PADV2", [x, pads, value], [between])
    else:
        model.op("PAD", [x, pads], [between])
    positions = (1, *window_positions(padded, taps, stride, dilation, padding), channels)
    y = model.tensor(positions, scale=output_scale, zero_point=output_zero)
    more = {"depth_multiplier": 1} if depthwise else {}
    model.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", random.operands(model, between, 3 if depthwise else 0), [y],
        padding=padding, stride_h=stride[0], stride_w=stride[1], dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1], fused_activation_function=draw.choice(("NONE", "NONE", "RELU", "RELU6")), **more,
    )  # fmt: skip
    z = model.output(positions, scale=output_scale, zero_point=output_zero)
    model.op(draw.choice(("RELU", "RELU6")), [y], [z])
    return Case(f"padded_{number}", model.build(), draw.samples([(shape, zero)]))


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_convolutions_that_pad_and_clamp_give_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [padded_case(number) for number in range(case_count(12, 500))]
    fused = [hidden(export(case.graph(), target.core)) for case in cases]
    assert sum("PAD" in found or "PADV2" in found for found in fused) > len(cases) // 2
    assert sum("CONV_2D" in found or "DEPTHWISE_CONV_2D" in found for found in fused) == len(cases), "all clamp"
    check_many(cases, target, tmp_path)


def network(*, value: int = -128, clamp_scale: float = 0.1, readers: int = 1, shown: bool = False) -> TfliteBuilder:
    """PAD, CONV_2D and RELU, of which something may be in the way of a fusion."""
    model = TfliteBuilder()
    weights = Layer(np.ones((2, 3, 3, 3), np.int8), None, np.zeros(0), 0.1, np.array([0.1], np.float32), 0.1)
    x = model.input((1, 8, 8, 3), scale=0.1, zero_point=-128)
    padded = (model.output if shown else model.tensor)((1, 9, 9, 3), scale=0.1, zero_point=-128, name="padded")
    pads = model.constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    given = model.constant(np.array(value, np.int8), scale=0.1, zero_point=-128)
    model.op("PADV2", [x, pads, given], [padded])
    for _ in range(readers):
        y = model.tensor((1, 4, 4, 2), scale=0.1, zero_point=0, name="sums")
        model.op("CONV_2D", weights.operands(model, padded), [y], padding="VALID", stride_h=2, stride_w=2)
        z = model.output((1, 4, 4, 2), scale=clamp_scale, zero_point=0)
        model.op("RELU", [y], [z])
    return model


def test_what_is_fused_is_told_with_the_reason() -> None:
    found = export(network().graph())
    assert kernels(found) == ["conv_2d_s8"]
    assert [(h.op_index, h.op, h.tensor, h.reason) for h in found.hidden] == [
        (0, "PADV2", "padded", "op 1 (CONV_2D) pads while it reads"),
        (1, "CONV_2D", "sums", "op 2 (RELU) is its clamp"),
    ]
    assert [(layer.op_index, layer.tensor_index) for layer in found.layers] == [(1, 6)]
    assert hidden(export(network(readers=2).graph())) == ["PADV2", "CONV_2D", "CONV_2D"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"value": -127}, "pad_s8"), ({"shown": True}, "pad_s8"), ({"clamp_scale": 0.05}, "relu_s8")],
    ids=["a value that is not zero", "a padded image that is an output", "a clamp with a scale of its own"],
)
def test_what_would_change_a_byte_is_not_fused(options: dict[str, float], kept: str) -> None:
    assert kept in kernels(export(network(**options).graph()))  # type: ignore[arg-type]


def test_a_window_that_would_see_nothing_but_padding_keeps_the_pad() -> None:
    model = TfliteBuilder()
    weights = Layer(np.ones((1, 1, 1, 1), np.int8), None, np.zeros(0), 0.1, np.array([0.1], np.float32), 0.1)
    x = model.input((1, 2, 2, 1), scale=0.1)
    padded = model.tensor((1, 4, 4, 1), scale=0.1)
    model.op("PAD", [x, model.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))], [padded])
    y = model.output((1, 4, 4, 1), scale=0.1)
    model.op("CONV_2D", weights.operands(model, padded), [y], padding="VALID", stride_h=1, stride_w=1)
    assert kernels(export(model.graph())) == ["pad_s8", "conv_2d_s8"]


def test_ops_that_nobody_reads_are_dropped_and_what_they_read_with_them() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.1)
    a, b = model.tensor((1, 4), scale=1 / 256, zero_point=-128), model.tensor((1, 4), scale=0.2)
    model.op("LOGISTIC", [x], [a])
    model.op("QUANTIZE", [a], [b])
    model.op("RELU", [x], [model.output((1, 4), scale=0.1)])
    graph, lacking = fuse(model.graph())
    assert [op.name for op in graph.ops] == ["RELU"]
    assert {(layer.op, layer.reason) for layer in lacking} == {
        ("LOGISTIC", "nothing reads it"), ("QUANTIZE", "nothing reads it")
    }  # fmt: skip
