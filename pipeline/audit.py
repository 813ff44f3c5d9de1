"""The audit before everything else: is this a fully quantized model that can run from start to end?

Converters leave float ops inside a model, or write a float model, without an error. So every tensor and op is looked
at, for every runtime.

Codes are int8, or int16 with weights of int8 ("int16x8"); a runtime says which ops it has for which.
May be float32 or uint8: a model input that only QUANTIZE reads, and a model output that DEQUANTIZE or QUANTIZE makes.
"""

from __future__ import annotations

from collections import Counter

from pipeline.errors import ModelError, UnsupportedError
from pipeline.state import VARIABLE_OPS
from pipeline.tflite import Graph, Op, Tensor

_CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL", "STABLEHLO_WHILE"})
_FLOATS = frozenset({"float32", "float16", "float64", "bfloat16"})
_CODES = frozenset({"int8", "int16"})
_PLAIN = _CODES | {"int4", "int32", "int64", "bool"}  # bool and plain integers: indices, sizes, masks

_FULL_INTEGER = (
    "convert with full-integer quantization: a recipe with `quantize`, or converter.optimizations, "
    "converter.representative_dataset and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]."
)


def require_int8(graph: Graph) -> None:
    """Refuse what is not a static model of int8 or int16 codes in one piece.

    Raises:  ModelError: a float or hybrid model, or one without ops. UnsupportedError: a sound model with custom ops,
             control flow, unresolved shapes, or a dtype that no runtime has.
    """
    if not graph.ops:
        raise ModelError(f"{graph.path}: the model has no ops: nothing to run.", hint="convert the model again.")
    _require_builtin(graph)
    _require_one_subgraph(graph)
    _require_static(graph)
    _require_quantized(graph)


def tensor_types(graph: Graph) -> dict[str, int]:
    """How many tensors the ops read and write, by dtype: the evidence of `require_int8`, for reports."""
    used = {index for op in graph.ops for index in (*op.inputs, *op.outputs) if index >= 0}
    return dict(sorted(Counter(graph.tensor(index).dtype for index in used).items()))


def _require_builtin(graph: Graph) -> None:
    custom = [op for op in graph.ops if op.name == "CUSTOM"]
    if not custom:
        return
    op, code = custom[0], _plain(custom[0].custom_code)
    if code == "edgetpu-custom-op":
        hint = "this file is compiled for the Edge TPU: give the .tflite it was compiled from."
    elif code.startswith("Flex"):
        hint = "without TensorFlow's own ops: leave tf.lite.OpsSet.SELECT_TF_OPS out and replace the layer."
    else:
        hint = "replace the layer by ones that TFLite has, and keep pre- and post-processing out of the model."
    more = f" (and {len(custom) - 1} more custom ops)" if len(custom) > 1 else ""
    raise UnsupportedError(
        f"{graph.path}: op {op.index} is the CUSTOM op {code!r}{more}, which no runtime has.", hint=hint
    )


def _require_one_subgraph(graph: Graph) -> None:
    hint = "unroll the loop or the condition (for an RNN: unroll=True, or a fused LSTM), then convert again."
    for op in graph.ops:
        if op.name in _CONTROL_FLOW:
            raise UnsupportedError(f"{graph.path}: {op.where()} is control flow; no runtime has it.", hint=hint)
    if graph.subgraphs != 1 + len(graph.initializers):
        raise UnsupportedError(
            f"{graph.path}: {graph.subgraphs} subgraphs; one, and those that CALL_ONCE runs, are supported.", hint=hint
        )


def _require_static(graph: Graph) -> None:
    used = {*graph.inputs, *graph.outputs}
    used.update(index for op in graph.ops for index in (*op.inputs, *op.outputs) if index >= 0)
    for index in sorted(used):
        tensor = graph.tensor(index)
        if any(size <= 0 for size in tensor.shape):
            raise UnsupportedError(
                f"{graph.path}: {_name(tensor)} has shape {list(tensor.shape)}, which says nothing about its size.",
                hint="convert with a fixed batch size of 1 and fixed input sizes; no runtime takes tensors without "
                "elements, as an unrolled GRU with reset_after=False has.",
            )


