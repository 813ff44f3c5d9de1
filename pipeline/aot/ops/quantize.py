"""QUANTIZE and DEQUANTIZE: between real numbers and codes, and from codes to other codes."""

from __future__ import annotations

import numpy as np

from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, quantized_output, refuse, same_size
from pipeline.tflite import Graph, Op, Tensor

_SHORT = {"int8": "s8", "uint8": "u8", "int16": "s16"}

# From one integer type to another: what TFLM has, but for int32 inputs. Numbered as in enum tflash_rescale_type.
_TYPE_CODES = {"int8": 0, "uint8": 1, "int16": 2, "int32": 3}
_RESCALES = {
    "int8": ("int8", "uint8", "int16", "int32"),
    "uint8": ("int8",),
    "int16": ("int8", "int16", "int32"),
}


def lower_quantize(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_quantize_f32_* or tflash_quantize_rescale; an alias where nothing changes."""
    source, output = _ends(graph, op)
    if source.dtype == "float32":
        return _from_float(graph, op, core, source, output)
    return _rescale(graph, op, core, source, output)


def is_int8_rescale(step: Step) -> bool:
    """Whether a step takes int8 codes to other int8 codes."""
    int8 = _TYPE_CODES["int8"]
    return step.kernel == "quantize_rescale" and step.params["input_type"] == step.params["output_type"] == int8


def lower_dequantize(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_dequantize_*."""
    source, output = _ends(graph, op)
    if source.dtype not in _SHORT or output.dtype != "float32":
        raise refuse(
            op, f"{source.dtype} to {output.dtype}; {' or '.join(_SHORT)} to float32 is needed, by TFLM as well."
        )
    quantized_input(graph, op, 0, source.dtype)
    return Step(
        op=op,
        kernel=f"dequantize_{_SHORT[source.dtype]}",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={"size": source.elements, "scale": source.scale, "zero_point": source.zero_point},
    )


def _ends(graph: Graph, op: Op) -> tuple[Tensor, Tensor]:
    if len(op.inputs) != 1 or op.inputs[0] < 0 or len(op.outputs) != 1:
        raise refuse(op, f"{len(op.inputs)} inputs and {len(op.outputs)} outputs; one of each is needed.")
    source, output = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    same_size(op, source, output)
    return source, output


def _from_float(graph: Graph, op: Op, core: Core, source: Tensor, output: Tensor) -> Step:
    if output.dtype not in ("int8", "int16"):
        raise refuse(op, f"float32 to {output.dtype}; int8 or int16 is needed, by TFLM as well.")
    quantized_output(graph, op, 0, output.dtype)
    return Step(
        op=op,
        kernel=f"quantize_f32_{_SHORT[output.dtype]}",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={"size": source.elements, "scale": output.scale, "zero_point": output.zero_point},
        in_place=0 if output.dtype == "int8" else None,
    )


def _rescale(graph: Graph, op: Op, core: Core, source: Tensor, output: Tensor) -> Step:
    if output.dtype not in _RESCALES.get(source.dtype, ()):
        pairs = "; ".join(f"{start} to {' or '.join(ends)}" for start, ends in _RESCALES.items())
        raise refuse(op, f"{source.dtype} to {output.dtype}; the aot kernel has {pairs}.")
    quantized_input(graph, op, 0, source.dtype)
    quantized_output(graph, op, 0, output.dtype)
    before, after = ((t.dtype, t.scale, t.zero_point) for t in (source, output))
    if before == after:
        return Step(
            op=op,
            kernel="",
            reason="the same codes: type, scale and zero point do not change",
            inputs=(source.index,),
            outputs=(output.index,),
        )
    multiplier = checked_multiplier(op, source.scale / output.scale)
    limits = np.iinfo(source.dtype)
    largest = max(source.zero_point - int(limits.min), int(limits.max) - source.zero_point)
    prove_no_overflow(op, [largest], [multiplier], output.zero_point)
    return Step(
        op=op,
        kernel="quantize_rescale",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "size": source.elements,
            "input_type": _TYPE_CODES[source.dtype],
            "output_type": _TYPE_CODES[output.dtype],
            "input_offset": -source.zero_point,
            "multiplier": multiplier.mantissa,
            "shift": multiplier.shift,
            "output_offset": output.zero_point,
        },
        in_place=0 if source.bytes == output.bytes == source.elements else None,
    )
