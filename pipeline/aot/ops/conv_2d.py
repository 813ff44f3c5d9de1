"""CONV_2D: weights [output channels, height, width, input channels of a group]."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.aot.ops.weighted import Operands, operands, requantization, scale_multipliers
from pipeline.aot.ops.window import Window, windows
from pipeline.aot.steps import Core, Step, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier
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
    """One call of the best kernel of VARIANTS."""
    layer = operands(graph, op, _CHANNEL_AXIS, rank=4)
    channels, taps_y, taps_x, group_depth = layer.weights.shape
    dilations = int(op.options.get("dilation_hfactor", 1)), int(op.options.get("dilation_wfactor", 1))
    vertical, horizontal = windows(op, layer.source, layer.output, (taps_y, taps_x), dilations)
    depth = layer.source.shape[3]
    groups = depth // group_depth
    if depth % group_depth or channels % groups:
        raise refuse(op, f"{depth} input and {channels} output channels, filters of {group_depth}: not whole groups.")
    if layer.output.shape[3] != channels:
        raise refuse(op, f"{channels} filters for {layer.output.shape[3]} output channels.")
    multipliers = scale_multipliers(op, layer)
    return choose(VARIANTS, Conv2d(op, layer, vertical, horizontal, groups, multipliers), core)


def _portable(layer: Conv2d) -> Step:
    source, output = layer.operands.source, layer.operands.output
    params, constants = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return Step(
        op=layer.op,
        kernel="conv_2d_s8",
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
        macs=layer.macs,
    )


VARIANTS: tuple[Variant[Conv2d], ...] = (Variant("conv_2d_s8", "", "portable C", no_obstacle, _portable),)
