"""Training, test and representative data: arrays of the user's become a Dataset, checked.

    an .npz file           x_train, y_train, x_test, y_test, x_representative
    a factory's result     a mapping, or an object with these attributes:
                           train (x_train, y_train), test (x_test, y_test), representative x_representative

    x_*  numbers [samples, ...], finite; kept as float32, in the units the model is fed with. With an input contract
         (pipeline.contract) they are given raw, and become that here
    y_*  class numbers [samples], integers from 0

What a recipe does not need may be left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contract import Contract
from pipeline.errors import DataError
from pipeline.model import Array, TensorSpec
from pipeline.vectors import read_npz

PARTS = ("train", "test", "representative")


@dataclass(frozen=True, eq=False)
class Samples:
    """x float32 [samples, ...] in real units, y int64 [samples] class numbers."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a recipe's data section gave; a part that is not there is None. representative is float32 [samples, ...]."""

    train: Samples | None = None
    test: Samples | None = None
    representative: Array | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""
        arrays = [part.x for part in (self.train, self.test) if part is not None]
        if self.representative is not None:
            arrays.append(self.representative)
        return tuple(arrays[0].shape[1:])

    @property
    def classes(self) -> int:
        """One more than the largest class number."""
        return 1 + max((int(part.y.max()) for part in (self.train, self.test) if part is not None), default=-1)


def from_npz(path: Path, needed: Collection[str], contract: Contract | None = None) -> Dataset:
    """Read an .npz file.

    Args:    needed: the parts (of PARTS) that have to be there. contract: what x_* are; without one, what the model is
             fed with.
    Raises:  DataError: naming the array, what was found and what is needed.
    """
    arrays = read_npz(path)
    known = [f"{axis}_{part}" for part in PARTS for axis in "xy" if (axis, part) != ("y", "representative")]
    for name in arrays:
        if name not in known:
            raise DataError(f"{path}: an array {name!r}; it may hold {', '.join(known)}.")
    return _checked(arrays, str(path), needed, contract)


def from_factory(value: object, where: str, needed: Collection[str], contract: Contract | None = None) -> Dataset:
    """Check what a data factory returned; `where` begins every message, the rest is as in from_npz.

    Raises:  DataError: naming the array, what was found and what is needed.
    """
    if isinstance(value, Mapping):
        unknown = [str(name) for name in value if name not in PARTS]
        if unknown:
            raise DataError(f"{where}: returned a part {unknown[0]!r}; the parts are {', '.join(PARTS)}.")
        parts = {name: value.get(name) for name in PARTS}
    else:
        parts = {name: getattr(value, name, None) for name in PARTS}
        if all(part is None for part in parts.values()):
            raise DataError(
                f"{where}: returned {type(value).__name__}; a mapping with {', '.join(PARTS)} is needed.",
                hint='return {"train": (x, y), "test": (x, y), "representative": x}.',
            )
    arrays: dict[str, object] = {}
    for name in ("train", "test"):
        pair = parts[name]
        if pair is None:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"{where}: {name} is {_kind(pair)}; a pair (x, y) of arrays is needed.")
        arrays[f"x_{name}"], arrays[f"y_{name}"] = pair
    if parts["representative"] is not None:
        arrays["x_representative"] = parts["representative"]
    return _checked(arrays, where, needed, contract)


def save(dataset: Dataset, folder: Path) -> None:
    """Write a dataset as .npy files: equal bytes for equal data."""
    for name, array in _arrays(dataset).items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load(folder: Path) -> Dataset:
    """Read what `save` wrote.

    Raises:  DataError: a file is damaged.
    """
    try:
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("[xy]_*.npy")}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder}: the saved data cannot be read: {error}.", hint="run again with --force.") from error
    return _dataset(arrays)


def quantized(x: Array, spec: TensorSpec) -> Array:
    """Real samples [samples, ...] as the codes of a model input, [samples, *spec.shape].

    code = clamp(round(x / scale) + zero_point), in float32, ties away from zero. A float32 input is only reshaped.
    Raises:  DataError: the samples have another shape than the input.
    Source:  TFLite's AffineQuantize, tensorflow/lite/kernels/internal/reference/quantize.h.
    """
    if tuple(x.shape[1:]) not in (spec.shape, spec.shape[1:]):
        raise DataError(
            f"samples have shape {list(x.shape[1:])}; the model's input {spec.name} has {list(spec.shape)}.",
            hint="reshape the data to what the model takes.",
        )
    x = x.astype(np.float32).reshape(len(x), *spec.shape)
    if spec.dtype == "float32":
        return x
    with np.errstate(over="ignore", invalid="ignore"):  # infinity saturates
        ratio = x / np.float32(spec.scale)
        whole = np.trunc(ratio)
        # A fraction is exact in float32, adding 0.5 to the ratio is not.
        rounded = whole + np.where(np.abs(ratio - whole) >= np.float32(0.5), np.sign(ratio), np.float32(0))
    limits = np.iinfo(spec.dtype)
    codes: Array = np.clip(rounded.astype(np.float64) + spec.zero_point, limits.min, limits.max)
    return codes.astype(spec.dtype)


