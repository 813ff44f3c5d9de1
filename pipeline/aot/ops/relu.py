"""RELU and RELU6."""

from __future__ import annotations

from pipeline import fixedpoint
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, quantized_output, refuse, same_size
from pipeline.tflite import Graph, Op


def lower_relu(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_relu_s8.

    Source:  TFLM's activations_common.cc. The multiplier is computed in double; older TFLM did it in float32.
    """
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
    """One call of tflash_relu6_s8. As in TFLM, the output's own scale and zero point do not matter."""
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    try:
        zero, six = fixedpoint.activation_range("RELU6", source.scale, source.zero_point)
    except ValueError as error:
        raise refuse(op, f"{error}.", "check the model's quantization.") from error
    return Step(
        op=op,
        kernel="relu6_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={"size": source.elements, "zero": zero, "six": six},
        in_place=0,
    )
