"""SOFTMAX over the last dimension."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pipeline.aot.fixed_functions import exp_negative
from pipeline.aot.interpolated_table import interpolated_table
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import (
    Constant,
    Core,
    Ref,
    Step,
    code_type,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
    same_size,
)
from pipeline.fixedpoint import Multiplier, high_product
from pipeline.tflite import Graph, Op

_MANY_OUTPUTS = 256  # from which on a table of up to 256 exponentials pays
_MAX_DEPTH = 4095  # the sum of exponentials is Q12.19 and each may be 1
_MAX_WIDE_DEPTH = 65_536  # the sum is Q16.15
_WIDE_SPAN = 10.0  # exp(-10) is 0
_INTEGER_BITS = 5  # of the scaled differences, Q5.26


def lower_softmax(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_softmax_s8 or tflash_softmax_s8_table or tflash_softmax_s16.

    Source:  TFLM's softmax_common.cc, TFLite PreprocessSoftmaxScaling and CalculateInputRadius, quantization_util.cc.
    """
    if code_type(graph, op) == "int16":
        return _wide(graph, op, core)
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    if output.scale != 1 / 256 or output.zero_point != -128:
        raise refuse(
            op,
            f"an output of scale {output.scale:g} and zero point {output.zero_point}; "
            "1/256 and -128 are needed, by TFLM as well.",
            "convert the model again.",
        )
    if not source.shape or not 1 <= source.shape[-1] <= _MAX_DEPTH:
        raise refuse(op, f"an input of {list(source.shape)}; a last dimension of 1 to {_MAX_DEPTH:,} is needed.")
    beta = float(op.options.get("beta", 0.0))
    real = beta * source.scale * (1 << (31 - _INTEGER_BITS))
    if not real > 1:
        raise refuse(
            op,
            f"beta {beta:g} and an input scale of {source.scale:g}; "
            f"a product above 2**-{31 - _INTEGER_BITS} is needed, by TFLM as well.",
            "check the model's quantization.",
        )
    # TFLite stops at 2**31 - 1. From 2**30 on a difference of 1 is exp(-16) or less, which the kernel rounds to 0.
    multiplier = checked_multiplier(op, min(real, (1 << 30) - 1.0))
    radius = (((1 << _INTEGER_BITS) - 1) << (31 - _INTEGER_BITS)) >> multiplier.shift
    step = Step(
        op=op,
        kernel="softmax_s8",
        reason="portable C on every core: 400 instructions an output, of which there are few",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "rows": source.elements // source.shape[-1],
            "depth": source.shape[-1],
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
            "smallest": -radius,
        },
        in_place=0,
    )
    return step if source.elements < _MANY_OUTPUTS else _with_table(step, multiplier, radius)


def _with_table(step: Step, multiplier: Multiplier, radius: int) -> Step:
    differences = range(0, -min(radius, 255) - 1, -1)
    scaled = (high_product(difference << multiplier.shift, multiplier.mantissa) for difference in differences)
    exps = np.array([exp_negative(x, _INTEGER_BITS) for x in scaled], np.int32)
    return replace(
        step,
        kernel="softmax_s8_table",
        reason=f"a table of {exps.size} exponentials, computed at compile time: a tenth of the time on any core",
        params={
            "rows": step.params["rows"],
            "depth": step.params["depth"],
            "smallest": differences[-1],
            "exps": Ref("exps"),
        },
        constants=(Constant("exps", exps),),
    )


def _wide(graph: Graph, op: Op, core: Core) -> Step:
    source, output = quantized_input(graph, op, 0, "int16"), quantized_output(graph, op, 0, "int16")
    same_size(op, source, output)
    if not abs(output.scale - 1 / 32768) <= 0.001 / 32768:
        raise refuse(
            op, f"an output of scale {output.scale:g}; 1/32768 is needed, by TFLM as well.", "convert the model again."
        )
    if not source.shape or not 1 <= source.shape[-1] <= _MAX_WIDE_DEPTH:
        raise refuse(op, f"an input of {list(source.shape)}; a last dimension of 1 to {_MAX_WIDE_DEPTH:,} is needed.")
    multiplier = checked_multiplier(op, source.scale * float(op.options.get("beta", 0.0)) / (_WIDE_SPAN / 65535))
    prove_no_overflow(op, [65535], [multiplier], 32767)
    return Step(
        op=op,
        kernel="softmax_s16",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "rows": source.elements // source.shape[-1],
            "depth": source.shape[-1],
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
            "exp_table": Ref("exp_table"),
            "reciprocal_table": Ref("reciprocal_table"),
        },
        constants=(
            Constant("exp_table", interpolated_table(math.exp, 0, _WIDE_SPAN)),
            Constant("reciprocal_table", interpolated_table(lambda x: 1 / (1 + x), 1, 1)),
        ),
        in_place=0,
    )
