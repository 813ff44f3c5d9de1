"""Small .tflite files from a compact description, for tests.

    model = TfliteBuilder()
    x = model.input((1, 8, 8, 3), scale=0.02, zero_point=-3)
    w = model.constant(weights, scale=[0.1, 0.2], axis=0)     # int8 [2, 3, 3, 3]; axis is quantized_dimension
    b = model.constant(bias)                                  # int32 [2], without quantization
    y = model.output((1, 8, 8, 2), scale=0.05, zero_point=4)
    model.op("CONV_2D", [x, w, b], [y], padding="SAME", stride_h=1, stride_w=1, fused_activation_function="RELU")
    content = model.build()

A tensor is named by the index that input, output, constant and tensor return; -1 is an absent optional input. Options
are the schema's fields in snake_case; enumerations go by name. What is not given has the schema's default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline import tflite
from pipeline.tflite import Graph

_TYPES = {"float32": "FLOAT32", "int32": "INT32", "uint8": "UINT8", "int64": "INT64", "bool": "BOOL", "int16": "INT16",
          "int8": "INT8", "float16": "FLOAT16", "float64": "FLOAT64", "uint32": "UINT32", "uint16": "UINT16",
          "uint64": "UINT64", "int4": "INT4", "resource": "RESOURCE"}  # fmt: skip

_ENUMS = {
    "padding": schema.Padding,
    "fused_activation_function": schema.ActivationFunctionType,
    "weights_format": schema.FullyConnectedOptionsWeightsFormat,
    "mode": schema.MirrorPadMode,
}

# Ops whose options table is not named after them.
_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2D",
    "MAX_POOL_2D": "Pool2D",
    "L2_POOL_2D": "Pool2D",
    "MEAN": "Reducer",
    "SUM": "Reducer",
    "REDUCE_MAX": "Reducer",
    "REDUCE_MIN": "Reducer",
    "REDUCE_PROD": "Reducer",
    "REDUCE_ANY": "Reducer",
    "REDUCE_ALL": "Reducer",
    "MAXIMUM": "MaximumMinimum",
    "MINIMUM": "MaximumMinimum",
    "PADV2": "PadV2",
    "L2_NORMALIZATION": "L2Norm",
    "BATCH_MATMUL": "BatchMatMul",
    "SVDF": "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


class TfliteBuilder:
    """Collects tensors and ops of one subgraph, and further ones; `build` gives the file's bytes."""

    def __init__(self, description: str = "made for a test") -> None:
        self._description = description
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]
        self._codes: list[Any] = []
        self._ops: list[Any] = []
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._further: list[TfliteBuilder] = []

    def subgraph(self) -> TfliteBuilder:
        """A further subgraph of the same file: the first one has number 1."""
        further = TfliteBuilder()
        further._buffers, further._codes = self._buffers, self._codes
        self._further.append(further)
        return further

    def tensor(
        self,
        shape: Sequence[int],
        *,
        dtype: str = "int8",
        scale: float | Sequence[float] | None = None,
        zero_point: int | Sequence[int] = 0,
        axis: int = 0,
        name: str | None = None,
        shape_signature: Sequence[int] | None = None,
        is_variable: bool = False,
    ) -> int:
        """A tensor that an op computes. scale None: no quantization. zero_point is repeated for each scale."""
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(schema.TensorType, _TYPES[dtype])
        tensor.buffer = 0
        tensor.name = name if name is not None else f"t{len(self._tensors)}"
        tensor.isVariable = is_variable
        if shape_signature is not None:
            tensor.shapeSignature = np.array(shape_signature, np.int32)
        if scale is not None:
            scales = np.atleast_1d(np.array(scale, np.float32))
            zeros = np.broadcast_to(np.array(zero_point, np.int64), scales.shape)
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.ascontiguousarray(zeros)
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def input(self, shape: Sequence[int], **tensor: Any) -> int:
        """A tensor that is a model input; the keywords are those of `tensor`."""
        self._inputs.append(self.tensor(shape, **tensor))
        return self._inputs[-1]

    def output(self, shape: Sequence[int], **tensor: Any) -> int:
        """A tensor that is a model output; the keywords are those of `tensor`."""
        self._outputs.append(self.tensor(shape, **tensor))
        return self._outputs[-1]

    def constant(self, data: np.ndarray, **tensor: Any) -> int:
        """A tensor with a value; its shape and dtype are the array's unless dtype="int4", which packs int8 codes."""
        dtype = tensor.pop("dtype", data.dtype.name)
        index = self.tensor(data.shape, dtype=dtype, **tensor)
        buffer = schema.BufferT()
        content = np.ascontiguousarray(data)
        if dtype == "int4":
            codes = np.append(content.reshape(-1), np.zeros(content.size % 2, np.int8)).astype(np.uint8) & 15
            content = codes[0::2] | (codes[1::2] << 4)
        buffer.data = np.frombuffer(content.tobytes(), np.uint8)
        self._buffers.append(buffer)
        self._tensors[index].buffer = len(self._buffers) - 1
        return index

    def as_output(self, index: int) -> None:
        """Make a tensor that exists a model output as well."""
        self._outputs.append(index)

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        """An operator by its builtin name; a name in lower case is a CUSTOM op."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(name, version)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        kind = f"{_OPTIONS.get(name, _camel(name))}Options"
        if hasattr(schema, f"{kind}T"):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = _options(getattr(schema, f"{kind}T")(), options)
        elif options:
            raise ValueError(f"{name} has no options")
        self._ops.append(operator)

    def without_options(self) -> None:
        """Drop the options table of the last op, as some converters do."""
        self._ops[-1].builtinOptionsType = schema.BuiltinOptions.NONE
        self._ops[-1].builtinOptions = None

    def build(self) -> bytes:
        """The .tflite file."""
        model = schema.ModelT()
        model.version = 3
        model.description = self._description
        model.operatorCodes = self._codes
        model.subgraphs = [self._table("main"), *(further._table("further") for further in self._further)]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _table(self, name: str) -> Any:
        subgraph = schema.SubGraphT()
        subgraph.name = name
        subgraph.tensors = self._tensors
        subgraph.operators = self._ops
        subgraph.inputs = np.array(self._inputs, np.int32)
        subgraph.outputs = np.array(self._outputs, np.int32)
        return subgraph

    def graph(self, name: str = "model") -> Graph:
        """The file, parsed by the project's own reader."""
        return tflite.parse(self.build(), Path(f"{name}.tflite"))

    def _code(self, name: str, version: int) -> int:
        code = schema.OperatorCodeT()
        code.version = version
        if name.islower():
            code.builtinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = name
        else:
            code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self._codes.append(code)
        return len(self._codes) - 1


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")).replace("2d", "2D")


def _options(table: Any, values: Mapping[str, Any]) -> Any:
    for key, value in values.items():
        head, *tail = key.split("_")
        field = head + "".join(part.capitalize() for part in tail)
        if field not in vars(table):
            raise ValueError(f"{type(table).__name__} has no {key}; it has {sorted(vars(table))}")
        setattr(table, field, getattr(_ENUMS[key], value) if isinstance(value, str) and key in _ENUMS else value)
    return table
