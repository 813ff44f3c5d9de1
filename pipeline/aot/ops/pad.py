"""PAD and PADV2."""

from __future__ import annotations

from pipeline.aot.steps import (
    Core,
    ParamValue,
    Step,
    code_type,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
)
from pipeline.tflite import Graph, Op, Tensor

_MAX_RANK = 5  # of TFLM
_MAX_GROUPS = 4


def lower_pad(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_pad_s8 or tflash_pad_s16. Without a value of its own, PAD puts the output's zero point."""
    dtype = code_type(graph, op)
    source, output = quantized_input(graph, op, 0, dtype), quantized_output(graph, op, 0, dtype)
    around = paddings(graph, op, source)
    expected = tuple(size + before + after for size, (before, after) in zip(source.shape, around, strict=True))
    if output.shape != expected:
        raise refuse(
            op,
            f"input {list(source.shape)}, paddings {[list(p) for p in around]}, output {list(output.shape)}; "
            f"an output of {list(expected)} is needed.",
        )
    groups = _groups(source.shape, around)
    if len(groups) > _MAX_GROUPS:
        raise refuse(op, f"{len(groups)} dimensions are padded; the aot kernel pads {_MAX_GROUPS}.")
    groups = [(1, 0, 0)] * (_MAX_GROUPS - len(groups)) + groups
    params: dict[str, ParamValue] = {
        "input_shape": tuple(size for size, _, _ in groups),
        "before": tuple(before for _, before, _ in groups),
        "output_shape": tuple(sum(group) for group in groups),
        "value": pad_value(graph, op, output),
    }
    wide = dtype == "int16"
    return Step(
        op=op,
        kernel="pad_s16" if wide else "pad_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={f"layer.{name}": value for name, value in params.items()} if wide else params,
    )


def paddings(graph: Graph, op: Op, source: Tensor) -> list[tuple[int, int]]:
    """Elements before and after each dimension."""
    if len(op.inputs) < 2 or op.inputs[1] < 0:
        raise refuse(op, "an input and the paddings are needed.")
    tensor = graph.tensor(op.inputs[1])
    if tensor.data is None:
        raise refuse(op, f"its paddings ({tensor.name}) are computed; the aot kernel takes constants.")
    if tensor.dtype != "int32":
        raise refuse(op, f"its paddings ({tensor.name}) are {tensor.dtype}; int32 is needed, by TFLM as well.")
    rank = len(source.shape)
    if tensor.data.size != 2 * rank or rank > _MAX_RANK:
        raise refuse(
            op,
            f"{tensor.data.size} paddings of an input of {list(source.shape)}; "
            f"two for each dimension, at most {_MAX_RANK} dimensions, are needed.",
        )
    pairs = [(int(before), int(after)) for before, after in tensor.data.reshape(rank, 2)]
    if any(before < 0 or after < 0 for before, after in pairs):
        raise refuse(op, f"paddings {[list(p) for p in pairs]}; none may be negative.")
    return pairs


def pad_value(graph: Graph, op: Op, output: Tensor) -> int:
    """The code that is put around the input."""
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return output.zero_point
    tensor = graph.tensor(op.inputs[2])
    if tensor.data is None or tensor.data.size != 1 or tensor.dtype != output.dtype:
        raise refuse(
            op,
            f"its value ({tensor.name}) is {tensor.dtype} {list(tensor.shape)}; one {output.dtype} constant is needed.",
        )
    if output.dtype == "int8" and (tensor.scale, tensor.zero_point) != (output.scale, output.zero_point):
        raise refuse(
            op,
            f"its value is quantized with ({tensor.scale:g}, {tensor.zero_point}) and its output with "
            f"({output.scale:g}, {output.zero_point}); they have to be the same, for TFLM as well.",
            "convert the model again.",
        )
    return int(tensor.data.reshape(-1)[0])


def _groups(shape: tuple[int, ...], paddings: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(size, before, after) outer to inner; a dimension without padding is part of the one around it."""
    groups: list[tuple[int, int, int]] = []
    for size, (before, after) in zip(shape, paddings, strict=True):
        if groups and (before, after) == (0, 0):
            outer = groups.pop()
            groups.append((outer[0] * size, outer[1] * size, outer[2] * size))
        elif groups and groups[-1] == (1, 0, 0):
            groups[-1] = (size, before, after)
        else:
            groups.append((size, before, after))
    return groups
