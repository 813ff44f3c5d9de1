"""A compiled Edge TPU model becomes a description: what runs where, its memory, what its transfers cost at least."""

from __future__ import annotations

from typing import Any

from pipeline.edgetpu.package import CompiledModel, Executable, Layer, Package
from pipeline.edgetpu.rules import CUSTOM_OP

# Rates no transfer exceeds, bytes per second: USB 2.0 high speed is 480 Mbit/s and USB 3.0 5 Gbit/s with 8b/10b coding;
# PCIe 2.0 with one lane 5 GT/s with 8b/10b coding (the M.2 and Mini PCIe cards, the Dev Board). Protocols take more.
LINKS = {"usb2": 60_000_000, "usb3": 500_000_000, "pcie": 500_000_000}

CHIP = "beagle"  # the compiler's name for the chip in every Coral product


def inspect(model: CompiledModel) -> dict[str, Any]:
    """Describe a compiled model in plain values: `tensorflash edgetpu inspect --json` is exactly this.

    Keys: model, minimum_runtime_version, chip, on_cpu (ops that are left, {index, op, version}), inputs and outputs of
    the .tflite file, totals (bytes), transfer_at_least_ms (by link), dev_board_micro {runs, reasons}, packages, notes.
    """
    graph, packages = model.graph, model.packages
    left = [op for op in graph.ops if op.custom_code != CUSTOM_OP]
    per_inference = sum(_moved(p) for p in packages)
    totals = {
        "cached_parameter_bytes": sum(p.cached_bytes for p in packages),
        "streamed_parameter_bytes": sum(p.streamed_bytes for p in packages),
        "instruction_bytes": sum(p.runs.instruction_bytes for p in packages),
        "scratch_bytes": sum(p.runs.scratch_bytes for p in packages),
        "input_bytes": sum(layer.bytes for p in packages for layer in p.runs.inputs),
        "output_bytes": sum(layer.bytes for p in packages for layer in p.runs.outputs),
        "moved_bytes_per_inference": per_inference,
    }
    micro = _dev_board_micro(model)
    return {
        "model": {"path": str(graph.path), "sha256": graph.sha256},
        "minimum_runtime_version": max(p.runtime_version for p in packages),
        "chip": sorted({p.runs.chip for p in packages}),
        "on_cpu": [{"index": op.index, "op": op.custom_code or op.name, "version": op.version} for op in left],
        "inputs": [_tensor(model, i) for i in graph.inputs],
        "outputs": [_tensor(model, i) for i in graph.outputs],
        "totals": totals,
        "transfer_at_least_ms": {link: 1000 * per_inference / rate for link, rate in LINKS.items()},
        "dev_board_micro": {"runs": not micro, "reasons": micro},
        "packages": [_package(p) for p in packages],
        "notes": _notes(model),
    }


def _moved(package: Package) -> int:
    """Bytes that cross the link in one inference, once the cache is filled: data, instructions, streamed parameters."""
    runs = package.runs
    data = sum(layer.bytes for layer in (*runs.inputs, *runs.outputs))
    return data + runs.instruction_bytes + package.streamed_bytes


def _tensor(model: CompiledModel, index: int) -> dict[str, Any]:
    tensor = model.graph.tensor(index)
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _package(package: Package) -> dict[str, Any]:
    runs = package.runs
    return {
        "op_index": package.op_index,
        "minimum_runtime_version": package.runtime_version,
        "compiler": package.compiler,
        "chip": runs.chip,
        "cached_parameter_bytes": package.cached_bytes,
        "streamed_parameter_bytes": package.streamed_bytes,
        "instruction_bytes": runs.instruction_bytes,
        "scratch_bytes": runs.scratch_bytes,
        "estimated_cycles": runs.estimated_cycles or None,
        "cache_token": f"{runs.token:016x}",
        "executables": [_executable(e) for e in package.executables],
        "inputs": [_layer(layer) for layer in runs.inputs],
        "outputs": [_layer(layer) for layer in runs.outputs],
    }


def _executable(executable: Executable) -> dict[str, Any]:
    return {
        "kind": executable.kind,
        "instruction_bytes": executable.instruction_bytes,
        "parameter_bytes": executable.parameter_bytes,
        "scratch_bytes": executable.scratch_bytes,
        "deterministic_dma": executable.deterministic,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    """A layer with the zero point of the .tflite file: a signed one is stored plus 128."""
    return {
        "name": layer.name,
        "shape": list(layer.shape),
        "dtype": layer.dtype,
        "bytes": layer.bytes,
        "scale": layer.scale,
        "zero_point": layer.zero_point - 128 if layer.signed else layer.zero_point,
    }


def _dev_board_micro(model: CompiledModel) -> list[str]:
    """Why its driver (coralmicro, libs/tpu) would not run this; empty where nothing is in the way."""
    reasons = []
    if len(model.packages) > 1:
        reasons.append(f"{len(model.packages)} packages: one is what it can hold")
    for package in model.packages:
        runs = package.runs
        if len(runs.inputs) != 1:
            reasons.append(f"{len(runs.inputs)} inputs: its driver takes one")
        if runs.scratch_bytes:
            reasons.append(f"{runs.scratch_bytes:,} bytes of scratch: its driver has none")
        if not all(e.deterministic for e in package.executables):
            reasons.append("the order of its transfers is not fixed: its driver follows the package's DMA hints only")
    return reasons


def _notes(model: CompiledModel) -> list[str]:
    notes = []
    if any(p.streamed_bytes for p in model.packages):
        notes.append(
            "parameters are streamed on each inference: a smaller model avoids that, or --segments with several devices"
        )
    if any(p.runs.chip != CHIP for p in model.packages):
        notes.append(f"the chip is not '{CHIP}', which all Coral devices have")
    if len(model.packages) > 1:
        notes.append("several packages: each change between CPU and Edge TPU costs its transfers")
    return notes
