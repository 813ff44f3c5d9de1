"""A .tflite file becomes a description of what is in it. Any readable model will do: float, hybrid, custom ops."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.graph_costs import macs, stored_bytes, total_macs, total_weight_bytes, weight_bytes
from pipeline.tflite import Graph, Op, Tensor


def inspect(graph: Graph) -> dict[str, Any]:
    """Describe a graph in plain values that JSON can hold: `tensorflash inspect --json` is exactly this.

    Keys: model {path, sha256, name, description, subgraphs}, inputs and outputs (tensor indices), ops, tensors,
    op_counts {name: ops}, totals {ops, tensors, macs, weights_bytes, constants_bytes}.
    A tensor's quantization is null, or has real = scale * (code - zero_point) as {scale, zero_point}, or, per channel,
    {dimension, channels, scale_min, scale_max, zero_point_min, zero_point_max}. Sizes are bytes.
    """
    return {
        "model": {
            "path": str(graph.path),
            "sha256": graph.sha256,
            "name": graph.name,
            "description": graph.description,
            "subgraphs": graph.subgraphs,
        },
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "ops": [_op(graph, op) for op in graph.ops],
        "tensors": [_tensor(tensor) for tensor in graph.tensors],
        "op_counts": dict(sorted(Counter(op.name for op in graph.ops).items())),
        "totals": {
            "ops": len(graph.ops),
            "tensors": len(graph.tensors),
            "macs": total_macs(graph),
            "weights_bytes": total_weight_bytes(graph),
            "constants_bytes": sum(stored_bytes(t) for t in graph.tensors if t.is_constant),
        },
    }


def _op(graph: Graph, op: Op) -> dict[str, Any]:
    return {
        "index": op.index,
        "name": op.name,
        "custom_code": op.custom_code or None,
        "version": op.version,
        "inputs": list(op.inputs),
        "outputs": list(op.outputs),
        "output_shape": list(graph.tensor(op.outputs[0]).shape) if op.outputs else None,
        "macs": macs(graph, op),
        "weight_bytes": weight_bytes(graph, op),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "bytes": stored_bytes(tensor),
        "constant": tensor.is_constant,
        "variable": tensor.is_variable,
        "quantization": _quantization(tensor),
    }


def _quantization(tensor: Tensor) -> dict[str, Any] | None:
    if not tensor.is_quantized:
        return None
    if tensor.scales.size == 1:
        return {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return {
        "dimension": tensor.quantized_dimension,
        "channels": int(tensor.scales.size),
        "scale_min": float(tensor.scales.min()),
        "scale_max": float(tensor.scales.max()),
        "zero_point_min": int(tensor.zero_points.min()),
        "zero_point_max": int(tensor.zero_points.max()),
    }
