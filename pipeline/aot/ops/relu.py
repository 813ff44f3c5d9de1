"""RELU and RELU6, and with LEAKY_RELU those of int16."""

from __future__ import annotations

import numpy as np

from pipeline import fixedpoint
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import (
    Core,
    Step,
    code_type,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
    same_size,
)
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op, Tensor

INT16_MAX = 32_767
_ZERO, _ONE = Multiplier(0, 0), Multiplier(1 << 30, 1)


def lower_relu(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_relu_s8 or tflash_rectify_s16.

    Source:  TFLM's activations_common.cc. The multiplier is computed in double; older TFLM did it in float32.
    """
    if code_type(graph, op) == "int16":
        return rectify_step(graph, op, core)
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    multiplier = checked_multiplier(op, source.scale / output.scale)
    prove_no_overflow(op, [128 + abs(source.zero_point)], [multiplier], output.zero_point)
    return Step(
        op=op,
        kernel="relu_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "input_offset": -source.zero_point,
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
            "output_offset": output.zero_point,
        },
        in_place=0,
    )


def lower_relu6(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_relu6_s8 or tflash_rectify_s16.

    As in TFLM, the output's own scale and zero point do not matter.
    """
    dtype = code_type(graph, op)
    source, output = quantized_input(graph, op, 0, dtype), quantized_output(graph, op, 0, dtype)
    same_size(op, source, output)
    limits = np.iinfo(dtype)
    try:
        zero, six = fixedpoint.activation_range(
            "RELU6", source.scale, source.zero_point, int(limits.min), int(limits.max)
        )
    except ValueError as error:
        raise refuse(op, f"{error}.", "check the model's quantization.") from error
    if dtype == "int16":
        return _rectify(op, core, source, output, _ONE, _ZERO, six)
    return Step(
        op=op,
        kernel="relu6_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={"size": source.elements, "zero": zero, "six": six},
        in_place=0,
    )


def rectify_step(graph: Graph, op: Op, core: Core, alpha: float = 0.0) -> Step:
    """A step for RELU or, with an alpha, LEAKY_RELU of int16."""
    source, output = quantized_input(graph, op, 0, "int16"), quantized_output(graph, op, 0, "int16")
    same_size(op, source, output)
    positive = checked_multiplier(op, source.scale / output.scale)
    negative = checked_multiplier(op, source.scale * alpha / output.scale)
    prove_no_overflow(op, [INT16_MAX], [positive], 0)
    prove_no_overflow(op, [INT16_MAX + 1], [negative], 0)
    return _rectify(op, core, source, output, positive, negative, INT16_MAX)


def _rectify(
    op: Op, core: Core, source: Tensor, output: Tensor, positive: Multiplier, negative: Multiplier, most: int
) -> Step:
    return Step(
        op=op,
        kernel="rectify_s16",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "multiplier": positive.mantissa,
            "shift": positive.shift,
            "negative_multiplier": negative.mantissa,
            "negative_shift": negative.shift,
            "most": most,
        },
        in_place=0,
    )
