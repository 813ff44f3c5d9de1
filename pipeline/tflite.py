"""A .tflite file becomes a Graph: plain values, every index and size checked.

Model files are untrusted. The flatbuffer is read with the generated accessors of the `tflite` package; every
vector length is checked against the file's size before it is walked, and every reference before it is followed.
Parts that many others refer to are read again for each of them, so what is read in all is bounded as well.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from pipeline.errors import ModelError
from pipeline.model import Array, QuantizedModel, TensorSpec

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_RANK = 8
MAX_ELEMENTS = 1 << 28
MAX_SHARING = 8  # how often a file's bytes are read, on average; converters refer to few parts twice

# TensorType of the TFLite schema. INT4 is stored packed, two codes a byte.
DTYPES: dict[int, str] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 13: "resource", 14: "variant",
    15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16",
}  # fmt: skip
_NUMPY_DTYPES = {"float32", "float16", "int32", "uint8", "int64", "bool", "int16", "int8", "float64", "uint64",
                 "uint32", "uint16"}  # fmt: skip

OP_NAMES: dict[int, str] = {
    value: name for name, value in vars(tflite.BuiltinOperator).items() if not name.startswith("_")
}

PADDINGS = {0: "SAME", 1: "VALID"}
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}

_NAME_OPTIONS = {"Padding": PADDINGS, "FusedActivationFunction": ACTIVATIONS}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    shape is static (a -1 of the shape signature is the file's own static size). scales is empty without
    quantization, one value per tensor, or one per index of quantized_dimension. data is the constant value in
    `shape` and `dtype` (int4 is unpacked to int8), or None where it is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: Array
    zero_points: Array
    quantized_dimension: int
    data: Array | None
    is_variable: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory; int4 counts a byte an element."""
        return self.elements * np.dtype("int8" if self.dtype == "int4" else self.dtype).itemsize

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def scale(self) -> float:
        """The float32 scale of a per-tensor quantization, 0.0 without one."""
        return float(self.scales[0]) if self.scales.size else 0.0

    @property
    def zero_point(self) -> int:
        return int(self.zero_points[0]) if self.zero_points.size else 0

    @property
    def is_quantized(self) -> bool:
        return bool(self.scales.size)


@dataclass(frozen=True)
class Op:
    """One operator. inputs holds -1 for an absent optional input; options are the schema's, in snake_case."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    custom_code: str = ""

    def where(self) -> str:
        """The words that begin a message about this op."""
        return f"op {self.index} ({self.name})"


@dataclass(frozen=True, eq=False)
class Initializer:
    """A subgraph that CALL_ONCE runs before the first inference. Indices in it name its own tensors."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """The main subgraph of a model, and those that CALL_ONCE names, by number; `subgraphs` counts all there are."""

    path: Path
    sha256: str
    name: str
    description: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    initializers: Mapping[int, Initializer]

    def tensor(self, index: int) -> Tensor:
        return self.tensors[index]

    def producers(self) -> dict[int, Op]:
        """The op that computes each computed tensor."""
        return {out: op for op in self.ops for out in op.outputs}


def c_identifier(text: str) -> str:
    """A C identifier made from any text: lower case, at most 48 characters, never empty or a C keyword."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48].strip("_")
    if not name or name[0].isdigit() or name in _C_KEYWORDS:
        name = f"model_{name}".rstrip("_")
    return name


_C_KEYWORDS = frozenset(
    """alignas alignof and asm auto bool break case catch char class const continue default delete do double else enum
    export extern false float for friend goto if inline int long main namespace new not operator or private protected
    public register restrict return short signed sizeof static struct switch template this throw true try typedef
    typename union unsigned using virtual void volatile while xor std""".split()  # noqa: SIM905
)