def _arrays(dataset: Dataset) -> dict[str, Array]:
    arrays = {}
    for name, part in (("train", dataset.train), ("test", dataset.test)):
        if part is not None:
            arrays[f"x_{name}"], arrays[f"y_{name}"] = part.x, part.y
    if dataset.representative is not None:
        arrays["x_representative"] = dataset.representative
    return arrays


def _dataset(arrays: Mapping[str, Array]) -> Dataset:
    def samples(name: str) -> Samples | None:
        return Samples(arrays[f"x_{name}"], arrays[f"y_{name}"]) if f"x_{name}" in arrays else None

    return Dataset(samples("train"), samples("test"), arrays.get("x_representative"))


def _checked(raw: Mapping[str, object], where: str, needed: Collection[str], contract: Contract | None) -> Dataset:
    arrays: dict[str, Array] = {}
    for part in PARTS:
        x_name, y_name = f"x_{part}", f"y_{part}"
        if part == "representative":
            if x_name in raw:
                arrays[x_name] = _inputs(raw[x_name], x_name, where, contract)
        elif x_name in raw or y_name in raw:
            for name, other in ((x_name, y_name), (y_name, x_name)):
                if name not in raw:
                    raise DataError(f"{where}: there is {other} but no {name}.")
            arrays[x_name] = _inputs(raw[x_name], x_name, where, contract)
            arrays[y_name] = _classes(raw[y_name], y_name, where)
            if len(arrays[x_name]) != len(arrays[y_name]):
                raise DataError(
                    f"{where}: {x_name} has {len(arrays[x_name])} samples, {y_name} has {len(arrays[y_name])}."
                )
        if part in needed and x_name not in arrays:
            hint = "some 200 samples of the training data will do." if part == "representative" else None
            raise DataError(f"{where}: no {part} data ({x_name}), which this recipe needs.", hint=hint)
    shapes = {name: array.shape[1:] for name, array in arrays.items() if name.startswith("x_")}
    first = next(iter(shapes), None)
    for name, shape in shapes.items():
        if first is not None and shape != shapes[first]:
            raise DataError(
                f"{where}: samples of {name} have shape {list(shape)}, those of {first} {list(shapes[first])}."
            )
    return _dataset(arrays)


def _inputs(value: object, name: str, where: str, contract: Contract | None) -> Array:
    array = _numbers(value, name, where)
    if array.ndim < 2:
        raise DataError(f"{where}: {name} has shape {list(array.shape)}; [samples, ...] is needed.")
    if array.size == 0:
        raise DataError(f"{where}: {name} is empty: its shape is {list(array.shape)}.")
    with np.errstate(over="ignore"):
        given = array if contract is None else contract.real(array, f"{where}: {name}")
        array = np.ascontiguousarray(given, np.float32)
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise DataError(
            f"{where}: {name} holds NaN or infinity (as float32) in {int(bad.sum())} of {len(array)} samples, "
            f"first in sample {int(bad.argmax())}."
        )
    if name == "x_representative" and array.min() == array.max():
        raise DataError(
            f"{where}: every value of {name} is {float(array.flat[0]):g}; the model's ranges cannot be learnt from it.",
            hint="give some 200 different samples of the training data.",
        )
    return array


def _classes(value: object, name: str, where: str) -> Array:
    array = _numbers(value, name, where)
    if array.ndim != 1:
        hint = "y.argmax(axis=1) turns one-hot rows into class numbers." if array.ndim == 2 else None
        raise DataError(f"{where}: {name} has shape {list(array.shape)}; [samples] is needed.", hint=hint)
    if array.dtype.kind not in "iu":
        raise DataError(f"{where}: {name} is {array.dtype}; class numbers are integers from 0.")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < 2**31:
        raise DataError(f"{where}: {name} runs from {array.min()} to {array.max()}; class numbers start at 0.")
    return np.ascontiguousarray(array, np.int64)


def _numbers(value: object, name: str, where: str) -> Array:
    if not isinstance(value, np.ndarray):
        raise DataError(f"{where}: {name} is {_kind(value)}; a NumPy array is needed.")
    if value.dtype.kind not in "iuf":
        raise DataError(f"{where}: {name} is {value.dtype}; numbers (a float or integer dtype) are needed.")
    return value


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
