"""CONV_2D: weights [output channels, height, width, input channels of a group]."""

from __future__ import annotations

from pipeline.aot.ops.weighted import operands, requantization, scale_multipliers
from pipeline.aot.ops.window import windows
from pipeline.aot.steps import Core, Step, portable_reason, refuse
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 0


def lower_conv_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_conv_2d_s8."""
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
    params, constants = requantization(op, layer, _CHANNEL_AXIS, scale_multipliers(op, layer))
    return Step(
        op=op,
        kernel="conv_2d_s8",
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
            "output_channels": channels,
            "filter_height": vertical.taps,
            "filter_width": horizontal.taps,
            "filter_channels": group_depth,
            "filters_per_group": channels // groups,
            "stride_height": vertical.stride,
            "stride_width": horizontal.stride,
            "dilation_height": vertical.dilation,
            "dilation_width": horizontal.dilation,
            "pad_top": vertical.pad,
            "pad_left": horizontal.pad,
            **params,
        },
        constants=constants,
        macs=layer.output.elements * taps_y * taps_x * group_depth,
    )
