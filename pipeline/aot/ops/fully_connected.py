"""FULLY_CONNECTED: weights [outputs, depth]."""

from __future__ import annotations

from pipeline.aot.ops.weighted import Operands, operands, requantization, scale_multipliers
from pipeline.aot.steps import Core, Step, portable_reason, refuse
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 0


def lower_fully_connected(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_fully_connected_s8."""
    layer = operands(graph, op, _CHANNEL_AXIS, rank=2)
    outputs, depth = layer.weights.shape
    if op.options.get("weights_format", 0) != 0:
        raise refuse(op, f"weights in format {op.options['weights_format']}; the aot kernel takes the default one.")
    if not layer.output.shape or layer.output.shape[-1] != outputs:
        raise refuse(op, f"{outputs} filters for an output of shape {list(layer.output.shape)}.")
    batches = layer.output.elements // outputs
    if not layer.source.elements or layer.source.elements != batches * depth:
        raise refuse(
            op,
            f"an input of shape {list(layer.source.shape)} for filters of {depth} and an output of shape "
            f"{list(layer.output.shape)}.",
        )
    params, constants = requantization(op, layer, _CHANNEL_AXIS, _multipliers(op, layer))
    return Step(
        op=op,
        kernel="fully_connected_s8",
        reason=portable_reason(core),
        inputs=(layer.source.index,),
        outputs=(layer.output.index,),
        params={"batches": batches, "depth": depth, "outputs": outputs, **params},
        constants=constants,
        macs=batches * outputs * depth,
    )


def _multipliers(op: Op, layer: Operands) -> tuple[Multiplier, ...]:
    """As for convolutions, where older TFLM rounded the product of input and weight scale to float32.

    Source:  TFLM CalculateOpDataFullyConnected, micro/kernels/fully_connected_common.cc, and TFLite
             GetQuantizedConvolutionMultipler, which also refuses a bias of another scale.
    """
    if layer.weights.scales.size == 1 and layer.bias is not None:
        difference = abs(layer.source.scale * layer.weights.scale - layer.bias.scale) / layer.output.scale
        if not difference <= 0.02:
            raise refuse(
                op,
                f"a bias of scale {layer.bias.scale:g} where input scale * weight scale is "
                f"{layer.source.scale * layer.weights.scale:g}; TFLM does not run this either.",
                "convert the model again.",
            )
    return scale_multipliers(op, layer)
