"""UNIDIRECTIONAL_SEQUENCE_LSTM: the plain LSTM of Keras, without peepholes, projection or layer normalization."""

from __future__ import annotations

import math

import numpy as np

from pipeline.aot.ops.stateful import codes, constant, state, variable
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.sigmoid_table import sigmoid_table
from pipeline.aot.steps import (
    Constant,
    Core,
    ParamValue,
    Ref,
    Step,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
)
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op, Tensor

_GATES = ("input", "forget", "cell", "output")
_SUM_SCALE = 2.0**-12  # of what goes into a gate's function
_GATE_SCALE = 2.0**-15  # of what comes out
_NO_CLIP = 1 << 15


def lower_unidirectional_sequence_lstm(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_unidirectional_sequence_lstm_s8. With state; no peepholes, projection or layer normalization.

    Source:  TFLM's lstm_eval_common.cc.
    """
    _check_kind(op)
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    time_major = bool(op.options.get("time_major", False))
    if len(source.shape) != 3 or len(output.shape) != 3 or source.shape[:2] != output.shape[:2] or not output.elements:
        raise refuse(
            op, f"an input of {list(source.shape)} and an output of {list(output.shape)}; [batches, steps, ..]."
        )
    steps, batches = source.shape[:2] if time_major else source.shape[1::-1]
    inputs, units = source.shape[2], output.shape[2]
    hidden = variable(graph, op, 18, batches * units, "int8")
    cell = variable(graph, op, 19, batches * units, "int16")

    by_input = [constant(graph, op, 1 + n, f"{g} weights", (units, inputs), ("int8",)) for n, g in enumerate(_GATES)]
    by_hidden = [
        constant(graph, op, 5 + n, f"recurrent {g} weights", (units, units), ("int8",)) for n, g in enumerate(_GATES)
    ]
    biases = [constant(graph, op, 12 + n, f"{g} biases", (units,), ("int32",)) for n, g in enumerate(_GATES)]
    from_input = [_gate(op, source, weights, bias) for weights, bias in zip(by_input, biases, strict=True)]
    from_hidden = [_gate(op, hidden, weights, None) for weights in by_hidden]
    return Step(
        op=op,
        kernel="unidirectional_sequence_lstm_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        state=(state(hidden), state(cell)),
        params={
            "batches": batches,
            "steps": steps,
            "inputs": inputs,
            "units": units,
            "time_major": int(time_major),
            "input_offset": -source.zero_point,
            "hidden_zero": hidden.zero_point,
            "input_multipliers": tuple(m.mantissa for m in from_input),
            "input_shifts": tuple(m.shift for m in from_input),
            "hidden_multipliers": tuple(m.mantissa for m in from_hidden),
            "hidden_shifts": tuple(m.shift for m in from_hidden),
            **_product(op, "forget", _GATE_SCALE, 0),
            **_product(op, "update", _GATE_SCALE * _GATE_SCALE / cell.scale, 0),
            **_product(op, "output", _GATE_SCALE * _GATE_SCALE / hidden.scale, hidden.zero_point),
            "cell_clip": _clip(op, cell),
            **_tanh(op, cell),
            "input_weights": Ref("input_weights"),
            "hidden_weights": Ref("hidden_weights"),
            "bias": Ref("bias"),
            "sigmoid": Ref("sigmoid"),
        },
        constants=(
            Constant("input_weights", np.stack([codes(t) for t in by_input]), is_weight=True),
            Constant("hidden_weights", np.stack([codes(t) for t in by_hidden]), is_weight=True),
            Constant("bias", np.stack([codes(t) for t in biases]), is_weight=True),
            Constant("sigmoid", sigmoid_table()),
        ),
        macs=batches * steps * len(_GATES) * units * (inputs + units),
    )


def _check_kind(op: Op) -> None:
    if len(op.inputs) != 24:
        raise refuse(op, f"{len(op.inputs)} inputs; 24 are needed.")
    for what, first, end in (("peepholes", 9, 12), ("a projection", 16, 18), ("layer normalization", 20, 24)):
        if any(index >= 0 for index in op.inputs[first:end]):
            raise refuse(op, f"an LSTM with {what}, which TFLM does not have either.")
    activation = op.options.get("fused_activation_function", "NONE")
    if activation != "TANH":
        raise refuse(op, f"the activation {activation}; TANH is needed.")


def _gate(op: Op, source: Tensor, weights: Tensor, bias: Tensor | None) -> Multiplier:
    """The multiplier of one matrix, once it is proved that its sums fit."""
    multiplier = checked_multiplier(op, source.scale * weights.scale / _SUM_SCALE)
    largest = max(127 - source.zero_point, source.zero_point + 128)
    sums = np.abs(codes(weights).astype(np.int64)).sum(axis=1) * largest
    if bias is not None:
        sums = sums + np.abs(codes(bias).astype(np.int64))
    prove_no_overflow(op, [int(s) for s in sums], [multiplier], 0)
    return multiplier


def _product(op: Op, name: str, real: float, zero_point: int) -> dict[str, ParamValue]:
    """The multiplier of a product of two int16."""
    multiplier = checked_multiplier(op, real)
    prove_no_overflow(op, [1 << 30], [multiplier], zero_point)
    return {f"{name}_multiplier": multiplier.mantissa, f"{name}_shift": multiplier.shift}


def _clip(op: Op, cell: Tensor) -> int:
    """The largest code of the cell state; TFLM's quotient is double, and cut off."""
    clip = float(np.float32(op.options.get("cell_clip", 0.0)))
    if not math.isfinite(clip):
        raise refuse(op, f"a cell_clip of {clip}.")
    return min(int(clip / cell.scale), _NO_CLIP - 1) if clip > 0 else _NO_CLIP


def _tanh(op: Op, cell: Tensor) -> dict[str, ParamValue]:
    """3 * cell scale / 2**-12 as multiplier / 2**shift."""
    fraction, exponent = math.frexp(cell.scale)
    left = exponent - 1 + 12
    if fraction != 0.5 or not -30 <= left <= 14:
        raise refuse(
            op, f"a cell state ({cell.name}) of scale {cell.scale:g}; a power of 2 from 2**-42 to 4 is needed."
        )
    return {"tanh_multiplier": 3 << max(left, 0), "tanh_shift": max(-left, 0)}
