"""The tflm runtime: the model as a C array, a resolver with exactly its ops, and an arena that was measured.

The TFLM library itself is not part of it: a project gets it from its framework, or from a folder the user gives.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pipeline import __version__, graph_costs, interpreters, vectors
from pipeline.aot.emit import (
    C_TYPES,
    comment_text,
    header_name,
    model_symbol,
    sha256_bytes,
    tensor_macros,
    tensor_table,
)
from pipeline.board import Board
from pipeline.errors import ModelError, UnsupportedError
from pipeline.golden import all_layers
from pipeline.model import Export, KernelChoice
from pipeline.rendering import render
from pipeline.state import VARIABLE_OPS
from pipeline.tflite import Graph, Op, quantized_model
from pipeline.tflm_library import Library

# TFLite's op name -> the method of MicroMutableOpResolver that adds it.
# Source: tensorflow/lite/micro/micro_mutable_op_resolver.h, 2026-08. Control flow and custom ops are left out:
# pipeline.audit refuses them.
RESOLVER_METHODS = {
    "ABS": "AddAbs",
    "ADD": "AddAdd",
    "ADD_N": "AddAddN",
    "ARG_MAX": "AddArgMax",
    "ARG_MIN": "AddArgMin",
    "ASSIGN_VARIABLE": "AddAssignVariable",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
    "BROADCAST_ARGS": "AddBroadcastArgs",
    "BROADCAST_TO": "AddBroadcastTo",
    "CAST": "AddCast",
    "CEIL": "AddCeil",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "COS": "AddCos",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEPTH_TO_SPACE": "AddDepthToSpace",
    "DEQUANTIZE": "AddDequantize",
    "DIV": "AddDiv",
    "DYNAMIC_UPDATE_SLICE": "AddDynamicUpdateSlice",
    "ELU": "AddElu",
    "EMBEDDING_LOOKUP": "AddEmbeddingLookup",
    "EQUAL": "AddEqual",
    "EXP": "AddExp",
    "EXPAND_DIMS": "AddExpandDims",
    "FILL": "AddFill",
    "FLOOR": "AddFloor",
    "FLOOR_DIV": "AddFloorDiv",
    "FLOOR_MOD": "AddFloorMod",
    "FULLY_CONNECTED": "AddFullyConnected",
    "GATHER": "AddGather",
    "GATHER_ND": "AddGatherNd",
    "GREATER": "AddGreater",
    "GREATER_EQUAL": "AddGreaterEqual",
    "HARD_SWISH": "AddHardSwish",
    "L2_NORMALIZATION": "AddL2Normalization",
    "L2_POOL_2D": "AddL2Pool2D",
    "LEAKY_RELU": "AddLeakyRelu",
    "LESS": "AddLess",
    "LESS_EQUAL": "AddLessEqual",
    "LOG": "AddLog",
    "LOGICAL_AND": "AddLogicalAnd",
    "LOGICAL_NOT": "AddLogicalNot",
    "LOGICAL_OR": "AddLogicalOr",
    "LOGISTIC": "AddLogistic",
    "LOG_SOFTMAX": "AddLogSoftmax",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MIRROR_PAD": "AddMirrorPad",
    "MUL": "AddMul",
    "NEG": "AddNeg",
    "NOT_EQUAL": "AddNotEqual",
    "PACK": "AddPack",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "PRELU": "AddPrelu",
    "QUANTIZE": "AddQuantize",
    "READ_VARIABLE": "AddReadVariable",
    "REDUCE_ALL": "AddReduceAll",
    "REDUCE_MAX": "AddReduceMax",
    "REDUCE_MIN": "AddReduceMin",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RESIZE_BILINEAR": "AddResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "REVERSE_V2": "AddReverseV2",
    "ROUND": "AddRound",
    "RSQRT": "AddRsqrt",
    "SELECT_V2": "AddSelectV2",
    "SHAPE": "AddShape",
    "SIN": "AddSin",
    "SLICE": "AddSlice",
    "SOFTMAX": "AddSoftmax",
    "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd",
    "SPACE_TO_DEPTH": "AddSpaceToDepth",
    "SPLIT": "AddSplit",
    "SPLIT_V": "AddSplitV",
    "SQRT": "AddSqrt",
    "SQUARE": "AddSquare",
    "SQUARED_DIFFERENCE": "AddSquaredDifference",
    "SQUEEZE": "AddSqueeze",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
    "SUM": "AddSum",
    "SVDF": "AddSvdf",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "UNPACK": "AddUnpack",
    "VAR_HANDLE": "AddVarHandle",
    "ZEROS_LIKE": "AddZerosLike",
}

_BYTES_A_ROW = 16
_DENSE_HINT = (
    "--runtime aot, which computes it right; another library (`tflm: {library: ...}` in the recipe); or convert with "
    "one scale: converter._experimental_disable_per_channel_quantization_for_dense_layers = True."
)


def preflight(graph: Graph, library: Library | None = None) -> tuple[str, ...]:
    """What stands against this model on TFLM, or on one library of it, a sentence each; empty where nothing does."""
    problems = [
        f"op {op.index} ({_op_name(op)}): TFLM has no kernel for it."
        for op in graph.ops
        if op.name not in RESOLVER_METHODS and op.name not in VARIABLE_OPS
    ]
    problems += [
        f"op {op.index} ({op.name}): the tflm runtime keeps no variables; --runtime aot does."
        for op in graph.ops
        if op.name in VARIABLE_OPS
    ]
    problems += [
        f"tensor {index} is {graph.tensor(index).dtype}, which cannot go in or out of the firmware."
        for index in (*graph.inputs, *graph.outputs)
        if graph.tensor(index).dtype not in C_TYPES
    ]
    if library is not None:
        problems += _library_problems(graph, library)
    return tuple(problems)


def _library_problems(graph: Graph, library: Library) -> list[str]:
    problems = [
        f"op {op.index} ({op.name}): {library.name} has no kernel for it."
        for op in graph.ops
        if op.name in library.lacks
    ]
    problems += [
        f"op {op.index} ({op.name}): version {op.version} of the op, and {library.name} was made when {newest} was the "
        "newest."
        for op in graph.ops
        if op.version > (newest := library.versions.get(op.name, op.version))
    ]
    if library.per_channel_dense == "right":
        return problems
    outcome = {
        "wrong": "computes with the first for all of them: wrong answers, and no error",
        "refused": "refuses that when the firmware starts",
    }[library.per_channel_dense]
    return problems + [
        f"op {op.index} (FULLY_CONNECTED): its weights have a scale for each of {len(scales)} outputs, and "
        f"{library.name} {outcome}."
        for op in graph.ops
        if op.name == "FULLY_CONNECTED" and len(set(scales := _scales(graph, op))) > 1
    ]


def _scales(graph: Graph, op: Op) -> tuple[float, ...]:
    return tuple(float(scale) for scale in graph.tensor(op.inputs[1]).scales)


def export(graph: Graph, board: Board | None = None, library: Library | None = None) -> Export:
    """Write the model for TFLM: <name>.h and .cc (struct tflash_model), <name>_model_data.h and .cc (the C array),
    <name>_arena.h (one constant, as this host measures it; with_arena writes another).

    Args:    library: that the project is built with; None: the project has one of its own, of the newest generation.
    Raises:  UnsupportedError: TFLM or the library lacks an op, or would compute it wrongly. ModelError: TFLM cannot
             run the model. ToolError: the arena cannot be measured, there is no tflite-micro.
    """
    problems = preflight(graph, library)
    if problems:
        dense = library is not None and any("(FULLY_CONNECTED)" in problem for problem in problems)
        raise UnsupportedError(
            f"{graph.path}: " + "\n".join(problems),
            hint=_DENSE_HINT if dense else "replace these layers by ones that TFLM has.",
        )
    model = quantized_model(graph)
    content = _content(graph)
    arena = interpreters.tflm_arena(model, vectors.make(model, 1, seed=0).inputs)
    name, upper = graph.name, graph.name.upper()
    shown = all_layers(graph) if library is None or library.can_trace else ()
    values = {
        "banner": _banner(graph),
        "name": name,
        "upper": upper,
        "symbol": model_symbol(name),
        "header": header_name(name),
        "data": f"g_{name}_model_data",
        "size": len(content),
        "rows": _rows(content),
        "sha256": sha256_bytes(graph.sha256),
        "methods": sorted({RESOLVER_METHODS[op.name] for op in graph.ops}),
        "layers": shown,
        "api": 2 if library is None else library.api,
        "trace_bytes": arena.trace_bytes - arena.bytes,
        "tensor_macros": [
            "\n".join(tensor_macros(f"{upper}_{kind}_{position}", graph.tensor(index)))
            for kind, indices in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs))
            for position, index in enumerate(indices)
        ],
        "inputs": tensor_table("inputs", [graph.tensor(i) for i in graph.inputs]),
        "outputs": tensor_table("outputs", [graph.tensor(i) for i in graph.outputs]),
        "input_count": len(graph.inputs),
        "output_count": len(graph.outputs),
    }
    weights = {tensor.index: tensor for op in graph.ops for tensor in graph_costs.weights(graph, op)}
    exported = Export(
        runtime="tflm",
        model=model,
        symbol=model_symbol(name),
        header=header_name(name),
        files={
            header_name(name): render("tflm/model.h.j2", values),
            f"{name}.cc": render("tflm/model.cc.j2", values),
            f"{name}_model_data.h": render("tflm/model_data.h.j2", values),
            f"{name}_model_data.cc": render("tflm/model_data.cc.j2", values),
        },
        arena_bytes=arena.bytes,
        arena_lower_bound=arena.bytes,
        weights_bytes=sum((t.elements + 1) // 2 if t.dtype == "int4" else t.bytes for t in weights.values()),
        constant_bytes=len(content),
        macs=sum(graph_costs.macs(graph, op) for op in graph.ops),
        kernels=tuple(_choice(graph, op) for op in graph.ops),
        layers=shown,
        language="c++",
        lib_deps=() if library is None else (library.dependency,),
        notes=(_library_note(library, name),),
    )
    measured = (
        f"The smallest arena with which {arena.package} {comment_text(arena.version)} runs the model on a 64-bit host; "
        "optimized kernels may need more. `tensorflash verify` measures it on the board."
    )
    return with_arena(exported, arena.bytes, measured)


def with_arena(export: Export, arena_bytes: int, said: str) -> Export:
    """The export with this arena's size in <name>_arena.h, and what is said of it there and in its notes."""
    name = export.model.name
    values = {
        "banner": export.files[export.header].decode().partition("*/")[0] + "*/",
        "name": name,
        "upper": name.upper(),
        "said": said,
        "arena_bytes": arena_bytes,
    }
    return replace(
        export,
        files={**export.files, f"{name}_arena.h": render("tflm/arena.h.j2", values)},
        arena_bytes=arena_bytes,
        arena_lower_bound=min(arena_bytes, export.arena_lower_bound),
        notes=(export.notes[0], said),
    )


