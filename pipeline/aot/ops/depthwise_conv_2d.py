"""DEPTHWISE_CONV_2D: weights [1, height, width, input channels * depth multiplier]."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.aot.ops.weighted import Operands, operands, requantization, scale_multipliers
from pipeline.aot.ops.window import Window, windows
from pipeline.aot.steps import Core, Step, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 3


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
    """One call of the best kernel of VARIANTS."""
    layer = operands(graph, op, _CHANNEL_AXIS, rank=4)
    one, taps_y, taps_x, channels = layer.weights.shape
    dilations = int(op.options.get("dilation_hfactor", 1)), int(op.options.get("dilation_wfactor", 1))
    vertical, horizontal = windows(op, layer.source, layer.output, (taps_y, taps_x), dilations)
    depth = layer.source.shape[3]
    multiplier = int(op.options.get("depth_multiplier", 0))
    if one != 1 or multiplier * depth != channels or layer.output.shape[3] != channels:
        raise refuse(
            op,
            f"weights {list(layer.weights.shape)} and depth multiplier {multiplier} for {depth} input and "
            f"{layer.output.shape[3]} output channels.",
        )
    multipliers = scale_multipliers(op, layer)
    return choose(VARIANTS, DepthwiseConv2d(op, layer, vertical, horizontal, multiplier, multipliers), core)


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
        macs=layer.macs,
    )


VARIANTS: tuple[Variant[DepthwiseConv2d], ...] = (
    Variant("depthwise_conv_2d_s8", "", "portable C", no_obstacle, _portable),
)