def read(path: Path) -> Graph:
    """Read and check a .tflite file.

    Raises:  ModelError: the file is missing, is not a .tflite, or contradicts itself.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file.", hint="check the path of the .tflite file.") from None
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror}.", hint="give the path of a .tflite file."
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ModelError(
            f"{path}: more than {MAX_FILE_BYTES:,} bytes; this is no microcontroller's model.",
            hint="give the path of a .tflite file.",
        )
    return parse(content, path)


def parse(content: bytes, path: Path) -> Graph:
    """Parse the bytes of a .tflite file; path is only named in messages."""
    if not content:
        raise ModelError(f"{path}: the file is empty.", hint="convert the model again.")
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ModelError(
            f"{path}: not a .tflite file: bytes 4 to 8 should be 'TFL3'.",
            hint="give the output of tf.lite.TFLiteConverter; a Keras model goes into a recipe (`tensorflash run`).",
        )
    try:
        return _Reader(content, path).graph()
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from None
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: damaged or cut short ({len(content):,} bytes): {type(error).__name__} while reading it.",
            hint="copy or convert the file again and compare its size.",
        ) from error


# What the flatbuffer accessors raise when offsets lead outside the file or to something else.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError)


def quantized_model(graph: Graph) -> QuantizedModel:
    """What the rest of the pipeline needs to know of a graph."""

    def spec(index: int) -> TensorSpec:
        tensor = graph.tensor(index)
        return TensorSpec(tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point)

    return QuantizedModel(
        path=graph.path,
        sha256=graph.sha256,
        name=graph.name,
        inputs=tuple(spec(i) for i in graph.inputs),
        outputs=tuple(spec(i) for i in graph.outputs),
    )


class _Reader:
    """Walks one flatbuffer. Messages name what is wrong; `parse` adds the file."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content = content
        self.path = path
        self.model = tflite.Model.GetRootAsModel(content, 0)
        self.bytes_left = MAX_SHARING * len(content) + 65_536
        self.buffers: dict[int, bytes] = {}

    def count(self, length: int, what: str, each_bytes: int = 1) -> int:
        if length < 0 or length * each_bytes > len(self.content):
            raise ModelError(f"damaged: {length:,} {what} in a file of {len(self.content):,} bytes.")
        self.bytes_left -= length * each_bytes
        if self.bytes_left < 0:
            raise ModelError(f"damaged: its parts refer to each other so often that they make no sense ({what}).")
        return length

    def text(self, raw: bytes | None, what: str) -> str:
        self.count(len(raw or b""), what)
        return "" if raw is None else raw.decode("utf-8", "replace")

    def graph(self) -> Graph:
        model = self.model
        if self.count(model.SubgraphsLength(), "subgraphs", 4) == 0:
            raise ModelError("it has no subgraph, so nothing to run.")
        self.count(model.OperatorCodesLength(), "operator codes", 4)
        self.count(model.BuffersLength(), "buffers", 4)
        tensors, ops, inputs, outputs = self.subgraph(0)
        if not inputs or not outputs:
            raise ModelError(f"{len(inputs)} inputs and {len(outputs)} outputs; at least one of each is needed.")
        return Graph(
            path=self.path,
            sha256=hashlib.sha256(self.content).hexdigest(),
            name=c_identifier(self.path.stem),
            description=self.text(model.Description(), "bytes of description"),
            tensors=tensors,
            ops=ops,
            inputs=inputs,
            outputs=outputs,
            subgraphs=model.SubgraphsLength(),
            initializers=self.initializers(ops),
        )

    def subgraph(self, number: int) -> tuple[tuple[Tensor, ...], tuple[Op, ...], tuple[int, ...], tuple[int, ...]]:
        """Tensors, ops, inputs and outputs."""
        sub = self.model.Subgraphs(number)
        tensors = tuple(self.tensor(sub.Tensors(i), i) for i in range(self.count(sub.TensorsLength(), "tensors", 4)))
        ops = tuple(
            self.op(sub.Operators(i), i, len(tensors)) for i in range(self.count(sub.OperatorsLength(), "operators", 4))
        )
        inputs = self.indices(sub.InputsLength(), sub.Inputs, len(tensors), "model inputs")
        outputs = self.indices(sub.OutputsLength(), sub.Outputs, len(tensors), "model outputs")
        self.check_order(tensors, ops, inputs, outputs)
        return tensors, ops, inputs, outputs

    def initializers(self, ops: Iterable[Op]) -> dict[int, Initializer]:
        """The subgraphs that the main one's CALL_ONCE ops name. What those name in turn is not followed."""
        found: dict[int, Initializer] = {}
        for op in ops:
            if op.name != "CALL_ONCE":
                continue
            number, count = int(op.options.get("init_subgraph_index", 0)), self.model.SubgraphsLength()
            if not 1 <= number < count:
                raise ModelError(f"{op.where()} names subgraph {number}; 1 to {count - 1} are there.")
            if number not in found:
                found[number] = Initializer(*self.subgraph(number)[:2])
        return found

    def indices(self, length: int, get: Any, limit: int, what: str, optional: bool = False) -> tuple[int, ...]:
        result = tuple(int(get(i)) for i in range(self.count(length, what, 4)))
        for index in result:
            if not (0 <= index < limit or (optional and index == -1)):
                raise ModelError(f"damaged: {what} name tensor {index}, there are {limit}.")
        return result

    def tensor(self, raw: Any, index: int) -> Tensor:
        name = self.text(raw.Name(), "bytes of names") or f"tensor_{index}"
        rank = self.count(raw.ShapeLength(), f"dimensions of tensor {index}", 4)
        if rank > MAX_RANK:
            raise ModelError(f"tensor {index} ({name}): rank {rank}, at most {MAX_RANK} is supported.")
        shape = tuple(int(raw.Shape(i)) for i in range(rank))
        if any(size < 0 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise ModelError(
                f"tensor {index} ({name}): shape {list(shape)} is not static.",
                hint="convert with a fixed batch size of 1 and fixed input sizes.",
            )
        dtype = DTYPES.get(raw.Type())
        if dtype is None:
            raise ModelError(f"tensor {index} ({name}): unknown type code {raw.Type()}.")
        scales, zero_points, axis = self.quantization(raw, index, name, shape)
        data, is_variable = self.constant(raw, index, name, shape, dtype), bool(raw.IsVariable())
        if is_variable and data is not None:
            raise ModelError(
                f"tensor {index} ({name}): a variable with a value; runtimes would begin with another one.",
                hint="convert the model again.",
            )
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=dtype,
            scales=scales,
            zero_points=zero_points,
            quantized_dimension=axis,
            data=data,
            is_variable=is_variable,
        )

    def quantization(self, raw: Any, index: int, name: str, shape: tuple[int, ...]) -> tuple[Array, Array, int]:
        quantization = raw.Quantization()
        empty = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if quantization is None:
            return empty
        count = self.count(quantization.ScaleLength(), f"scales of tensor {index}", 4)
        if count == 0:
            return empty
        scales = np.array(quantization.ScaleAsNumpy(), np.float32)
        zeros = self.count(quantization.ZeroPointLength(), f"zero points of tensor {index}", 8)
        zero_points = np.array(quantization.ZeroPointAsNumpy() if zeros else [], np.int64)
        if not np.all(np.isfinite(scales)) or np.any(scales < 0):
            raise ModelError(f"tensor {index} ({name}): a scale is not a finite number of at least 0.")
        if zeros == 0:
            zero_points = np.zeros(count, np.int64)
        elif zeros != count:
            raise ModelError(f"tensor {index} ({name}): {count} scales but {zeros} zero points.")
        axis = int(quantization.QuantizedDimension())
        if count > 1 and not (0 <= axis < len(shape) and shape[axis] == count):
            raise ModelError(f"tensor {index} ({name}): {count} scales for dimension {axis} of shape {list(shape)}.")
        return scales, zero_points, axis

    def constant(self, raw: Any, index: int, name: str, shape: tuple[int, ...], dtype: str) -> Array | None:
        buffer_index = raw.Buffer()
        if not 0 <= buffer_index < self.model.BuffersLength():
            raise ModelError(f"tensor {index} ({name}): names buffer {buffer_index}, which is not there.")
        content = self.buffer(buffer_index)
        length = len(content)
        if length == 0:
            return None
        elements = math.prod(shape)
        if dtype == "int4":
            if length != (elements + 1) // 2:
                raise ModelError(f"tensor {index} ({name}): {length} bytes for {elements} int4 codes.")
            packed = np.frombuffer(content, np.uint8)
            codes = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:elements].astype(np.int8)
            return np.where(codes > 7, codes - 16, codes).astype(np.int8).reshape(shape)
        if dtype not in _NUMPY_DTYPES:
            return np.frombuffer(content, np.uint8)
        if length != elements * np.dtype(dtype).itemsize:
            raise ModelError(
                f"tensor {index} ({name}): {length:,} bytes for shape {list(shape)} of {dtype}, "
                f"{elements * np.dtype(dtype).itemsize:,} are needed."
            )
        data = np.frombuffer(content, dtype).reshape(shape)
        data.flags.writeable = False
        return data

    def buffer(self, index: int) -> bytes:
        """The bytes of a buffer; tensors may share one, and then share its copy."""
        if index not in self.buffers:
            buffer = self.model.Buffers(index)
            length = self.count(buffer.DataLength(), f"bytes of buffer {index}")
            content = buffer.DataAsNumpy().tobytes() if length else b""
            if len(content) != length:
                raise ModelError(f"damaged: the {length:,} bytes of buffer {index} run past the end of the file.")
            self.buffers[index] = content
        return self.buffers[index]

    def op(self, raw: Any, index: int, tensors: int) -> Op:
        code_index = raw.OpcodeIndex()
        if not 0 <= code_index < self.model.OperatorCodesLength():
            raise ModelError(f"op {index}: names operator code {code_index}, which is not there.")
        code = self.model.OperatorCodes(code_index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = OP_NAMES.get(number, f"BUILTIN_{number}")
        return Op(
            index=index,
            name=name,
            version=int(code.Version()),
            inputs=self.indices(raw.InputsLength(), raw.Inputs, tensors, f"inputs of op {index}", optional=True),
            outputs=self.indices(raw.OutputsLength(), raw.Outputs, tensors, f"outputs of op {index}"),
            options=self.options(raw),
            custom_code=self.text(code.CustomCode(), "bytes of names") if name == "CUSTOM" else "",
        )

    def options(self, raw: Any) -> dict[str, Any]:
        kind = _OPTION_TYPES.get(raw.BuiltinOptionsType())
        table = raw.BuiltinOptions()
        if kind is None or table is None:
            return {}
        options_type = getattr(tflite, kind)
        options = options_type()
        options.Init(table.Bytes, table.Pos)
        result: dict[str, Any] = {}
        for name, member in vars(options_type).items():
            if not _is_field(name, vars(options_type)):
                continue
            if f"{name}Length" in vars(options_type):
                length = self.count(getattr(options, f"{name}Length")(), f"values of {kind}.{name}")
                values = getattr(options, f"{name}AsNumpy")() if length else np.zeros(0, np.int32)
                result[_snake_case(name)] = tuple(values.tolist())
            else:
                value = member(options)
                if isinstance(value, bytes):
                    result[_snake_case(name)] = self.text(value, f"bytes of {kind}.{name}")
                else:
                    result[_snake_case(name)] = _NAME_OPTIONS.get(name, {}).get(value, value)
        return result

    @staticmethod
    def check_order(
        tensors: tuple[Tensor, ...], ops: tuple[Op, ...], inputs: Iterable[int], outputs: Iterable[int]
    ) -> None:
        """Every tensor is there before it is read, and is written once."""
        known = {t.index for t in tensors if t.is_constant or t.is_variable} | set(inputs)
        for op in ops:
            for index in op.inputs:
                # An empty constant has no bytes either, so a shape with a 0 counts as known.
                if index >= 0 and index not in known and tensors[index].elements:
                    raise ModelError(
                        f"{op.where()} reads tensor {index} ({tensors[index].name}) before anything computes it."
                    )
            for index in op.outputs:
                if tensors[index].is_constant or index in known:
                    raise ModelError(f"{op.where()} writes tensor {index} ({tensors[index].name}) a second time.")
                known.add(index)
        for index in outputs:
            if index not in known:
                raise ModelError(f"nothing computes the model output {index} ({tensors[index].name}).")


_OPTION_TYPES: dict[int, str] = {
    value: name
    for name, value in vars(tflite.BuiltinOptions).items()
    if not name.startswith("_") and name != "NONE" and hasattr(tflite, name)
}


def _is_field(name: str, members: Mapping[str, Any]) -> bool:
    if not name[0].isupper() or name == "Init" or name.startswith("GetRootAs"):
        return False
    if name.endswith("BufferHasIdentifier"):
        return False
    for suffix in ("Length", "AsNumpy", "IsNone"):
        if name.endswith(suffix) and name.removesuffix(suffix) in members:
            return False
    return True


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
