"""The values that flow between stages. All are frozen; none knows where it came from.

Recipe -> QuantizedModel -> Export -> Image -> Inference -> Verdict
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """A model input or output.

    dtype is NumPy's name for it. real = scale * (code - zero_point); scale is 0.0 for a tensor without
    quantization (float32, int32).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class QuantizedModel:
    """All that leaves TensorFlow: an int8 .tflite file and what goes in and out of it."""

    path: Path
    sha256: str
    name: str  # a C identifier made from the file's name
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Layer:
    """One tensor a trace build shows, in the order it is computed.

    op_index and tensor_index are the .tflite file's; op is TFLite's name.
    """

    op_index: int
    op: str
    tensor_index: int
    tensor: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class HiddenLayer:
    """A tensor of the .tflite file that no build computes, because its op is part of another one or of no use."""

    op_index: int
    op: str
    tensor_index: int
    tensor: str
    reason: str


@dataclass(frozen=True)
class KernelChoice:
    """How one op is carried out, and why so."""

    op_index: int
    op: str
    kernel: str  # C function, or "" where nothing is left to do at run time
    reason: str
    output_shape: tuple[int, ...]
    macs: int
    weight_bytes: int


@dataclass(frozen=True)
class ArenaSlot:
    """One tensor's place in the arena: bytes [offset, offset + size) from step `first` to step `last`."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class ContractHeader:
    """The header of an Export's preprocessing and class labels (pipeline.preprocessing).

    raw_type is the C type that <name>_preprocess reads, "" if there is none; in_place: raw values may lie in the
    model's input. labels counts the names in <name>_labels.
    """

    path: str
    raw_type: str
    in_place: bool
    labels: int


@dataclass(frozen=True)
class Export:
    """A model as source files for one runtime: what a PlatformIO library is rendered from.

    files maps a path relative to the library's src folder to its content. symbol is the C name of its
    `const struct tflash_model` (firmware/runtime/model.h); header is the file that declares it.
    """

    runtime: str
    model: QuantizedModel
    symbol: str
    header: str
    files: Mapping[str, bytes]
    arena_bytes: int
    arena_lower_bound: int
    weights_bytes: int  # weights and biases
    constant_bytes: int  # all arrays in flash, weights included
    macs: int
    kernels: tuple[KernelChoice, ...]
    layers: tuple[Layer, ...]
    arena: tuple[ArenaSlot, ...] = ()
    lib_deps: tuple[str, ...] = ()
    language: str = "c"  # or "c++"
    notes: tuple[str, ...] = ()
    contract: ContractHeader | None = None
    hidden: tuple[HiddenLayer, ...] = ()
    fast_arena_bytes: int = 0  # those of arena_bytes, at the end, that lie in fast RAM

    @property
    def arenas(self) -> dict[str, int]:
        """Bytes of the arena in each RAM, as JSON has it."""
        return {"ram": self.arena_bytes - self.fast_arena_bytes, "fast_ram": self.fast_arena_bytes}


@dataclass(frozen=True)
class Image:
    """Firmware that was built, and its size. Figures are bytes, those named model_* of the release build only.

    flash_bytes and ram_bytes are the release build's whole image (ram without stack).
    """

    environment: str
    elf: Path
    sha256: str
    flash_bytes: int
    ram_bytes: int
    sections: Mapping[str, int] = field(default_factory=dict)
    model_flash_bytes: int = 0
    model_ram_bytes: int = 0


@dataclass(frozen=True)
class Inference:
    """What a device answered to one sample.

    outputs holds one array a model output. count is what the device's counter said, in `count_unit`
    ("instructions" or "cycles"), or None where it has none.
    """

    outputs: tuple[Array, ...]
    count: int | None = None
    layers: tuple[Array, ...] | None = None  # in the order of Export.layers, from a trace build


@dataclass(frozen=True)
class Divergence:
    """The first byte that differs, in the earliest op that differs on that sample."""

    sample: int
    op_index: int
    op: str
    tensor: str
    index: int
    expected: int | float
    actual: int | float


@dataclass(frozen=True)
class Verdict:
    """The comparison of a device's answers with the golden ones, in bytes.

    wrong_samples holds, for each layer that was compared, on how many of the layer_samples it differs.
    """

    samples: int
    mismatched_samples: int
    mismatched_bytes: int
    max_abs_diff: float
    layers_compared: int
    layer_mismatches: int
    layer_samples: int
    first_divergence: Divergence | None
    wrong_samples: tuple[int, ...] = ()

    @property
    def exact(self) -> bool:
        return self.mismatched_samples == 0 and self.layer_mismatches == 0
