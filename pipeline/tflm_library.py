"""TFLM libraries: which one a board's framework brings, and what each can and cannot do.

The recipe's `tflm: library:`, else the environment's TENSORFLASH_TFLM_LIBRARY, names another: a folder that is ready
for PlatformIO, or an entry of lib_deps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.board import Board
from pipeline.errors import ToolError

VARIABLE = "TENSORFLASH_TFLM_LIBRARY"

_INTERPRETER = "tensorflow/lite/micro/micro_interpreter.h"
_FULLY_CONNECTED = "tensorflow/lite/micro/kernels/fully_connected.h"

# Source: micro_mutable_op_resolver.h at the last commit before each snapshot, compared with 2026-08.
_SINCE_2024_07 = frozenset({"DYNAMIC_UPDATE_SLICE", "REDUCE_ALL", "REDUCE_MIN", "REVERSE_V2"})

# The newest version of an op that TensorFlow 2.14 (2023-10) knows, where today's knows a newer one; found by asking the
# interpreters of tflite-runtime 2.14 and ai-edge-litert 2.3 for each. TFLM itself does not look at versions: it would
# miss what a newer one means, without a word.
_VERSIONS_OF_2023_10: Mapping[str, int] = {
    "ADD": 5, "BROADCAST_TO": 3, "CAST": 5, "CONCATENATION": 4, "CONV_2D": 7, "COS": 1, "DEQUANTIZE": 5,
    "EMBEDDING_LOOKUP": 3, "EQUAL": 4, "FILL": 4, "FULLY_CONNECTED": 10, "GATHER": 6, "GATHER_ND": 4, "LOG": 1,
    "MUL": 7, "NOT_EQUAL": 3, "PACK": 4, "PAD": 4, "PADV2": 4, "QUANTIZE": 3, "RSQRT": 2, "SIN": 1, "SLICE": 6,
    "SOFTMAX": 3, "SPLIT": 4, "SPLIT_V": 2, "SQRT": 1, "TRANSPOSE": 6, "TRANSPOSE_CONV": 4, "UNPACK": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Library:
    """One TFLM library.

    dependency: what the project asks for: an entry of lib_deps, for ESP-IDF a component and its version.
    api:        generation of MicroInterpreter's constructor, as TFLASH_TFLM_API (firmware/templates/tflm/model.cc.j2).
    per_channel_dense: what it makes of FULLY_CONNECTED with a scale for each output: "right", "refused" when the
                firmware starts, or "wrong": it takes the first scale for all and says nothing.
    lacks:      ops of today's TFLM that it does not have.
    versions:   the newest version of an op that was there when it was made, where there are newer ones.
    rounding:   of requantization. Golden answers round twice.
    """

    name: str
    dependency: str
    api: int
    per_channel_dense: str
    kernels: str
    rounding: str
    lacks: frozenset[str] = frozenset()
    versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def can_trace(self) -> bool:
        """Whether it can keep all tensors, which a trace build needs."""
        return self.api >= 2


CHIRALE = Library(
    name="Chirale_TensorFLowLite 2.0",
    dependency="spaziochirale/Chirale_TensorFLowLite@^2.0.0",
    api=1,
    per_channel_dense="wrong",
    kernels="CMSIS-NN",
    rounding="twice",
    lacks=_SINCE_2024_07,
    versions=_VERSIONS_OF_2023_10,
)
ESP_TFLITE_MICRO = Library(
    name="esp-tflite-micro 1.4",
    dependency="espressif/esp-tflite-micro@~1.4.0",
    api=2,
    per_channel_dense="right",
    kernels="ESP-NN",
    rounding="twice",
)
EXISTING = (
    CHIRALE,
    ESP_TFLITE_MICRO,
    Library(
        name="tflm_cortexm 1.0",
        dependency="eloquentarduino/tflm_cortexm@^1.0.0",
        api=1,
        per_channel_dense="wrong",
        kernels="CMSIS-NN",
        rounding="twice",
        lacks=_SINCE_2024_07,
        versions=_VERSIONS_OF_2023_10,
    ),
    Library(
        name="tflm_esp32 2.0",
        dependency="eloquentarduino/tflm_esp32@^2.0.0",
        api=2,
        per_channel_dense="refused",
        kernels="ESP-NN, precompiled for ESP32-S3",
        rounding="twice",
        lacks=_SINCE_2024_07,
        versions=_VERSIONS_OF_2023_10,
    ),
)
BY_FRAMEWORK: Mapping[str, Library] = {"arduino": CHIRALE, "espidf": ESP_TFLITE_MICRO}


def choose(board: Board | None, wanted: str | None = None) -> Library | None:
    """The library of a board's tflm projects; None where its framework has none and nobody named one.

    Args:    wanted: a folder or an entry of lib_deps; default: what the environment names.
    Raises:  ToolError: the folder is not a TFLM library, or nothing is known of the one that is named.
    """
    wanted = wanted or os.environ.get(VARIABLE) or None
    if wanted is None:
        return BY_FRAMEWORK.get(board.platformio.framework) if board and board.platformio else None
    name = wanted.rsplit("@", 1)[0].lower()
    for library in EXISTING:
        if name in (
            library.dependency.rsplit("@", 1)[0].lower(),
            library.dependency.split("/")[1].split("@")[0].lower(),
        ):
            return library
    return _from_folder(Path(wanted).expanduser())


def require(board: Board, wanted: str | None = None) -> Library:
    """As choose, where a project is to be built.

    Raises:  ToolError: there is no library.
    """
    library = choose(board, wanted)
    if library is None:
        raise ToolError(
            f"{board.id}: the tflm runtime needs the TFLM library, and there is none for this board: PlatformIO's "
            "registry has it for frameworks only (arduino, espidf), and no folder was given.",
            hint=f"--runtime aot, which needs no library; or name a folder that is ready for PlatformIO: in the recipe "
            f"`tflm: {{library: FOLDER}}`, else in the environment {VARIABLE}=FOLDER.",
        )
    return library


def _from_folder(folder: Path) -> Library:
    """What a library's own headers say of it. It has to be compiled with TF_LITE_STATIC_MEMORY, as projects are."""
    roots = [root for root in (folder, folder / "src") if (root / _INTERPRETER).is_file()]
    if not roots:
        raise ToolError(
            f"{folder}: not a TFLM library: {_INTERPRETER} is neither there nor in src.",
            hint="give the folder that holds TFLM's `tensorflow` folder, or one of "
            + ", ".join(library.dependency for library in EXISTING)
            + ".",
        )
    if not any((folder / name).is_file() for name in ("library.json", "library.properties")):
        raise ToolError(
            f"{folder}: not ready for PlatformIO: it has neither library.json nor library.properties.",
            hint="https://docs.platformio.org/en/latest/manifests/library-json/index.html",
        )
    try:
        interpreter = (roots[0] / _INTERPRETER).read_text(encoding="utf-8", errors="replace")
        header = roots[0] / _FULLY_CONNECTED
        dense = header.read_text(encoding="utf-8", errors="replace") if header.is_file() else ""
    except OSError as error:
        raise ToolError(f"{folder}: cannot be read: {error.strerror}.") from error
    return Library(
        name=f"the library in {folder.name}",
        dependency=f"symlink://{folder.resolve()}",
        api=2 if "preserve_all_tensors" in interpreter else 0 if "ErrorReporter*" in interpreter else 1,
        per_channel_dense="right" if "per_channel" in dense else "wrong",
        kernels="its own",
        rounding="as it was compiled",
    )
