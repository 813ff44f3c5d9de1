"""Functions of one code: LOGISTIC, TANH, LEAKY_RELU, HARD_SWISH, ELU, ABS and RSQRT. Those of int8 are one kernel.

There are only 256 codes, so the results are computed here, with the very steps of TFLM's kernels, and go to flash. An
element then costs a load instead of some hundred instructions, and 256 bytes are less than most of the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pipeline.aot import fixed_functions
from pipeline.aot.ops.relu import rectify_step
from pipeline.aot.requantization import checked_multiplier
from pipeline.aot.sigmoid_table import sigmoid_table
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
from pipeline.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    Multiplier,
    quantize_multiplier,
    requantize,
    rounding_shift,
    upper_half,
)
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor

Function = Callable[[int], int]  # of an input code without its zero point, to an output code, not yet clamped

REASON = "a table of the results for all 256 codes, computed at compile time: one load an element on any core"
_INTEGER_BITS = 4  # of the scaled input of LOGISTIC and TANH, Q4.27


def lower_logistic(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8 or tflash_logistic_tanh_s16.

    Source:  TFLM's logistic_common.cc, reference_integer_ops::Logistic.
    """
    if code_type(graph, op) == "int16":
        return _wide_sigmoid(graph, op, core, is_tanh=False)
    source, output = _ends(graph, op)
    if output.zero_point != -128:
        raise refuse(
            op,
            f"an output of zero point {output.zero_point}; -128 is needed, by TFLM as well.",
            "convert the model again.",
        )

    def function(x: int) -> int:
        return rounding_shift(fixed_functions.logistic(x), 23) - 128

    return _step(op, source, output, _saturating(op, source, function))


