"""LOGISTIC: 1 / (1 + exp(-x))."""

from __future__ import annotations

import math

from pipeline.aot.requantization import checked_multiplier
from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, quantized_output, refuse, same_size
from pipeline.tflite import Graph, Op

_INTEGER_BITS = 4  # of the scaled input, Q4.27


def lower_logistic(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_logistic_s8.

    Source:  TFLM's logistic_common.cc, TFLite CalculateInputRadius, quantization_util.cc.
    """
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    if output.zero_point != -128:
        raise refuse(
            op,
            f"an output of zero point {output.zero_point}; -128 is needed, by TFLM as well.",
            "convert the model again.",
        )
    real = source.scale * (1 << (31 - _INTEGER_BITS))
    if real < 0.5:
        raise refuse(
            op, f"an input scale of {source.scale:g}; at least 2**-28 is needed.", "check the model's quantization."
        )
    # From an input scale of 8 on the radius is 0: TFLM's kernel then takes even 0 for far below 0.
    radius = (((1 << _INTEGER_BITS) - 1) << (31 - _INTEGER_BITS)) >> math.frexp(real)[1]
    multiplier = checked_multiplier(op, real if radius else 0.0)
    return Step(
        op=op,
        kernel="logistic_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "input_offset": -source.zero_point,
            "radius": radius,
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
        },
        in_place=0,
    )
