"""DEPTHWISE_CONV_2D: weights [1, height, width, input channels * depth multiplier]."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.aot import packing
from pipeline.aot.ops.dilation import without_dilation
from pipeline.aot.ops.overlap import lead_bytes, row_lead_bytes
from pipeline.aot.ops.weighted import (
    Operands,
    magnitudes,
    operands,
    requantization,
    scale_multipliers,
    with_packed_weights,
)
from pipeline.aot.ops.window import Window, dilations, windows
from pipeline.aot.steps import Constant, Core, Ref, Scratch, Step, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import INT32_MAX, Multiplier
from pipeline.model import Array
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 3
INT16_MAX = 32_767


@dataclass(frozen=True, eq=False)
class DepthwiseConv2d:
    """A checked layer. multipliers: one for each output channel, or one for all."""

    op: Op
    operands: Operands
    vertical: Window
    horizontal: Window
    depth_multiplier: int
    multipliers: tuple[Multiplier, ...]

    @property
    def depth(self) -> int:
        return self.operands.source.shape[3]

    @property
    def channels(self) -> int:
        return self.operands.output.shape[3]

    @property
    def macs(self) -> int:
        return self.operands.output.elements * self.vertical.taps * self.horizontal.taps


def lower_depthwise_conv_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of VARIANTS or PACKED_VARIANTS or WIDE_VARIANTS. int4 weights stay packed."""
    layer = operands(graph, op, _CHANNEL_AXIS, rank=4, weight_types=("int8", "int4"), wide_bias_types=("int64",))
    one, taps_y, taps_x, channels = layer.weights.shape
    vertical, horizontal = windows(op, layer.source, layer.output, (taps_y, taps_x), dilations(op))
    depth = layer.source.shape[3]
    multiplier = int(op.options.get("depth_multiplier", 0))
    if one != 1 or multiplier * depth != channels or layer.output.shape[3] != channels:
        raise refuse(
            op,
            f"weights {list(layer.weights.shape)} and depth multiplier {multiplier} for {depth} input and "
            f"{layer.output.shape[3]} output channels.",
        )
    multipliers = scale_multipliers(op, layer)
    layer, vertical, horizontal = without_dilation(layer, vertical, horizontal)
    return choose(
        WIDE_VARIANTS if layer.wide else PACKED_VARIANTS if layer.packed else VARIANTS,
        DepthwiseConv2d(op, layer, vertical, horizontal, multiplier, multipliers),
        core,
    )


def _portable(layer: DepthwiseConv2d) -> Step:
    source, output = layer.operands.source, layer.operands.output
    params, constants = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return Step(
        op=layer.op,
        kernel="depthwise_conv_2d_s8",
        reason="",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "batches": source.shape[0],
            "input_height": source.shape[1],
            "input_width": source.shape[2],
            "input_channels": layer.depth,
            "output_height": output.shape[1],
            "output_width": output.shape[2],
            "depth_multiplier": layer.depth_multiplier,
            "filter_height": layer.vertical.taps,
            "filter_width": layer.horizontal.taps,
            "stride_height": layer.vertical.stride,
            "stride_width": layer.horizontal.stride,
            "dilation_height": layer.vertical.dilation,
            "dilation_width": layer.horizontal.dilation,
            "pad_top": layer.vertical.pad,
            "pad_left": layer.horizontal.pad,
            **params,
        },
        constants=constants,
        lead_bytes=lead_bytes(source, output, layer.vertical, layer.horizontal),
        macs=layer.macs,
    )


def _wide(layer: DepthwiseConv2d) -> Step:
    """The kernel takes sums without their bias as int32: always enough for windows of 511 taps."""
    largest = max(magnitudes(replace(layer.operands, bias=None), _CHANNEL_AXIS))
    if largest > INT32_MAX:
        raise refuse(layer.op, f"weights with which the sums can reach {largest:,}; an int32 holds {INT32_MAX:,}.")
    portable = _portable(layer)
    params = {name: value for name, value in portable.params.items() if name != "rounds_twice"}
    return replace(portable, kernel="depthwise_conv_2d_s16", params=params)


def _wide_dsp_obstacle(layer: DepthwiseConv2d) -> str | None:
    if layer.depth_multiplier > 1:
        return f"a depth multiplier of {layer.depth_multiplier}"
    if layer.channels % 4:
        return f"{layer.channels} channels, which are no multiple of 4"
    return packing.narrow_obstacle(layer.operands, _CHANNEL_AXIS, layer.multipliers)


