"""L2_NORMALIZATION: each vector along the last dimension is divided by its length."""

from __future__ import annotations

from pipeline.aot.steps import Core, Step, portable_reason, quantized_input, quantized_output, refuse, same_size
from pipeline.fixedpoint import INT32_MAX
from pipeline.tflite import Graph, Op

_MAX_RANK = 4
_MAX_DEPTH = INT32_MAX // 255**2


def lower_l2_normalization(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_l2_normalization_s8. As in TFLM, the scales and the output's zero point do not matter."""
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    same_size(op, source, output)
    shape = source.shape
    if not 1 <= len(shape) <= _MAX_RANK or output.shape != shape or shape[-1] > _MAX_DEPTH:
        raise refuse(
            op,
            f"an input of {list(shape)} and an output of {list(output.shape)}; the same shape of at most {_MAX_RANK} "
            f"dimensions, the last of at most {_MAX_DEPTH:,} elements, is needed.",
        )
    activation = op.options.get("fused_activation_function", "NONE")
    if activation != "NONE":
        raise refuse(op, f"a fused activation {activation}; TFLM has none here either.")
    return Step(
        op=op,
        kernel="l2_normalization_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "rows": source.elements // shape[-1],
            "depth": shape[-1],
            "input_offset": -source.zero_point,
        },
        in_place=0,
    )
