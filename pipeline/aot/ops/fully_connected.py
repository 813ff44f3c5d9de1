"""FULLY_CONNECTED: weights [outputs, depth]."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.aot import packing
from pipeline.aot.ops.weighted import Operands, operands, requantization, scale_multipliers, twin, with_packed_weights
from pipeline.aot.steps import Constant, Core, Ref, Scratch, Step, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op

_CHANNEL_AXIS = 0


@dataclass(frozen=True, eq=False)
class FullyConnected:
    """A checked layer. multipliers: one for each output, or one for all."""

    op: Op
    operands: Operands
    batches: int
    depth: int
    outputs: int
    multipliers: tuple[Multiplier, ...]


def lower_fully_connected(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of VARIANTS or PACKED_VARIANTS or WIDE_VARIANTS.

    With int4 weights, one scale, as in TFLM.
    """
    layer = operands(
        graph, op, _CHANNEL_AXIS, rank=2, weight_types=("int8", "int4"), wide_bias_types=("int64", "int32")
    )
    outputs, depth = layer.weights.shape
    if op.options.get("weights_format", 0) != 0:
        raise refuse(op, f"weights in format {op.options['weights_format']}; the aot kernel takes the default one.")
    if layer.packed and layer.weights.scales.size > 1:
        raise refuse(
            op,
            f"int4 weights with {layer.weights.scales.size} scales; TFLM, which says what is right, takes one.",
            "quantize this layer with one scale for all its weights.",
        )
    if not layer.output.shape or layer.output.shape[-1] != outputs:
        raise refuse(op, f"{outputs} filters for an output of shape {list(layer.output.shape)}.")
    batches = layer.output.elements // outputs
    if not layer.source.elements or layer.source.elements != batches * depth:
        raise refuse(
            op,
            f"an input of shape {list(layer.source.shape)} for filters of {depth} and an output of shape "
            f"{list(layer.output.shape)}.",
        )
    return choose(
        WIDE_VARIANTS if layer.wide else PACKED_VARIANTS if layer.packed else VARIANTS,
        FullyConnected(op, layer, batches, depth, outputs, _multipliers(op, layer)),
        core,
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


def _portable(layer: FullyConnected) -> Step:
    params, constants = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    return Step(
        op=layer.op,
        kernel="fully_connected_s16" if layer.operands.wide else "fully_connected_s8",
        reason="",
        inputs=(layer.operands.source.index,),
        outputs=(layer.operands.output.index,),
        params={"batches": layer.batches, "depth": layer.depth, "outputs": layer.outputs, **params},
        constants=constants,
        macs=layer.batches * layer.outputs * layer.depth,
    )


def _portable_int8(layer: FullyConnected) -> Step:
    return packing.with_folded_bias(_portable(layer), layer.operands, _CHANNEL_AXIS)


def _mve_obstacle(layer: FullyConnected) -> str | None:
    return packing.right_shift_obstacle(layer.multipliers)


def _mve(layer: FullyConnected) -> Step:
    portable = _portable(layer)
    params, constants = packing.wrapping_requantization(
        layer.operands, _CHANNEL_AXIS, portable.params, portable.constants
    )
    return replace(portable, kernel="fully_connected_s8_mve", params=params, constants=constants)


def _dsp_obstacle(layer: FullyConnected) -> str | None:
    return packing.doubling_obstacle(layer.operands, _CHANNEL_AXIS, layer.multipliers)


def _dsp(layer: FullyConnected) -> Step:
    portable, _ = requantization(layer.op, layer.operands, _CHANNEL_AXIS, layer.multipliers)
    count = len(layer.multipliers)
    return Step(
        op=layer.op,
        kernel="fully_connected_s8_dsp",
        reason="",
        inputs=(layer.operands.source.index,),
        outputs=(layer.operands.output.index,),
        params={
            "batches": layer.batches,
            "depth": layer.depth,
            "outputs": layer.outputs,
            "doubled_zero": 2 * layer.operands.output.zero_point + 1,
            "per_channel": int(count > 1),
            "activation_min": portable["activation_min"],
            "activation_max": portable["activation_max"],
            "weights": Ref("weights"),
            "bias": Ref("bias"),
            "multipliers": Ref("multipliers"),
            "codes": Ref("codes"),
            "scratch": Scratch() if layer.depth % 4 else None,
        },
        constants=(
            Constant("weights", packing.rows_by(packing.weights_of(layer.operands), 4), is_weight=True),
            Constant("bias", packing.folded_bias(layer.operands, _CHANNEL_AXIS, 0), is_weight=True),
            Constant("multipliers", packing.mantissas(layer.multipliers, count)),
            Constant("codes", packing.shift_codes(layer.multipliers, count)),
        ),
        scratch_bytes=-(-layer.depth // 4) * 4 if layer.depth % 4 else 0,
        macs=layer.batches * layer.outputs * layer.depth,
    )


VARIANTS: tuple[Variant[FullyConnected], ...] = (
    Variant("fully_connected_s8_mve", "mve", "VMLADAVA on 4 outputs at once", _mve_obstacle, _mve),
    Variant("fully_connected_s8_dsp", "dsp", "SMLAD on four outputs at once", _dsp_obstacle, _dsp),
    Variant("fully_connected_s8", "", "portable C", no_obstacle, _portable_int8),
)

PACKED_VARIANTS: tuple[Variant[FullyConnected], ...] = (
    Variant(
        "fully_connected_s8_w4",
        "",
        "portable C on int4 weights, which stay packed",
        no_obstacle,
        lambda layer: with_packed_weights(_portable_int8(layer)),
    ),
)

WIDE_VARIANTS: tuple[Variant[FullyConnected], ...] = (
    Variant(
        "fully_connected_s16_mve",
        "mve",
        "VMLALDAVA, eight products at once",
        no_obstacle,
        lambda layer: twin(_portable(layer), "mve"),
    ),
    Variant(
        "fully_connected_s16_dsp",
        "dsp",
        "SMLAD, two products at once",
        lambda layer: packing.pairs_obstacle(layer.depth),
        lambda layer: packing.with_paired_weights(_portable(layer)),
    ),
    Variant("fully_connected_s16", "", "portable C", no_obstacle, _portable),
)