def lower_tanh(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8 or tflash_logistic_tanh_s16.

    As in TFLM, an int8 output's own scale and zero point do not matter.

    Source:  TFLM's tanh.cc, reference_integer_ops::Tanh.
    """
    if code_type(graph, op) == "int16":
        return _wide_sigmoid(graph, op, core, is_tanh=True)
    source, output = _ends(graph, op)

    def function(x: int) -> int:
        return rounding_shift(fixed_functions.tanh(x), 24)

    return _step(op, source, output, _saturating(op, source, function))


def lower_leaky_relu(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8 or tflash_rectify_s16.

    Source:  TFLM's leaky_relu_common.cc. The multipliers are computed in double; older TFLM did it in float32.
    """
    alpha = float(op.options.get("alpha", 0.0))
    if not 0 <= alpha < math.inf:
        raise refuse(op, f"an alpha of {alpha:g}; a finite number of at least 0 is needed.")
    if code_type(graph, op) == "int16":
        return rectify_step(graph, op, core, alpha)
    source, output = _ends(graph, op)
    positive = checked_multiplier(op, source.scale / output.scale)
    negative = checked_multiplier(op, source.scale * alpha / output.scale)
    return _step(op, source, output, lambda x: requantize(x, positive if x >= 0 else negative) + output.zero_point)


def lower_abs(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8.

    Source:  TFLM's elementwise.cc. The multiplier is computed in double; older TFLM did it in float32.
    """
    source, output = _ends(graph, op)
    if source.scale == output.scale:
        return _step(op, source, output, lambda x: abs(x) + output.zero_point)
    multiplier = checked_multiplier(op, source.scale / output.scale)
    return _step(op, source, output, lambda x: requantize(abs(x), multiplier) + output.zero_point)


def lower_rsqrt(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8. 1 / sqrt(0) is the largest code.

    Source:  TFLM's elementwise.cc. The multiplier is computed in double; older TFLM did it in float32.
    """
    source, output = _ends(graph, op)
    if source.zero_point != -128:
        raise refuse(
            op,
            f"an input of zero point {source.zero_point}, so with codes below zero, at which TFLM stops; "
            "-128 is needed.",
            "give the layer's input a range that starts at 0.",
        )
    guard_bits = 20
    multiplier = checked_multiplier(op, 1 / (math.sqrt(source.scale) * output.scale))
    rescale = Multiplier(multiplier.mantissa, multiplier.shift - guard_bits)
    if rescale.shift < -31:
        raise refuse(
            op,
            f"scales of {source.scale:g} and {output.scale:g}, with which all results are 0.",
            "check the model's quantization.",
        )

    def function(x: int) -> int:
        if x == 0:
            return 127
        inverse = fixed_functions.inverse_sqrt(x)
        scaled = requantize(1, Multiplier(inverse.mantissa, inverse.shift + guard_bits))
        return requantize(scaled, rescale) + output.zero_point

    return _step(op, source, output, function)


def lower_elu(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8. Source: TFLM's elu.cc, which also makes a table: float32 throughout.

    exp is rounded correctly here. A C library's expf, which TFLM calls, may be one unit in the last place off, which is
    2**-24 of the output's real value and so moves no code but one that lies that near to a tie.
    """
    source, output = _ends(graph, op)
    scale, zero_point = np.float32(source.scale), np.float32(output.zero_point)
    inverse_scale = np.float32(1) / np.float32(output.scale)

    def function(x: int) -> int:
        with np.errstate(all="ignore"):
            real = scale * np.float32(x)
            if real < 0:
                real = np.float32(math.exp(float(real))) - np.float32(1)
            scaled = float(real * inverse_scale)
            if not abs(scaled) < 1 << 31:
                raise ValueError(f"{scaled:g} does not fit 32 bits")
            return int(np.float32(_rounded(scaled)) + zero_point)

    return _step(op, source, output, function)


def lower_hard_swish(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_lookup_s8.

    Source:  TFLM's hard_swish_common.cc, reference_ops::HardSwish. The multipliers are computed in double, then cut to
             16 bits; older TFLM did it in float32.
    """
    source, output = _ends(graph, op)
    fine_scale = source.scale / 128
    to_output = checked_multiplier(op, fine_scale / output.scale)
    to_third = checked_multiplier(op, fine_scale / (3 / 32768))
    if not -15 <= to_output.shift <= 0 or to_third.shift < -15:
        raise refuse(
            op,
            f"an input scale of {source.scale:g} and an output scale of {output.scale:g}; an input scale of 2**-22 or "
            "more and an output scale of 1/128 to 512 times that are needed.",
            "check the model's quantization.",
        )

    def function(x: int) -> int:
        fine = x << 7
        preshift = _high_product_16(fine, upper_half(to_output.mantissa))
        gate = _int16(fine << max(to_third.shift - 1, 0))
        gate = _high_product_16(gate, upper_half(to_third.mantissa))
        gate = _int16(gate * 2) if to_third.shift > 0 else rounding_shift(gate, -to_third.shift)
        gate = (gate + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
        product = int(gate * preshift / (1 << 15))  # truncated; exact in float64
        return rounding_shift(product, -to_output.shift) + output.zero_point

    return _step(op, source, output, function)


def lower_neg(graph: Graph, op: Op, core: Core) -> Step:
    """Refused: there is no answer to be equal to."""
    dtype = graph.tensor(op.inputs[0]).dtype if op.inputs and op.inputs[0] >= 0 else "nothing"
    raise refuse(op, f"of {dtype}; TFLM's own NEG takes float32 only.", "write it as a SUB from 0.")


def _ends(graph: Graph, op: Op) -> tuple[Tensor, Tensor]:
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    return source, output


def _wide_sigmoid(graph: Graph, op: Op, core: Core, *, is_tanh: bool) -> Step:
    """LOGISTIC or TANH of int16.

    Of an input scale of 2**-12, and for TANH 2**-11, TFLM takes what is within 0.07 % for that, and only these exactly.
    """
    source, output = quantized_input(graph, op, 0, "int16"), quantized_output(graph, op, 0, "int16")
    same_size(op, source, output)
    if _power_of_two(output.scale) != -15:
        raise refuse(
            op, f"an output of scale {output.scale:g}; 1/32768 is needed, by TFLM as well.", "convert the model again."
        )
    power = _power_of_two(source.scale)
    if power == -12 or (is_tanh and power == -11):
        multiplier, shift = 3 << (power + 12), 0
    else:
        real, shift = source.scale * 4096 * 3, 0
        while real <= 32767 / 2 and shift <= 30:
            real, shift = real * 2, shift + 1
        multiplier = int(real)
    if multiplier > 32767:
        raise refuse(
            op,
            f"an input scale of {source.scale:g}; at most 8/3 is needed, by TFLM as well.",
            "check the model's quantization.",
        )
    return Step(
        op=op,
        kernel="logistic_tanh_s16",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "tanh": int(is_tanh),
            "multiplier": multiplier,
            "shift": shift,
            "table": Ref("table"),
        },
        constants=(Constant("table", sigmoid_table()),),
        in_place=0,
    )


def _power_of_two(scale: float) -> int | None:
    """The exponent of a scale that is almost a power of two.

    Source:  TFLite CheckedLog2, quantization_util.cc: float32 throughout.
    """
    log2 = np.float32(math.log(scale)) * (np.float32(1) / np.float32(math.log(2)))
    exponent = round(float(log2))
    return exponent if abs(log2 - np.float32(exponent)) < np.float32(1e-3) else None


def _saturating(op: Op, source: Tensor, function: Function) -> Function:
    """A function of Q4.27 as one of codes, which is -128 or 127 from the input radius on.

    Source:  TFLite CalculateInputRadius, quantization_util.cc.
    """
    real = source.scale * (1 << (31 - _INTEGER_BITS))
    if real < 0.5:
        raise refuse(
            op, f"an input scale of {source.scale:g}; at least 2**-28 is needed.", "check the model's quantization."
        )
    # From an input scale of 8 on the radius is 0: TFLM's kernel then takes even 0 for far below 0.
    radius = (((1 << _INTEGER_BITS) - 1) << (31 - _INTEGER_BITS)) >> math.frexp(real)[1]
    multiplier = quantize_multiplier(real) if radius else Multiplier(0, 0)

    def saturating(x: int) -> int:
        if x <= -radius:
            return -128
        return 127 if x >= radius else function(requantize(x, multiplier))

    return saturating


def _step(op: Op, source: Tensor, output: Tensor, function: Function) -> Step:
    codes = range(-128 - source.zero_point, 128 - source.zero_point)
    try:
        results = [function(x) for x in codes]
    except ValueError as error:
        raise refuse(op, f"its scales make {error}.", "check the model's quantization.") from error
    if not all(INT32_MIN <= result <= INT32_MAX for result in results):
        raise refuse(
            op, f"its results reach {max(results, key=abs):,}, which is no int32.", "check the model's quantization."
        )
    return lookup_step(op, source, output, np.clip(results, -128, 127).astype(np.int8), REASON)


def lookup_step(op: Op, source: Tensor, output: Tensor, table: Array, reason: str) -> Step:
    """One call of tflash_lookup_s8. table: int8 [256], the results for codes -128 to 127."""
    return Step(
        op=op,
        kernel="lookup_s8",
        reason=reason,
        inputs=(source.index,),
        outputs=(output.index,),
        params={"size": source.elements, "table": Ref("table")},
        constants=(Constant("table", table),),
        in_place=0,
    )


def _rounded(value: float) -> float:
    """To the nearest integer, ties away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _int16(value: int) -> int:
    """Saturated."""
    return max(-(1 << 15), min(value, (1 << 15) - 1))


def _high_product_16(a: int, b: int) -> int:
    """round(a * b / 2**15), ties upward: gemmlowp's SaturatingRoundingDoublingHighMul for int16, never (-2**15)**2."""
    return (a * b + (1 << 14)) >> 15
