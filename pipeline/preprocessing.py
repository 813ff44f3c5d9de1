"""The input contract as C: an Export gets a header with the normalisation and the class labels, and a function that
turns raw values into the model's input.

    <name>_contract.h, <name>_contract.c, and one of the kernels
    preprocess_table    uint8 to codes, one look-up a value: what the host makes of all 256 raw values, for each channel
    preprocess_affine   the formula, for all else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline import __version__, data
from pipeline.aot.emit import C_TYPES, c_float, c_values, kernel_files
from pipeline.contract import Contract
from pipeline.errors import DataError, UnsupportedError
from pipeline.model import Array, ContractHeader, Export, TensorSpec
from pipeline.rendering import render

MAX_TABLES = 4  # of 256 bytes each: beyond that the formula is smaller
_RAW_TYPES = {"uint8": "TFLASH_PREPROCESS_U8", "int16": "TFLASH_PREPROCESS_S16", "float32": "TFLASH_PREPROCESS_F32"}
_OUTPUT_TYPES = {"int8": "TFLASH_PREPROCESS_S8"} | _RAW_TYPES


def attach(export: Export, contract: Contract | None, labels: Sequence[str]) -> Export:
    """The Export with what its application needs to know of the recipe; unchanged if the recipe says nothing.

    Raises:  DataError: the contract or the labels are not this model's. UnsupportedError: its input is of a type that
             no contract is for.
    """
    if contract is None and not labels:
        return export
    name = export.model.name
    _require_labels(export, labels)
    values: dict[str, object] = {
        "name": name,
        "upper": name.upper(),
        "guard": f"{name.upper()}_CONTRACT_H",
        "version": __version__,
        "header": export.header,
        "contract_header": f"{name}_contract.h",
        "contract": contract,
        "labels": [_c_text(label) for label in labels],
        "tables": [],
    }
    kernels: dict[str, bytes] = {}
    raw_type, in_place = "", False
    if contract is not None:
        spec = _input(export)
        preprocess = _preprocess(contract, spec)
        values |= preprocess
        raw_type, in_place = C_TYPES[contract.raw], bool(preprocess["in_place"])
        kernels = kernel_files([str(preprocess["kernel"])])
    files = {
        f"{name}_contract.h": render("contract/contract.h.j2", values),
        f"{name}_contract.c": render("contract/contract.c.j2", values),
    }
    header = ContractHeader(f"{name}_contract.h", raw_type, in_place, len(labels))
    return replace(export, files={**export.files, **kernels, **files}, contract=header)


def tables(contract: Contract, spec: TensorSpec) -> Array:
    """What all raw values of uint8 become: [channels, 256] in the input's dtype; one row where one holds for all."""
    channels = contract.channels or 1
    raw = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, np.newaxis], (256, channels))
    real = replace(contract, layout="channels_last").real(raw)
    return data.quantized(real, replace(spec, shape=(channels,))).T


def _input(export: Export) -> TensorSpec:
    inputs = export.model.inputs
    if len(inputs) != 1 or inputs[0].dtype not in _OUTPUT_TYPES or len(inputs[0].shape) < 2:
        found = ", ".join(f"{spec.dtype} {list(spec.shape)}" for spec in inputs)
        raise UnsupportedError(
            f"{export.model.name}: its inputs are {found}; an input section is for one of {', '.join(_OUTPUT_TYPES)} "
            "with a batch axis.",
            hint="leave the input section out, and preprocess in the application.",
        )
    return inputs[0]


def _preprocess(contract: Contract, spec: TensorSpec) -> dict[str, object]:
    """What the templates need for <name>_preprocess."""
    contract.require_channels(spec.shape[-1], f"input {spec.name}")
    last, alike = contract.layout == "channels_last", contract.channels is None
    # One normalisation, nothing to move: one long row.
    channels = 1 if last and alike else spec.shape[-1]
    places = spec.elements // channels
    quantized = spec.dtype != "float32"
    params: dict[str, object] = {
        "places": places,
        "channels": channels,
        "place_stride": channels if last else 1,
        "channel_stride": 1 if last else places,
    }
    rows, which = np.zeros((0, 256), np.uint8), np.zeros(channels, np.int64)
    if contract.raw == "uint8" and spec.dtype in ("int8", "uint8"):
        rows, which = np.unique(tables(contract, spec), axis=0, return_inverse=True)
        which = np.resize(which.reshape(-1), channels)
    by_table = 0 < len(rows) <= MAX_TABLES
    if by_table:
        params["tables"] = "tables"
    else:
        params |= {
            "raw_type": _RAW_TYPES[contract.raw],
            "output_type": _OUTPUT_TYPES[spec.dtype],
            "scale": "scale",
            "offset": "offset",
            "input_scale": c_float(spec.scale if quantized else 1.0),
            "zero_point": spec.zero_point,
        }
    shape = spec.shape[1:] if last else (spec.shape[-1], *spec.shape[1:-1])
    return {
        "raw_shape": ", ".join(map(str, shape)),
        "elements": spec.elements,
        "channels": spec.shape[-1],
        "quantized": quantized,
        "scale": _floats(contract.scale),
        "offset": _floats(contract.offset),
        "kernel_scale": _floats(np.resize(contract.scale, channels)),
        "kernel_offset": _floats(np.resize(contract.offset, channels)),
        "kernel": "preprocess_table" if by_table else "preprocess_affine",
        "tables": [c_values(row.view(np.uint8)) for row in rows] if by_table else [],
        "table_of_channel": ", ".join(f"table_{index}" for index in which),
        "params": params,
        "raw_type": C_TYPES[contract.raw],
        "input_type": C_TYPES[spec.dtype],
        "in_place": by_table and last,
    }


def _floats(values: Sequence[float] | Array) -> str:
    return ", ".join(c_float(float(value)) for value in values)


def _require_labels(export: Export, labels: Sequence[str]) -> None:
    outputs = export.model.outputs
    if labels and outputs[0].elements != len(labels):
        raise DataError(
            f"the recipe has {len(labels)} labels; the output {outputs[0].name} of {export.model.name} has "
            f"{outputs[0].elements} elements.",
            hint="one label for each class, in order, or none.",
        )


def _c_text(text: str) -> str:
    """Any text as a C string literal of its UTF-8 bytes; octal escapes end after three digits, whatever follows."""
    plain = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{plain}"'
