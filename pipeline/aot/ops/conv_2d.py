"""CONV_2D: weights [output channels, height, width, input channels of a group]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.aot import packing
from pipeline.aot.ops.dilation import without_dilation
from pipeline.aot.ops.overlap import lead_bytes
from pipeline.aot.ops.weighted import Operands, operands, requantization, scale_multipliers, with_packed_weights
from pipeline.aot.ops.window import Window, dilations, windows
from pipeline.aot.steps import Constant, Core, ParamValue, Ref, Scratch, Step, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier
from pipeline.model import Array
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 0


@dataclass(frozen=True, eq=False)
class Conv2d:
    """A checked layer. multipliers: one for each output channel, or one for all."""

    op: Op
    operands: Operands
    vertical: Window
    horizontal: Window
    groups: int
    multipliers: tuple[Multiplier, ...]

    @property
    def depth(self) -> int:
        return self.operands.source.shape[3]

    @property
    def channels(self) -> int:
        return self.operands.output.shape[3]

    @property
    def macs(self) -> int:
        return self.operands.output.elements * self.vertical.taps * self.horizontal.taps * (self.depth // self.groups)


def lower_conv_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of VARIANTS or PACKED_VARIANTS or WIDE_VARIANTS. int4 weights stay packed."""
    layer = operands(
        graph, op, _CHANNEL_AXIS, rank=4, weight_types=("int8", "int4"), wide_bias_types=("int64", "int32")
    )
    channels, taps_y, taps_x, group_depth = layer.weights.shape
    vertical, horizontal = windows(op, layer.source, layer.output, (taps_y, taps_x), dilations(op))
    depth = layer.source.shape[3]
    groups = depth // group_depth
    if depth % group_depth or channels % groups:
        raise refuse(op, f"{depth} input and {channels} output channels, filters of {group_depth}: not whole groups.")
    if layer.output.shape[3] != channels:
        raise refuse(op, f"{channels} filters for {layer.output.shape[3]} output channels.")
    multipliers = scale_multipliers(op, layer)
    layer, vertical, horizontal = without_dilation(layer, vertical, horizontal)
    return choose(
        WIDE_VARIANTS if layer.wide else PACKED_VARIANTS if layer.packed else VARIANTS,
        Conv2d(op, layer, vertical, horizontal, groups, multipliers),
        core,
    )


