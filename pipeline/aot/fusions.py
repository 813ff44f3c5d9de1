"""Ops without a step of their own, because another does their work on the way; all bytes that are left are the same.

    PAD, PADV2           with zero points, around a convolution's input: the convolution pads while it reads
    RELU, RELU6          of a producer with a fused activation to spare: its clamp
    what nobody reads    dropped

Functions of one code become one table each (pipeline.aot.tables). QUANTIZE is not fused into other producers: these
round to their own scale first, and that rounding shows in the codes. The tensors in between exist no more; a
`HiddenLayer` says so of each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.aot.ops.pad import pad_value, paddings
from pipeline.aot.ops.window import dilations, windows
from pipeline.errors import UnsupportedError
from pipeline.model import HiddenLayer
from pipeline.tflite import Graph, Op, Tensor

Hidden = tuple[HiddenLayer, ...]

_PADDABLE = ("CONV_2D", "DEPTHWISE_CONV_2D")
_CLAMPING = (*_PADDABLE, "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")
_CLAMPS = {
    ("NONE", "RELU"): "RELU",
    ("NONE", "RELU6"): "RELU6",
    ("RELU", "RELU"): "RELU",
    ("RELU", "RELU6"): "RELU6",
    ("RELU6", "RELU"): "RELU6",
    ("RELU6", "RELU6"): "RELU6",
}


def fuse(graph: Graph) -> tuple[Graph, Hidden]:
    """The graph without ops that others can do or that nobody needs, and the tensors it therefore lacks.

    A convolution that pads has `explicit_padding` among its options: ((top, bottom), (left, right)).
    """
    hidden: list[HiddenLayer] = []
    for rule in (_without_unread, _without_pads, _without_clamps):
        graph, found = rule(graph)
        hidden += found
    return graph, tuple(hidden)


def _without_unread(graph: Graph) -> tuple[Graph, list[HiddenLayer]]:
    """Ops without an output (ASSIGN_VARIABLE, CALL_ONCE) are there for what they do."""
    read = set(graph.outputs)
    kept: list[Op] = []
    hidden: list[HiddenLayer] = []
    for op in reversed(graph.ops):
        if op.outputs and not read.intersection(op.outputs):
            hidden += [_hidden(graph, op, index, "nothing reads it") for index in op.outputs]
        else:
            kept.append(op)
            read.update(op.inputs)
    return replace(graph, ops=tuple(reversed(kept))), hidden


def _without_pads(graph: Graph) -> tuple[Graph, list[HiddenLayer]]:
    hidden: list[HiddenLayer] = []
    for op in graph.ops:
        around = _zero_padding(graph, op)
        if around is None or op.outputs[0] in graph.outputs:
            continue
        readers = [reader for reader in graph.ops if op.outputs[0] in reader.inputs]
        padded = [_padding_itself(graph, reader, op, around) for reader in readers]
        ready = {reader.index: reader for reader in padded if reader is not None}
        if len(ready) == len(readers):
            ops = (ready.get(other.index, other) for other in graph.ops if other is not op)
            graph = replace(graph, ops=tuple(ops))
            names = " and ".join(reader.where() for reader in readers)
            hidden.append(_hidden(graph, op, op.outputs[0], f"{names} pads while it reads"))
    return graph, hidden


_Around = tuple[tuple[int, int], tuple[int, int]]


def _zero_padding(graph: Graph, op: Op) -> _Around | None:
    """Rows and columns before and after an image's codes, where an op adds nothing but zero points."""
    if op.name not in ("PAD", "PADV2") or len(op.inputs) < 2 or min(op.inputs[:2]) < 0:
        return None
    source, output = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if len(source.shape) != 4 or not _same_codes(source, output):
        return None
    try:
        batch, rows, columns, channels = paddings(graph, op, source)
        value = pad_value(graph, op, output)
    except UnsupportedError:
        return None  # the lowering says why
    expected = (source.shape[1] + sum(rows), source.shape[2] + sum(columns))
    if value != output.zero_point or batch != (0, 0) or channels != (0, 0) or output.shape[1:3] != expected:
        return None
    return rows, columns


def _padding_itself(graph: Graph, reader: Op, pad: Op, around: _Around) -> Op | None:
    """The convolution on the image without its padding, or None."""
    if reader.name not in _PADDABLE or reader.inputs.count(pad.outputs[0]) != 1 or reader.inputs[0] != pad.outputs[0]:
        return None
    padding = replace(
        reader,
        inputs=(pad.inputs[0], *reader.inputs[1:]),
        options={**reader.options, "explicit_padding": around},
    )
    source, weights, output = (graph.tensor(i) for i in (*padding.inputs[:2], padding.outputs[0]))
    if len(weights.shape) != 4:
        return None
    try:
        windows(padding, source, output, weights.shape[1:3], dilations(padding))
    except UnsupportedError:
        return None
    return padding


def _without_clamps(graph: Graph) -> tuple[Graph, list[HiddenLayer]]:
    hidden: list[HiddenLayer] = []
    for op in graph.ops:
        if op.name not in ("RELU", "RELU6") or len(op.inputs) != 1:
            continue
        between = op.inputs[0]
        producer = graph.producers().get(between)
        if producer is None or producer.name not in _CLAMPING or _readers(graph)[between] != 1:
            continue
        clamp = _CLAMPS.get((str(producer.options.get("fused_activation_function", "NONE")), op.name))
        if clamp is None or not _same_codes(graph.tensor(between), graph.tensor(op.outputs[0])):
            continue
        clamping = replace(
            producer, outputs=op.outputs, options={**producer.options, "fused_activation_function": clamp}
        )
        ops = (clamping if other is producer else other for other in graph.ops if other is not op)
        graph = replace(graph, ops=tuple(ops))
        hidden.append(_hidden(graph, producer, between, f"{op.where()} is its clamp"))
    return graph, hidden


def _readers(graph: Graph) -> Counter[int]:
    """How often each tensor is read, the world around the model included."""
    return Counter((*graph.outputs, *(index for op in graph.ops for index in op.inputs)))


def _same_codes(a: Tensor, b: Tensor) -> bool:
    """Whether a code means the same number in both."""
    return (
        a.dtype == b.dtype
        and a.dtype in ("int8", "int16")
        and a.scales.size == b.scales.size == 1
        and (a.scale, a.zero_point) == (b.scale, b.zero_point)
    )


def _hidden(graph: Graph, op: Op, index: int, reason: str) -> HiddenLayer:
    return HiddenLayer(op.index, op.name, index, graph.tensor(index).name, reason)