def _library_note(library: Library | None, name: str) -> str:
    if library is None:
        return (
            "The TFLM library is not part of it: add one to the project, and define TFLASH_TFLM_API for its generation "
            f"({name}.cc says how). Compile it with TF_LITE_STATIC_MEMORY."
        )
    trace = "" if library.can_trace else " It cannot keep all tensors, so there is no trace environment."
    return f"TFLM is {library.name}: kernels {library.kernels}, rounding {library.rounding}.{trace}"


def _content(graph: Graph) -> bytes:
    try:
        content = graph.path.read_bytes()
    except OSError as error:
        raise ModelError(f"{graph.path}: cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != graph.sha256:
        raise ModelError(f"{graph.path}: the file has changed since it was read.", hint="run again.")
    return content


def _banner(graph: Graph) -> str:
    made_by = comment_text(graph.description) or "an unnamed converter"
    return (
        f"/* {comment_text(graph.path.name)} for TensorFlow Lite Micro, by tensorflash {__version__}. Do not edit.\n"
        f" * sha256 {graph.sha256}\n"
        f" * made by {made_by} */"
    )


def _rows(content: bytes) -> str:
    return "\n".join(
        "    " + " ".join(f"0x{byte:02x}," for byte in content[start : start + _BYTES_A_ROW])
        for start in range(0, len(content), _BYTES_A_ROW)
    )


def _choice(graph: Graph, op: Op) -> KernelChoice:
    return KernelChoice(
        op_index=op.index,
        op=op.name,
        kernel=f"tflite::Register_{op.name}",
        reason="TFLM's kernel, as the library that the project is built with has it",
        output_shape=graph.tensor(op.outputs[0]).shape if op.outputs else (),
        macs=graph_costs.macs(graph, op),
        weight_bytes=sum(tensor.bytes for tensor in graph_costs.weights(graph, op)),
    )


def _op_name(op: Op) -> str:
    return f"CUSTOM op '{comment_text(op.custom_code)}'" if op.name == "CUSTOM" else op.name