def _portable(layer: Conv2d) -> Step:
    source, output = layer.operands.source, layer.operands.output
    params, constants = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return Step(
        op=layer.op,
        kernel="conv_2d_s16" if layer.operands.wide else "conv_2d_s8",
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
            "output_channels": layer.channels,
            "filter_height": layer.vertical.taps,
            "filter_width": layer.horizontal.taps,
            "filter_channels": layer.depth // layer.groups,
            "filters_per_group": layer.channels // layer.groups,
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


def _portable_int8(layer: Conv2d) -> Step:
    """Where no window meets padding, the zero point goes into the bias, an instruction less for four products."""
    step, (_, input_height, input_width, _) = _portable(layer), layer.operands.source.shape
    _, height, width, _ = layer.operands.output.shape
    inside = layer.vertical.stays_inside(input_height, height) and layer.horizontal.stays_inside(input_width, width)
    return packing.with_folded_bias(step, layer.operands, _CHANNEL_AXIS) if inside else step


def _dsp_obstacle(layer: Conv2d) -> str | None:
    if layer.groups > 1:
        return f"{layer.groups} groups"
    if (layer.vertical.dilation, layer.horizontal.dilation) != (1, 1):
        return f"a dilation of {layer.vertical.dilation} x {layer.horizontal.dilation}"
    if max(*layer.operands.source.shape, *layer.operands.output.shape, *layer.operands.weights.shape) >= 1 << 15:
        return "a dimension of 32,768 or more"
    if max(layer.vertical.stride, layer.horizontal.stride) >= 1 << 15:
        return "a stride of 32,768 or more"
    obstacle = packing.doubling_obstacle(layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return obstacle or packing.nibble_obstacle(layer.multipliers)


def _dsp(layer: Conv2d) -> Step:
    source, output, channels = layer.operands.source, layer.operands.output, layer.channels
    portable, _ = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    weights = packing.weights_of(layer.operands).reshape(channels, -1)
    groups = -(-weights.shape[1] // 4)
    whole_groups = layer.depth % 4 == 0
    codes, code_base = packing.nibbles(layer.multipliers, channels)
    return Step(
        op=layer.op,
        kernel="conv_2d_s8_dsp",
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
            "output_channels": channels,
            "filter_height": layer.vertical.taps,
            "filter_width": layer.horizontal.taps,
            "stride_height": layer.vertical.stride,
            "stride_width": layer.horizontal.stride,
            "pad_top": layer.vertical.pad,
            "pad_left": layer.horizontal.pad,
            "doubled_zero": 2 * output.zero_point + 1,
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
            Constant("weights", packing.rows_by(weights, 2), is_weight=True),
            Constant("bias", packing.folded_bias(layer.operands, _CHANNEL_AXIS, 128, 2), is_weight=True),
            Constant("multipliers", packing.mantissas(layer.multipliers, channels)),
            Constant("codes", codes),
        ),
        scratch_bytes=24 * groups + (0 if whole_groups else 4 * groups + 4),
        lead_bytes=lead_bytes(source, output, layer.vertical, layer.horizontal, together=3, gathers=True),
        macs=layer.macs,
    )


def _mve_obstacle(layer: Conv2d) -> str | None:
    return f"{layer.groups} groups" if layer.groups > 1 else packing.right_shift_obstacle(layer.multipliers)


def _mve(layer: Conv2d) -> Step:
    portable = _portable(layer)
    params, constants = packing.wrapping_requantization(
        layer.operands, _CHANNEL_AXIS, portable.params, portable.constants
    )
    own = {name: value for name, value in params.items() if name not in ("filter_channels", "filters_per_group")}
    taps = layer.vertical.taps * layer.horizontal.taps
    scratch_bytes = 3 * taps * layer.depth if taps > 1 else 0
    source, output = layer.operands.source, layer.operands.output
    return replace(
        portable,
        kernel="conv_2d_s8_mve",
        params={
            **own,
            "pad_code": layer.operands.source.zero_point,
            "scratch": Scratch() if scratch_bytes else None,
        },
        constants=constants,
        scratch_bytes=scratch_bytes,
        lead_bytes=lead_bytes(source, output, layer.vertical, layer.horizontal, together=3, gathers=taps > 1),
    )


def _tiles_obstacle(layer: Conv2d) -> str | None:
    if layer.groups > 1:
        return f"{layer.groups} groups"
    if layer.operands.rounds_twice(layer.op):
        return "a bias of int32, with which TFLM rounds twice"
    return packing.narrow_obstacle(layer.operands, _CHANNEL_AXIS, layer.multipliers)


def _wide_dsp(layer: Conv2d) -> Step:
    pairs = packing.rows_by(_even_filters(layer), 2)
    return _tiles(layer, "conv_2d_s16_dsp", packing.paired(pairs), reads_in_place=layer.depth % 4 == 0)


def _wide_mve(layer: Conv2d) -> Step:
    return _tiles(layer, "conv_2d_s16_mve", _even_filters(layer), reads_in_place=True)


def _even_filters(layer: Conv2d) -> Array:
    """Weights [channels made even, filter size]."""
    filters = packing.weights_of(layer.operands).reshape(layer.channels, -1)
    return np.pad(filters, ((0, layer.channels % 2), (0, 0)))


def _tiles(layer: Conv2d, kernel: str, weights: Array, reads_in_place: bool) -> Step:
    """reads_in_place: where the filter is 1 x 1."""
    portable = _portable(layer)
    params, constants = packing.narrow_requantization(layer.operands, _CHANNEL_AXIS, layer.multipliers)
    gathers = not reads_in_place or layer.vertical.taps * layer.horizontal.taps > 1
    source, output = layer.operands.source, layer.operands.output
    unused = ("filter_channels", "filters_per_group", "per_channel", "rounds_twice")
    own: Mapping[str, ParamValue] = {
        **{name: value for name, value in portable.params.items() if name not in unused},
        **params,
        "scratch": Scratch() if gathers else None,
    }
    filters = layer.channels + layer.channels % 2
    return replace(
        portable,
        kernel=kernel,
        params={f"layer.{name}": value for name, value in own.items()},
        constants=(
            Constant("weights", weights, is_weight=True),
            *(replace(c, data=np.pad(c.data, (0, filters - layer.channels))) for c in constants),
        ),
        scratch_bytes=4 * (weights.size // filters) if gathers else 0,
        lead_bytes=lead_bytes(source, output, layer.vertical, layer.horizontal, together=2, gathers=gathers),
    )


VARIANTS: tuple[Variant[Conv2d], ...] = (
    Variant("conv_2d_s8_mve", "mve", "VMLADAVA on tiles of 3 pixels x 2 channels", _mve_obstacle, _mve),
    Variant("conv_2d_s8_dsp", "dsp", "SMLAD on tiles of 3 pixels x 2 channels", _dsp_obstacle, _dsp),
    Variant("conv_2d_s8", "", "portable C", no_obstacle, _portable_int8),
)

PACKED_VARIANTS: tuple[Variant[Conv2d], ...] = (
    Variant(
        "conv_2d_s8_w4",
        "",
        "portable C on int4 weights, which stay packed",
        no_obstacle,
        lambda layer: with_packed_weights(_portable_int8(layer)),
    ),
)

WIDE_VARIANTS: tuple[Variant[Conv2d], ...] = (
    Variant("conv_2d_s16_mve", "mve", "VMLADAVA on tiles of 2 pixels x 2 channels", _tiles_obstacle, _wide_mve),
    Variant("conv_2d_s16_dsp", "dsp", "SMLAD on tiles of 2 pixels x 2 channels", _tiles_obstacle, _wide_dsp),
    Variant("conv_2d_s16", "", "portable C", no_obstacle, _portable),
)
