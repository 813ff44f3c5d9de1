"""SVDF: a filter over the inputs, then one over what it gave in the last `memory` inferences."""

from __future__ import annotations

import numpy as np

from pipeline.aot.ops.stateful import codes, constant, state, variable
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import Constant, Core, Ref, Step, portable_reason, quantized_input, quantized_output, refuse
from pipeline.fixedpoint import INT32_MAX, requantize
from pipeline.tflite import Graph, Op

_BIAS_TOLERANCE = 1e-5  # TFLM's, absolute


def lower_svdf(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_svdf_s8. With state; as in TFLM, the fused activation does not count.

    Source:  TFLM's svdf_common.cc; its products of scales are float32.
    """
    if len(op.inputs) != 5:
        raise refuse(op, f"{len(op.inputs)} inputs; input, two kinds of weights, bias and state are needed.")
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    batches, units, rank, inputs, memory = _sizes(graph, op)
    features = constant(graph, op, 1, "weights of features", (units * rank, inputs), ("int8",))
    times = constant(graph, op, 2, "weights of time", (units * rank, memory), ("int8", "int16"))
    bias = constant(graph, op, 3, "biases", (units,), ("int32",))
    kept = variable(graph, op, 4, batches * units * rank * memory, times.dtype)

    # In double, as the host interpreter's answers at ties say.
    scales = [t.scale for t in (source, features, kept, times, output)]
    bias_scale = scales[2] * scales[3]
    if not abs(bias.scale - bias_scale) < _BIAS_TOLERANCE:
        raise refuse(
            op,
            f"a bias of scale {bias.scale:g} where state scale * time scale is {bias_scale:g}; TFLM does not run this "
            "either.",
            "convert the model again.",
        )
    first = checked_multiplier(op, scales[0] * scales[1] / scales[2])
    second = checked_multiplier(op, scales[2] * scales[3] / scales[4])

    largest = max(127 - source.zero_point, source.zero_point + 128)
    sums = [int(s) for s in np.abs(codes(features).astype(np.int64)).sum(axis=1) * largest]
    prove_no_overflow(op, sums, [first], 0)
    limit = max(abs(int(code) - kept.zero_point) for code in (np.iinfo(kept.dtype).min, np.iinfo(kept.dtype).max))
    states = [min(requantize(s, first) + 1, limit) if kept.zero_point == 0 else limit for s in sums]
    spans = np.abs(codes(times).astype(np.int64)).sum(axis=1) * np.array(states)
    totals = spans.reshape(units, rank).sum(axis=1) + np.abs(codes(bias).astype(np.int64))
    prove_no_overflow(op, [min(int(total), INT32_MAX) for total in totals], [second], output.zero_point)
    wraps = "" if totals.max() <= INT32_MAX else "; its sum over time can wrap around, as in TFLM"

    wide = times.dtype == "int16"
    return Step(
        op=op,
        kernel="svdf_s8",
        reason=portable_reason(core) + wraps,
        inputs=(source.index,),
        outputs=(output.index,),
        state=(state(kept),),
        params={
            "batches": batches,
            "inputs": inputs,
            "units": units,
            "rank": rank,
            "memory": memory,
            "input_offset": -source.zero_point,
            "state_zero": kept.zero_point,
            "output_offset": output.zero_point,
            "feature_multiplier": first.mantissa,
            "feature_shift": first.shift,
            "output_multiplier": second.mantissa,
            "output_shift": second.shift,
            "features": Ref("features"),
            "times_s8": None if wide else Ref("times"),
            "times_s16": Ref("times") if wide else None,
            "bias": Ref("bias"),
        },
        constants=(
            Constant("features", codes(features), is_weight=True),
            Constant("times", codes(times), is_weight=True),
            Constant("bias", codes(bias), is_weight=True),
        ),
        macs=batches * units * rank * (inputs + memory),
    )


def _sizes(graph: Graph, op: Op) -> tuple[int, int, int, int, int]:
    """Batches, units, rank, inputs and memory, from the shapes of input, output and the weights of time."""
    source, output = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    times = graph.tensor(op.inputs[2]).shape if op.inputs[2] >= 0 else ()
    rank = int(op.options.get("rank", 0))
    if len(source.shape) != 2 or len(output.shape) != 2 or len(times) != 2 or not all((*source.shape, *output.shape)):
        raise refuse(
            op,
            f"input {list(source.shape)}, weights of time {list(times)}, output {list(output.shape)}; two dimensions "
            "each are needed.",
        )
    if rank < 1 or source.shape[0] != output.shape[0]:
        raise refuse(op, f"rank {rank}, input {list(source.shape)}, output {list(output.shape)} do not agree.")
    return source.shape[0], output.shape[1], rank, source.shape[1], times[1]
