"""Golden answers: what TFLM's reference kernels say on the host, kept in a file for hosts that cannot run them.

The file is an .npz: `meta` (JSON as bytes), input_0 .., output_0 .. [samples, *shape], and
layer_<tensor index> [layer_samples, *shape]. Equal answers give equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import interpreters, tflite
from pipeline.errors import DataError, RequestError
from pipeline.model import Array, Layer, QuantizedModel
from pipeline.tflite import Graph
from pipeline.vectors import Vectors, read_npz

FORMAT = 1
LAYER_SAMPLES = 12  # four of each kind of pipeline.vectors


@dataclass(frozen=True, eq=False)
class Golden:
    """Answers every device has to give, byte for byte.

    outputs holds one array [samples, *shape] a model output. layers holds [layer_samples, *shape] by the tensor's
    index in the file, of the first layer_samples samples. source names the interpreter and its version.
    """

    model_sha256: str
    vectors: Vectors
    outputs: tuple[Array, ...]
    layers: Mapping[int, Array]
    layer_samples: int
    source: str

    @property
    def samples(self) -> int:
        return self.vectors.samples

    def require_layers(self, layers: Sequence[Layer]) -> None:
        """Raises:  DataError: these answers lack a layer that is to be compared."""
        missing = [layer for layer in layers if layer.tensor_index not in self.layers]
        if self.layer_samples and missing:
            raise DataError(
                f"the golden answers lack {len(missing)} of {len(layers)} layers: op {missing[0].op_index} "
                f"({missing[0].op}), {missing[0].tensor}.",
                hint="save them again with this version; until then leave --golden out.",
            )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:  RequestError: the folder cannot be written.
        """
        meta = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "source": self.source,
            "vectors": self.vectors.source,
            "inputs": len(self.vectors.inputs),
            "outputs": len(self.outputs),
            "layers": sorted(self.layers),
            "layer_samples": self.layer_samples,
        }
        arrays = {"meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)}
        arrays |= {f"input_{i}": array for i, array in enumerate(self.vectors.inputs)}
        arrays |= {f"output_{i}": array for i, array in enumerate(self.outputs)}
        arrays |= {f"layer_{i}": self.layers[i] for i in sorted(self.layers)}
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            try:
                partial.write_bytes(_npz(arrays))
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise RequestError(
                f"{path}: cannot be written: {error.strerror}.", hint="another folder, or free space on this one."
            ) from error


def _npz(arrays: Mapping[str, Array]) -> bytes:
    """An .npz without time stamps or compression, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            np.lib.format.write_array(member, little, (1, 0), allow_pickle=False)  # type: ignore[no-untyped-call]
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def compute(
    model: QuantizedModel, vectors: Vectors, layers: Sequence[Layer], layer_samples: int = LAYER_SAMPLES
) -> Golden:
    """Ask TFLM's host interpreter.

    Args:    layers: the tensors to keep, of the first `layer_samples` samples.
    Raises:  ToolError: there is no tflite-micro. UnsupportedError, ModelError: TFLM cannot run the model.
    """
    layer_samples = min(layer_samples, vectors.samples)
    indices = sorted({layer.tensor_index for layer in layers})
    run = interpreters.tflm(model, vectors.inputs, indices, layer_samples)
    shapes = {layer.tensor_index: layer.shape for layer in layers}
    return Golden(
        model_sha256=model.sha256,
        vectors=vectors,
        outputs=run.outputs,
        layers={index: array.reshape(-1, *shapes[index]) for index, array in run.layers.items()},
        layer_samples=layer_samples,
        source=f"{run.package} {run.version}",
    )


def load(path: Path, model: QuantizedModel) -> Golden:
    """Read golden answers that were saved, and check that they are this model's.

    Raises:  DataError: the file is missing, damaged, or belongs to another model.
    """
    arrays = read_npz(path)
    hint = "golden answers are saved by `tensorflash run` on a host that has tflite-micro."
    try:
        meta: dict[str, Any] = json.loads(arrays.pop("meta").astype(np.uint8).tobytes())
        found, version = meta["model_sha256"], meta["format"]
        layers = [int(index) for index in meta["layers"]]
        layer_samples = int(meta["layer_samples"])
        source, origin = str(meta["source"])[:200], str(meta["vectors"])[:200]
    except (KeyError, ValueError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path}: not a file of golden answers ({type(error).__name__}: {error}).", hint=hint
        ) from error
    if version != FORMAT:
        raise DataError(f"{path}: format {version!r}; this tensorflash reads format {FORMAT}.", hint=hint)
    if found != model.sha256:
        raise DataError(
            f"{path}: golden answers of another model (sha256 {str(found)[:64]}); {model.path} is {model.sha256}.",
            hint="give the file that was saved for this very .tflite, or leave --golden out.",
        )
    graph = tflite.read(model.path)
    taken = _Taker(path, arrays)
    inputs = tuple(taken(f"input_{i}", s.shape, s.dtype, None) for i, s in enumerate(model.inputs))
    samples = len(inputs[0])
    inputs = (inputs[0], *(_same(path, array, samples) for array in inputs[1:]))
    outputs = tuple(taken(f"output_{i}", s.shape, s.dtype, samples) for i, s in enumerate(model.outputs))
    if not 0 <= layer_samples <= samples:
        raise DataError(f"{path}: layers of {layer_samples} samples, of {samples} in all.", hint=hint)
    kept: dict[int, Array] = {}
    for index in layers:
        if not 0 <= index < len(graph.tensors):
            raise DataError(
                f"{path}: a layer of tensor {index}; the model has {len(graph.tensors)} tensors.", hint=hint
            )
        tensor = graph.tensor(index)
        kept[index] = taken(f"layer_{index}", tensor.shape, tensor.dtype, layer_samples)
    return Golden(found, Vectors(inputs, origin), outputs, kept, layer_samples, source)


class _Taker:
    """Takes arrays out of what was read, each checked."""

    def __init__(self, path: Path, arrays: Mapping[str, Array]) -> None:
        self.path = path
        self.arrays = arrays

    def __call__(self, name: str, shape: tuple[int, ...], dtype: str, samples: int | None) -> Array:
        array = self.arrays.get(name)
        if array is None:
            raise DataError(f"{self.path}: {name} is missing.", hint="save the golden answers again.")
        count = "samples" if samples is None else samples
        if (
            array.dtype != np.dtype(dtype)
            or array.ndim != len(shape) + 1
            or array.shape[1:] != shape
            or not (len(array) if samples is None else len(array) == samples)
        ):
            raise DataError(
                f"{self.path}: {name} is {array.dtype} {list(array.shape)}; {dtype} {[count, *shape]} is needed.",
                hint="save the golden answers again.",
            )
        return np.ascontiguousarray(array)


def _same(path: Path, array: Array, samples: int) -> Array:
    if len(array) != samples:
        raise DataError(f"{path}: an input of {len(array)} samples beside one of {samples}.")
    return array


def all_layers(graph: Graph) -> tuple[Layer, ...]:
    """Every tensor that an op computes, in the file's order; handles of variables have no bytes to show."""
    return tuple(
        Layer(op.index, op.name, index, tensor.name, tensor.shape, tensor.dtype, tensor.bytes)
        for op in graph.ops
        for index in op.outputs
        for tensor in (graph.tensor(index),)
        if tensor.dtype != "resource"
    )
