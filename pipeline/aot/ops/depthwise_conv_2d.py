"""DEPTHWISE_CONV_2D: weights [1, height, width, input channels * depth multiplier]."""

from __future__ import annotations

from pipeline.aot.ops.weighted import operands, requantization, scale_multipliers
from pipeline.aot.ops.window import windows
from pipeline.aot.steps import Core, Step, portable_reason, refuse
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 3


def lower_depthwise_conv_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_depthwise_conv_2d_s8."""
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
    params, constants = requantization(op, layer, _CHANNEL_AXIS, scale_multipliers(op, layer))
    return Step(
        op=op,
        kernel="depthwise_conv_2d_s8",
        reason=portable_reason(core),
        inputs=(layer.source.index,),
        outputs=(layer.output.index,),
        params={
            "batches": layer.source.shape[0],
            "input_height": layer.source.shape[1],
            "input_width": layer.source.shape[2],
            "input_channels": depth,
            "output_height": layer.output.shape[1],
            "output_width": layer.output.shape[2],
            "depth_multiplier": multiplier,
            "filter_height": vertical.taps,
            "filter_width": horizontal.taps,
            "stride_height": vertical.stride,
            "stride_width": horizontal.stride,
            "dilation_height": vertical.dilation,
            "dilation_width": horizontal.dilation,
            "pad_top": vertical.pad,
            "pad_left": horizontal.pad,
            **params,
        },
        constants=constants,
        macs=layer.output.elements * taps_y * taps_x,
    )
