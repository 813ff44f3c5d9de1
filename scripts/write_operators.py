"""Write docs/operators.md: what the aot runtime has a kernel for. --check only says whether it is current."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from generated import write_or_check

from pipeline.aot.ops import LOWERINGS
from pipeline.aot.variants import Variant

PATH = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
KERNELS = PATH.parent.parent / "firmware" / "kernels"

HEAD = """\
# Operators of the aot runtime

Written by `scripts/write_operators.py` from the lowerings in `pipeline/aot/ops/`. Each of these ops gives TFLM's bytes,
or is refused with its number and the reason; what TFLM has no kernel for is refused here as well. Kernels with `_w4`
are for int4 weights, those with `s16` for int16 codes (with weights of int8).

A layer gets the rightmost kernel that its core can run and that can compute it; all give the same bytes.
`tensorflash check MODEL --board ID` says which one each layer gets, and why. The features of a board are in
[boards.md](boards.md): `dsp` is Armv7E-M and Armv8-M with DSP (Cortex-M4, M7, M33, M55), `mve` is Helium (Cortex-M55).
All other cores (Cortex-M0, M0+, M3, RISC-V, Xtensa, the host) run portable C.

| op | types | portable C | `dsp` | `mve` | |
|---|---|---|---|---|---|
"""

FEATURES = ("dsp", "mve")

# Of ops that take more than int8; weights and biases are as TFLite has them. "->": what goes in and what comes out.
TYPES = {
    "ADD": "int8, int16",
    "ARG_MAX": "int8 -> int32",
    "ASSIGN_VARIABLE": "int8, int16, int32, int64",
    "AVERAGE_POOL_2D": "int8, int16",
    "BATCH_TO_SPACE_ND": "int8, float32",
    "CALL_ONCE": "-",
    "CAST": "int8, int16, int32, bool -> the same",
    "CONCATENATION": "int8, int16, int32, int64, float32, bool",
    "CONV_2D": "int8, int16; weights int8, with int8 also int4",
    "DEPTHWISE_CONV_2D": "int8, int16; weights int8, with int8 also int4",
    "DEPTH_TO_SPACE": "int8, float32",
    "DEQUANTIZE": "int8, uint8, int16 -> float32",
    "EXPAND_DIMS": "int8, int16, float32",
    "FULLY_CONNECTED": "int8, int16; weights int8, with int8 also int4",
    "GATHER": "int8, float32; indices int32",
    "LEAKY_RELU": "int8, int16",
    "LOGISTIC": "int8, int16",
    "MAXIMUM": "int8, int16",
    "MAX_POOL_2D": "int8, int16",
    "MEAN": "int8, int16",
    "MINIMUM": "int8, int16",
    "MUL": "int8, int16",
    "NEG": "-",
    "PACK": "int8, int16, int32, int64, float32",
    "PAD": "int8, int16",
    "PADV2": "int8, int16",
    "QUANTIZE": "float32 -> int8, int16; int8, uint8, int16 -> others of them, int32",
    "READ_VARIABLE": "int8, int16, int32, int64",
    "RELU": "int8, int16",
    "RELU6": "int8, int16",
    "RESHAPE": "int8, uint8, int16, int32, int64, float32, bool",
    "REVERSE_V2": "int8, int16, int32, int64, float32, bool",
    "SLICE": "int8, int16, int32, float32, bool",
    "SOFTMAX": "int8, int16",
    "SPACE_TO_BATCH_ND": "int8, float32",
    "SPACE_TO_DEPTH": "int8, float32",
    "SPLIT": "int8, int16, int32, float32",
    "SPLIT_V": "int8, int16, int32, float32",
    "SQUEEZE": "int8, uint8, int16, int32, int64, float32, bool",
    "STRIDED_SLICE": "int8, int16, int32, float32, bool",
    "SUB": "int8, int16",
    "SUM": "int8, int16",
    "SVDF": "int8; state and weights of time int8 or int16",
    "TANH": "int8, int16",
    "TRANSPOSE": "int8, int16, float32",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "int8; cell state int16",
    "UNPACK": "int8, int16, int32, float32",
    "VAR_HANDLE": "-",
}


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"| {' | '.join(_row(op))} |\n" for op in sorted(LOWERINGS))


def _row(op: str) -> tuple[str, ...]:
    lowering = LOWERINGS[op]
    text = " ".join((inspect.getdoc(lowering) or "").split()).split(" Source")[0]
    names = re.findall(r"[A-Z]+(?:_[A-Z]+)*", text)
    module = vars(inspect.getmodule(lowering))
    kernels = [kernel for name in dict.fromkeys(names) for kernel in _variants(module.get(name))]
    kernels += [stem for name in re.findall(r"tflash_([a-z0-9_]+\*?)", text) for stem in _stems(name)]
    remark = re.sub(r"^One call of [^.:;,]*[.:;,] ?", "", text)
    columns = {feature: [k for k in kernels if k.endswith(f"_{feature}")] for feature in FEATURES}
    portable = [k for k in kernels if not any(k in column for column in columns.values())]
    return (
        f"`{op}`",
        TYPES.get(op, "int8"),
        *(", ".join(f"`{k}`" for k in column) or "-" for column in (portable, *columns.values())),
        remark[:1].upper() + remark[1:],
    )


def _variants(value: object) -> list[str]:
    """The kernels of a table of variants, the portable one first."""
    if not isinstance(value, tuple) or not all(isinstance(v, Variant) for v in value):
        return []
    return list(dict.fromkeys(variant.kernel for variant in reversed(value)))


def _stems(pattern: str) -> list[str]:
    return sorted(path.stem for path in KERNELS.glob(f"{pattern}.c"))


if __name__ == "__main__":
    sys.exit(write_or_check(PATH, page()))