def _require_quantized(graph: Graph) -> None:
    edges = _edges(graph)
    floats: list[tuple[Op, Tensor]] = []
    for op in graph.ops:
        for index in (*op.inputs, *op.outputs):
            if index < 0 or index in edges:
                continue
            tensor = graph.tensor(index)
            if tensor.dtype in _FLOATS:
                floats.append((op, tensor))
    if floats:
        raise _float_error(graph, floats)
    for op in graph.ops:
        for index in (*op.inputs, *op.outputs):
            if index < 0 or index in edges or graph.tensor(index).dtype in _PLAIN or _is_state(op, graph.tensor(index)):
                continue
            raise _dtype_error(graph, op, graph.tensor(index))
    if not any(graph.tensor(index).dtype in _CODES for op in graph.ops for index in (*op.inputs, *op.outputs)):
        raise ModelError(f"{graph.path}: no op works on int8 or int16.", hint=_FULL_INTEGER)


def _is_state(op: Op, tensor: Tensor) -> bool:
    return tensor.dtype == "resource" and op.name in VARIABLE_OPS


def _edges(graph: Graph) -> set[int]:
    """Tensors at the graph's edge that QUANTIZE and DEQUANTIZE turn from and into another dtype."""
    readers: dict[int, list[Op]] = {}
    for op in graph.ops:
        for index in op.inputs:
            readers.setdefault(index, []).append(op)
    producers = graph.producers()
    edge = {"float32", "uint8"}
    found = set()
    for index in graph.inputs:
        if graph.tensor(index).dtype in edge and all(op.name == "QUANTIZE" for op in readers.get(index, [])):
            found.add(index)
    for index in graph.outputs:
        maker = producers.get(index)
        made = maker is not None and maker.name in ("DEQUANTIZE", "QUANTIZE")
        if graph.tensor(index).dtype in edge and made and not readers.get(index):
            found.add(index)
    return found


def _float_error(graph: Graph, floats: list[tuple[Op, Tensor]]) -> ModelError:
    op, tensor = floats[0]
    ops = sorted({op.index for op, _ in floats})
    computed = {graph.tensor(index).dtype for op in graph.ops for index in op.outputs} & _CODES
    int8_weights = any(
        index >= 0 and graph.tensor(index).is_constant and graph.tensor(index).dtype in ("int8", "int4")
        for index in (index for op in graph.ops for index in op.inputs)
    )
    where = f"{op.where()} works on {tensor.dtype}: {_name(tensor)}"
    if any(op.name == "ASSIGN_VARIABLE" and graph.tensor(op.inputs[-1]).dtype in _FLOATS for op, _ in floats):
        return ModelError(
            f"{graph.path}: its variables are float. First {where}.",
            hint="set converter._experimental_variable_quantization = True as well, which makes them int8.",
        )
    if computed:
        return ModelError(
            f"{graph.path}: a hybrid model: {min(computed, key=len)}, but {len(ops)} of {len(graph.ops)} ops on float. "
            f"First {where}.",
            hint="replace that layer by one that TFLite quantizes, or move it out of the model; then "
            "convert with target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8].",
        )
    if int8_weights:
        return ModelError(
            f"{graph.path}: a hybrid model (dynamic-range quantized): weights are int8, activations float. "
            f"First {where}.",
            hint=_FULL_INTEGER,
        )
    return ModelError(
        f"{graph.path}: a float model. First {where}.",
        hint=_FULL_INTEGER + " A representative dataset that is empty or holds NaN gives a float model, too.",
    )


def _dtype_error(graph: Graph, op: Op, tensor: Tensor) -> UnsupportedError:
    if tensor.dtype == "uint8":
        return UnsupportedError(
            f"{graph.path}: {op.where()} works on uint8: {_name(tensor)}; uint8 models of TensorFlow 1 are not "
            "supported, int8 ones are.",
            hint="convert again with TensorFlow 2, which quantizes to int8.",
        )
    return UnsupportedError(
        f"{graph.path}: {op.where()} works on {tensor.dtype}: {_name(tensor)}, which no runtime has.",
        hint="keep that part out of the model, then convert again.",
    )


def _name(tensor: Tensor) -> str:
    return f"tensor {tensor.index} ({_plain(tensor.name)})"


def _plain(text: str) -> str:
    """Text from a model file, without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)[:100]
