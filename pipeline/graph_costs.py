"""What a graph costs to run and to store: multiply-accumulates and weight bytes, counted one way everywhere.

A multiply-accumulate (MAC) is one product added to a sum, padding included, as MLPerf Tiny and most papers count.
"""

from __future__ import annotations

import math

from pipeline.tflite import Graph, Op, Tensor


def macs(graph: Graph, op: Op) -> int:
    """Multiply-accumulates of one op; 0 for ops that are not sums of products, or lack an operand.

    Formulas, with shapes as TFLite stores them (weights [out][h][w][in], depthwise [1][h][w][out], dense [out][in]):
        CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED   output elements * weights that one output element reads
        TRANSPOSE_CONV                                input elements * out * h * w
        BATCH_MATMUL                                  output elements * length of the summed axis
        SVDF                                          samples * filters * (inputs + memory)
        UNIDIRECTIONAL_SEQUENCE_LSTM                  samples * steps * 4 * units * (inputs + units)
    """
    operands = [op.inputs[position] for position in _MACS.get(op.name, ()) if position < len(op.inputs)]
    if len(operands) != 2 or min(operands) < 0 or not op.outputs:
        return 0
    data, weights = (graph.tensor(index).shape for index in operands)
    outputs = graph.tensor(op.outputs[0]).elements
    if op.name == "DEPTHWISE_CONV_2D":
        return outputs * math.prod(weights[1:3])
    if op.name == "TRANSPOSE_CONV":
        return math.prod(data) * math.prod(weights[:3])
    if op.name == "BATCH_MATMUL":
        return outputs * math.prod(data[-2:-1] if op.options.get("adj_x") else data[-1:])
    if op.name == "SVDF":
        return math.prod(data[:1]) * math.prod(weights[:1]) * (sum(data[1:]) + sum(weights[1:]))
    if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return math.prod(data[:2]) * 4 * math.prod(weights[:1]) * (sum(data[2:]) + sum(weights[1:]))
    return outputs * math.prod(weights[1:])


# The positions of the data and of what it is multiplied with.
_MACS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "BATCH_MATMUL": (0, 1),
    "SVDF": (0, 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (0, 5),
}


def weights(graph: Graph, op: Op) -> tuple[Tensor, ...]:
    """The constants of an op that training made: kernels, biases, embeddings, constant operands.

    Shapes, axes, paddings and the like are integers without a scale and are left out. A bias is an integer too, and is
    recognised by its place where a converter gave it no scale.
    """
    bias = _BIAS.get(op.name)
    found = []
    for position, index in enumerate(op.inputs):
        if index < 0 or not graph.tensor(index).is_constant:
            continue
        tensor = graph.tensor(index)
        if tensor.is_quantized or tensor.dtype in _REAL or position == bias:
            found.append(tensor)
    return tuple(found)


_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
_REAL = frozenset({"float16", "bfloat16", "float32", "float64"})


def weight_bytes(graph: Graph, op: Op) -> int:
    """Bytes of the op's weights and biases; int4 weights count a byte an element."""
    return sum(stored_bytes(tensor) for tensor in weights(graph, op))


def total_macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference."""
    return sum(macs(graph, op) for op in graph.ops)


def total_weight_bytes(graph: Graph) -> int:
    """Bytes of all weights and biases, those that several ops share counted once."""
    return sum(stored_bytes(t) for t in {t.index: t for op in graph.ops for t in weights(graph, op)}.values())


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's value; 0 where that is known only at run time (strings, resources)."""
    if tensor.data is not None:
        return tensor.data.nbytes
    try:
        return tensor.bytes
    except TypeError:  # not a dtype that NumPy has
        return 2 * tensor.elements if tensor.dtype == "bfloat16" else 0
