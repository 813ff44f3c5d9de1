"""Input vectors: the samples on which a device is compared with the golden answers.

Made vectors take turns between three kinds, so that any prefix holds all of them:

    sample 0, 3, 6, ..  uniform codes over the dtype's whole range
    sample 1, 4, 7, ..  edge patterns: all minimum, all maximum, all zero point, ramps, checkerboards, one hot code
    sample 2, 5, 8, ..  the zero point with every code moved by -3..3
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import tflite
from pipeline.errors import DataError, ModelError, RequestError
from pipeline.model import Array, QuantizedModel, TensorSpec

MAX_SAMPLES = 1_000_000
MAX_UNPACKED_BYTES = 1 << 31

# An int32 or int64 input has no range of its own; it often is an index or a size.
_PLAIN_INTEGERS = (0, 127)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Inputs of all samples.

    inputs holds one array [samples, *shape] a model input, in its dtype. source says where they are from.
    """

    inputs: tuple[Array, ...]
    source: str

    @property
    def samples(self) -> int:
        return len(self.inputs[0])

    @property
    def sha256(self) -> str:
        """One hash of all inputs: dtypes, shapes and bytes."""
        result = hashlib.sha256()
        for array in self.inputs:
            result.update(f"{array.dtype.str} {array.shape}".encode())
            result.update(np.ascontiguousarray(array).tobytes())
        return result.hexdigest()

    def sample(self, index: int) -> tuple[Array, ...]:
        """The inputs of one sample, each of its model input's shape."""
        return tuple(array[index] for array in self.inputs)

    def first(self, count: int) -> Vectors:
        """The first `count` samples."""
        return Vectors(tuple(array[:count] for array in self.inputs), self.source)


def make(model: QuantizedModel, samples: int, seed: int) -> Vectors:
    """Make input vectors; sample i depends on the seed and i only, on every machine and NumPy version.

    A float32 input gets the real values of the codes that the QUANTIZE op behind it makes, moved by fractions of
    a step and with values outside the range.

    Raises:  RequestError: samples or seed is out of range. ModelError: an input's dtype cannot be sampled.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise RequestError(f"{samples} samples were asked for; 1 to {MAX_SAMPLES:,} are possible.")
    if seed < 0:
        raise RequestError(f"seed {seed} is negative; a seed is 0 or more.")
    domains = _domains(model)
    inputs = []
    for position, (spec, domain) in enumerate(zip(model.inputs, domains, strict=True)):
        array = np.empty((samples, *spec.shape), spec.dtype)
        for index in range(samples):
            array[index] = domain.values(_Random(seed, position, index), index, position).reshape(spec.shape)
        array.flags.writeable = False
        inputs.append(array)
    return Vectors(tuple(inputs), f"seed {seed}")


class _Random:
    """Raw PCG64 words: unlike the distributions above them, NumPy guarantees these not to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def integers(self, low: int, high: int, count: int) -> Array:
        """`count` integers in [low, high]; the modulo's bias is below 2**-40 for the ranges used here."""
        words = np.asarray(self._bits.random_raw(count), np.uint64)
        return (words % np.uint64(high - low + 1)).astype(np.int64) + low

    def fractions(self, count: int) -> Array:
        """`count` numbers in [0, 1), multiples of 2**-20."""
        return self.integers(0, (1 << 20) - 1, count) / float(1 << 20)