def _wide_dsp(layer: DepthwiseConv2d) -> Step:
    portable = _wide(layer)
    params, constants = packing.narrow_requantization(layer.operands, _CHANNEL_AXIS, layer.multipliers)
    unused = ("input_channels", "depth_multiplier", "per_channel")
    weights = packing.paired(packing.weights_of(layer.operands))
    return replace(
        portable,
        kernel="depthwise_conv_2d_s16_dsp",
        params={
            **{name: value for name, value in portable.params.items() if name not in unused},
            "channels": layer.channels,
            **params,
        },
        constants=(Constant("weights", weights, is_weight=True), *constants),
    )


def _dsp_obstacle(layer: DepthwiseConv2d) -> str | None:
    if (layer.vertical.dilation, layer.horizontal.dilation) != (1, 1):
        return f"a dilation of {layer.vertical.dilation} x {layer.horizontal.dilation}"
    plane = _plane(layer)
    if max(*layer.operands.source.shape, *layer.operands.output.shape, *plane, layer.depth_multiplier) >= 1 << 15:
        return "a dimension of 32,768 or more"
    if max(layer.vertical.stride, layer.horizontal.stride) >= 1 << 15:
        return "a stride of 32,768 or more"
    obstacle = packing.doubling_obstacle(layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return obstacle or packing.nibble_obstacle(layer.multipliers)


@dataclass(frozen=True)
class _Axis:
    """One dimension of the layer: the window and the sizes."""

    window: Window
    inputs: int
    outputs: int


def _axes(layer: DepthwiseConv2d) -> tuple[_Axis, _Axis]:
    """The axes of lines and of positions in a line: more outputs in a line are faster."""
    source, output = layer.operands.source, layer.operands.output
    _, height, width, _ = output.shape
    rows = _Axis(layer.vertical, source.shape[1], height)
    columns = _Axis(layer.horizontal, source.shape[2], width)
    return (rows, columns) if width >= height else (columns, rows)


def _plane(layer: DepthwiseConv2d) -> tuple[int, int]:
    """Lines and positions of one channel with its padding; even positions, and as many as pairs of outputs read."""
    sizes = [
        max((axis.outputs - 1) * axis.window.stride + axis.window.taps, axis.window.pad + 1) for axis in _axes(layer)
    ]
    return sizes[0], -(-(sizes[1] + 1) // 2) * 2


def _dsp(layer: DepthwiseConv2d) -> Step:
    source, output, channels = layer.operands.source, layer.operands.output, layer.channels
    portable, _ = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    weights = packing.weights_of(layer.operands)[0].transpose(2, 0, 1)
    lines, positions = _axes(layer)
    if lines.window is layer.horizontal:
        weights = weights.transpose(0, 2, 1)
    plane_lines, plane_positions = _plane(layer)
    filter_words = lines.window.taps * -(-positions.window.taps // 2)
    codes, code_base = packing.nibbles(layer.multipliers, channels)
    return Step(
        op=layer.op,
        kernel="depthwise_conv_2d_s8_dsp",
        reason="",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "batches": source.shape[0],
            "input_channels": layer.depth,
            "depth_multiplier": layer.depth_multiplier,
            "input_lines": lines.inputs,
            "input_positions": positions.inputs,
            "output_lines": lines.outputs,
            "output_positions": positions.outputs,
            "filter_lines": lines.window.taps,
            "filter_positions": positions.window.taps,
            "line_stride": lines.window.stride,
            "position_stride": positions.window.stride,
            "pad_before_lines": lines.window.pad,
            "pad_before_positions": positions.window.pad,
            "plane_lines": plane_lines,
            "plane_positions": plane_positions,
            "doubled_zero": 2 * output.zero_point + 1,
            "lines_are_columns": int(lines.window is layer.horizontal),
            "pad_code": source.zero_point,
            "code_base": code_base,
            "activation_min": portable["activation_min"],
            "activation_max": portable["activation_max"],
            "weights": Ref("weights"),
            "bias": Ref("bias"),
            "multipliers": Ref("multipliers"),
            "codes": Ref("codes"),
            "scratch": Scratch(),
        },
        constants=(
            Constant("weights", np.ascontiguousarray(weights), is_weight=True),
            Constant("bias", packing.folded_bias(layer.operands, _CHANNEL_AXIS, 0, 2), is_weight=True),
            Constant("multipliers", packing.mantissas(layer.multipliers, channels)),
            Constant("codes", codes),
        ),
        scratch_bytes=4 * plane_lines * plane_positions + 4 + 4 * filter_words,
        in_place=0 if layer.depth_multiplier == 1 else None,
        macs=layer.macs,
    )


def _mve_obstacle(layer: DepthwiseConv2d) -> str | None:
    if layer.depth_multiplier > 1:
        return f"a depth multiplier of {layer.depth_multiplier}"
    if (layer.vertical.dilation, layer.horizontal.dilation) != (1, 1):
        return f"a dilation of {layer.vertical.dilation} x {layer.horizontal.dilation}"
    return packing.right_shift_obstacle(layer.multipliers)


def _taps_together(weights: Array) -> int:
    """How many neighbouring products of weights [height, width, channels], 3 at most, add up to an int16.

    Neighbours are in a row; of 3 x 3 weights two of them may also be the last of a row and the first of the next.
    """
    largest = np.maximum(127 * weights.astype(np.int64), -128 * weights.astype(np.int64))
    smallest = np.minimum(127 * weights.astype(np.int64), -128 * weights.astype(np.int64))
    width = weights.shape[1]
    for taps in range(min(3, width), 1, -1):
        shape = (1, 9) if taps == 2 and weights.shape[:2] == (3, 3) else weights.shape[:2]
        high, low = (products.reshape(*shape, -1) for products in (largest, smallest))
        starts = range(shape[1] - taps + 1)
        highest = max(int(high[:, at : at + taps].sum(axis=1).max()) for at in starts)
        lowest = min(int(low[:, at : at + taps].sum(axis=1).min()) for at in starts)
        if highest <= INT16_MAX and lowest >= -INT16_MAX - 1:
            return taps
    return 1


def _by_sixteen(weights: Array) -> Array:
    """Weights [height, width, channels] of sixteen channels after sixteen, then those of the channels left over."""
    whole = weights.shape[2] // 16 * 16
    blocks = weights[..., :whole].reshape(*weights.shape[:2], -1, 16).transpose(2, 0, 1, 3)
    packed: Array = np.concatenate([blocks.reshape(-1), weights[..., whole:].reshape(-1)])
    return packed


def _mve(layer: DepthwiseConv2d) -> Step:
    portable = _portable(layer)
    params, constants = packing.wrapping_requantization(
        layer.operands, _CHANNEL_AXIS, portable.params, portable.constants
    )
    weights = packing.weights_of(layer.operands)[0]
    unused = ("depth_multiplier", "dilation_height", "dilation_width")
    positions = (layer.operands.output.shape[2] - 1) * layer.horizontal.stride + layer.horizontal.taps
    return replace(
        portable,
        kernel="depthwise_conv_2d_s8_mve",
        params={
            **{name: value for name, value in params.items() if name not in unused},
            "pad_code": layer.operands.source.zero_point,
            "taps_together": _taps_together(weights),
            "scratch": Scratch(),
        },
        constants=(Constant("weights", _by_sixteen(weights), is_weight=True), *constants[1:]),
        scratch_bytes=layer.vertical.taps * positions * layer.depth,
        lead_bytes=row_lead_bytes(layer.operands.source, layer.operands.output, layer.vertical),
    )


VARIANTS: tuple[Variant[DepthwiseConv2d], ...] = (
    Variant("depthwise_conv_2d_s8_mve", "mve", "VMULLB and VMULLT on 16 or 8 channels at once", _mve_obstacle, _mve),
    Variant(
        "depthwise_conv_2d_s8_dsp",
        "dsp",
        "SMLAD on pairs of taps, channel by channel",
        _dsp_obstacle,
        _dsp,
    ),
    Variant("depthwise_conv_2d_s8", "", "portable C", no_obstacle, _portable),
)

PACKED_VARIANTS: tuple[Variant[DepthwiseConv2d], ...] = (
    Variant(
        "depthwise_conv_2d_s8_w4",
        "",
        "portable C on int4 weights, which stay packed",
        no_obstacle,
        lambda layer: with_packed_weights(_portable(layer)),
    ),
)

WIDE_VARIANTS: tuple[Variant[DepthwiseConv2d], ...] = (
    Variant(
        "depthwise_conv_2d_s16_dsp",
        "dsp",
        "SMLABB and SMLATT on four channels at once",
        _wide_dsp_obstacle,
        _wide_dsp,
    ),
    Variant("depthwise_conv_2d_s16", "", "portable C", no_obstacle, _wide),
)
