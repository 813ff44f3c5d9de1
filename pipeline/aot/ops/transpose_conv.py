"""TRANSPOSE_CONV: weights [output channels, height, width, input channels]."""

from __future__ import annotations

from dataclasses import replace

from pipeline.aot.ops.weighted import operands, requantization, scale_multipliers
from pipeline.aot.ops.window import windows
from pipeline.aot.steps import Core, Step, portable_reason, refuse
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 0


def lower_transpose_conv(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_transpose_conv_s8. Input 0 is not read: it repeats the shape of the output tensor."""
    if len(op.inputs) not in (3, 4):
        raise refuse(op, f"{len(op.inputs)} inputs; the output's shape, weights, input and perhaps a bias are needed.")
    layer = operands(graph, replace(op, inputs=(op.inputs[2], op.inputs[1], *op.inputs[3:])), _CHANNEL_AXIS, rank=4)
    channels, taps_y, taps_x, depth = layer.weights.shape
    # The convolution of which this is the transpose goes from our output to our input.
    vertical, horizontal = windows(op, layer.output, layer.source, (taps_y, taps_x))
    if layer.source.shape[3] != depth or layer.output.shape[3] != channels:
        raise refuse(
            op,
            f"filters {list(layer.weights.shape)} for {layer.source.shape[3]} input and {layer.output.shape[3]} "
            "output channels.",
        )
    params, constants = requantization(op, layer, _CHANNEL_AXIS, scale_multipliers(op, layer))
    return Step(
        op=op,
        kernel="transpose_conv_s8",
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
            "filter_height": taps_y,
            "filter_width": taps_x,
            "stride_height": vertical.stride,
            "stride_width": horizontal.stride,
            "pad_top": vertical.pad,
            "pad_left": horizontal.pad,
            **params,
        },
        constants=constants,
        macs=layer.source.elements * channels * taps_y * taps_x,
    )