@dataclass(frozen=True)
class _Domain:
    """The codes an input can take, and the real values they stand for where the input is real (scale > 0)."""

    elements: int
    low: int
    high: int
    zero_point: int
    dtype: str
    scale: float = 0.0

    def values(self, random: _Random, index: int, position: int) -> Array:
        turn, kind = divmod(index, 3)
        if kind == 0:
            codes = random.integers(self.low, self.high, self.elements)
        elif kind == 1:
            codes = self.edge(turn, position)
        else:
            codes = np.clip(self.zero_point + random.integers(-3, 3, self.elements), self.low, self.high)
        if not self.scale:
            return codes.astype(self.dtype)
        steps = (codes - self.zero_point).astype(np.float64)
        if kind == 0:
            # Whole steps, halves (ties) and anything between, and a tenth of the range beyond either end.
            steps = 1.1 * steps + np.where(
                random.integers(0, 1, self.elements) == 0, 0.5, random.fractions(self.elements)
            )
        elif kind == 1 and turn // len(_EDGES) % 2:
            steps = 4.0 * steps  # every second round goes far out of range
        return (steps * self.scale).astype(self.dtype)

    def edge(self, turn: int, position: int) -> Array:
        # In a later round the inputs of a model take different patterns.
        around, pattern = divmod(turn, len(_EDGES))
        return _EDGES[(pattern + around * position) % len(_EDGES)](self, around)

    def full(self, code: int) -> Array:
        return np.full(self.elements, code, np.int64)

    def ramp(self) -> Array:
        return self.low + np.arange(self.elements, dtype=np.int64) % (self.high - self.low + 1)

    def spread(self) -> Array:
        """One ramp from low to high over the whole tensor."""
        steps = max(self.elements - 1, 1)
        return self.low + np.arange(self.elements, dtype=np.int64) * (self.high - self.low) // steps

    def checkerboard(self, first: int, second: int, period: int = 1) -> Array:
        return np.where(np.arange(self.elements) // period % 2 == 0, first, second).astype(np.int64)

    def hot(self, around: int, code: int) -> Array:
        codes = self.full(self.zero_point)
        codes[around * 7919 % self.elements] = code
        return codes


_EDGES: tuple[Callable[[_Domain, int], Array], ...] = (
    lambda d, _: d.full(d.low),
    lambda d, _: d.full(d.high),
    lambda d, _: d.full(d.zero_point),
    lambda d, _: d.ramp(),
    lambda d, _: d.ramp()[::-1],
    lambda d, _: d.checkerboard(d.low, d.high),
    lambda d, _: d.checkerboard(d.high, d.low),
    lambda d, around: d.hot(around, d.high),
    lambda d, around: d.hot(around, d.low),
    lambda d, _: d.spread(),
    lambda d, _: d.spread()[::-1],
    lambda d, around: d.checkerboard(d.low, d.high, 2 + around),
    lambda d, _: d.checkerboard(d.zero_point, d.high),
    lambda d, _: d.checkerboard(d.low, d.zero_point),
)


def _domains(model: QuantizedModel) -> list[_Domain]:
    graph = tflite.read(model.path) if any(spec.dtype == "float32" for spec in model.inputs) else None
    domains = []
    for position, spec in enumerate(model.inputs):
        if spec.elements == 0:
            raise ModelError(f"input {position} ({spec.name}) has shape {list(spec.shape)}: nothing to sample.")
        if spec.dtype in ("int8", "uint8", "int16"):
            limits = np.iinfo(spec.dtype)
            low, high = int(limits.min), int(limits.max)
            zero_point = min(max(spec.zero_point, low), high)
            domains.append(_Domain(spec.elements, low, high, zero_point, spec.dtype))
        elif spec.dtype in ("int32", "int64"):
            domains.append(_Domain(spec.elements, *_PLAIN_INTEGERS, 0, spec.dtype))
        elif spec.dtype == "bool":
            domains.append(_Domain(spec.elements, 0, 1, 0, spec.dtype))
        elif spec.dtype == "float32" and graph is not None:
            domains.append(_real_domain(graph, graph.inputs[position], spec))
        else:
            raise ModelError(f"input {position} ({spec.name}) is {spec.dtype}, for which no samples can be made.")
    return domains


def _real_domain(graph: tflite.Graph, index: int, spec: TensorSpec) -> _Domain:
    for op in graph.ops:
        if op.name == "QUANTIZE" and index in op.inputs:
            code = graph.tensor(op.outputs[0])
            if code.dtype in ("int8", "uint8", "int16") and code.scale > 0:
                limits = np.iinfo(code.dtype)
                return _Domain(spec.elements, int(limits.min), int(limits.max), code.zero_point, "float32", code.scale)
    raise ModelError(
        f"input {spec.name} is float32 and no QUANTIZE reads it, so its range is not known.",
        hint="give samples with --inputs FILE.npz, or convert with int8 inputs.",
    )


def load(path: Path, model: QuantizedModel) -> Vectors:
    """Read input vectors from an .npz file.

    It holds one array [samples, *shape] for each input of the model, under the input's name or as input_0,
    input_1, .. by position. The leading 1 of a shape (the batch) may be left out.

    Raises:  DataError: saying what was found and what is needed.
    """
    arrays = read_npz(path)
    inputs = []
    wanted = [(f"input_{position}", spec) for position, spec in enumerate(model.inputs)]
    for position, spec in wanted:
        key = spec.name if spec.name in arrays else position
        if key not in arrays:
            raise DataError(
                f"{path}: no array for the model's input {spec.name!r}; found: {_listing(arrays)}.",
                hint=f"name the array {position} or {spec.name!r}.",
            )
        inputs.append(_check(arrays.pop(key), spec, f"{path}: array {key!r}"))
    if arrays:
        raise DataError(
            f"{path}: {_listing(arrays)}: the model has no such input; its inputs are "
            + ", ".join(f"{spec.name!r} ({position})" for position, spec in wanted)
            + ".",
            hint="keep other arrays in another file.",
        )
    counts = {len(array) for array in inputs}
    if len(counts) != 1:
        raise DataError(f"{path}: the inputs have different numbers of samples: {sorted(counts)}.")
    return Vectors(tuple(inputs), path.name)


def _check(array: Array, spec: TensorSpec, what: str) -> Array:
    if array.dtype != np.dtype(spec.dtype):
        hint = None
        if spec.scale and array.dtype.kind == "f":
            hint = f"quantize: clip(round(x / {spec.scale:.9g}) + {spec.zero_point}) as {spec.dtype}."
        raise DataError(f"{what} is {array.dtype}; the input {spec.name!r} is {spec.dtype}.", hint=hint)
    shape = spec.shape
    if array.shape[1:] != shape and shape[:1] == (1,) and array.shape[1:] == shape[1:]:
        array = array.reshape(-1, *shape)
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise DataError(
            f"{what} has shape {list(array.shape)}; [samples, {', '.join(map(str, shape))}] is needed."
            if shape
            else f"{what} has shape {list(array.shape)}; [samples] is needed."
        )
    if not 1 <= len(array) <= MAX_SAMPLES:
        raise DataError(f"{what} holds {len(array)} samples; 1 to {MAX_SAMPLES:,} are possible.")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise DataError(f"{what} holds a NaN or an infinity; finite values are needed.")
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _listing(arrays: dict[str, Array]) -> str:
    return ", ".join(repr(name) for name in sorted(arrays)) or "nothing"


def read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file, which may come from anywhere: nothing is unpickled, sizes are checked first.

    Raises:  DataError: the file is missing, damaged, too large, or holds Python objects.
    """
    hint = "numpy.savez writes such files; golden answers are in golden.npz of a run's work folder."
    if path.exists() and not path.is_file():  # a device may have no end
        raise DataError(f"{path}: not a file; an .npz file is needed.", hint=hint)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED_BYTES:
            raise DataError(f"{path}: {unpacked:,} bytes unpacked; at most {MAX_UNPACKED_BYTES:,} are read.")
        with np.load(path, allow_pickle=False) as content:
            arrays = {str(name): content[name] for name in content.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.", hint="check the path of the .npz file.") from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not an .npz file, or cut short: {error}.", hint=hint) from error
    except (OSError, EOFError, KeyError, ValueError, TypeError, MemoryError, OverflowError, SyntaxError,
            NotImplementedError, RuntimeError, zlib.error) as error:  # fmt: skip
        raise DataError(f"{path}: cannot be read as an .npz file: {error}.", hint=hint) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject or array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {name!r} is not an array of numbers.", hint=hint)
    return arrays
