"""Ops on two tensors of codes that broadcast: ADD, SUB, MUL, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE and PRELU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from pipeline.aot import packing
from pipeline.aot.requantization import checked_multiplier, fused_range, prove_no_overflow
from pipeline.aot.steps import (
    PORTABLE,
    Core,
    Lowering,
    ParamValue,
    Step,
    code_type,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
)
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier, requantize
from pipeline.tflite import Graph, Op, Tensor

_MAX_GROUPS = 4
_LEFT_SHIFT = 20  # ADD and SUB shift the operands left by this much before they scale them
_WIDE_LEFT_SHIFT = 15  # those of int16


def lower_add(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of ADD_VARIANTS or tflash_add_sub_s16."""
    if code_type(graph, op) == "int16":
        return _step(graph, op, core, "add_sub_s16", {"subtract": 0, **_sum_params(graph, op)})
    return choose(ADD_VARIANTS, _sum_step(graph, op, core), core)


def lower_sub(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_add_sub_s16 or the best kernel of SUB_VARIANTS."""
    if code_type(graph, op) == "int16":
        return _step(graph, op, core, "add_sub_s16", {"subtract": 1, **_sum_params(graph, op)})
    return choose(SUB_VARIANTS, _sum_step(graph, op, core), core)


def lower_mul(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_mul_s16 or the best kernel of MUL_VARIANTS. Source of the multiplier: TFLM's mul_common.cc."""
    wide = code_type(graph, op) == "int16"
    first, second, output = _tensors(graph, op, wide=wide)
    multiplier = checked_multiplier(op, first.scale * second.scale / output.scale)
    codes = 1 << 15 if wide else 1 << 7
    largest = (codes + abs(first.zero_point)) * (codes + abs(second.zero_point))
    prove_no_overflow(op, [largest], [multiplier], output.zero_point)
    low, high = fused_range(op, output)
    params: dict[str, ParamValue] = {
        **_offsets(first, second),
        "multiplier": multiplier.mantissa,
        "shift": multiplier.shift,
        "output_offset": output.zero_point,
        "activation_min": low,
        "activation_max": high,
    }
    if wide:
        return _step(graph, op, core, "mul_s16", params)
    return choose(MUL_VARIANTS, _step(graph, op, core, "mul_s8", params), core)


def lower_maximum(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_maximum_minimum_s8 or tflash_maximum_minimum_s16.

    As in TFLM, codes are compared whatever their scales are.
    """
    return _step(graph, op, core, _MAXIMUM_MINIMUM[code_type(graph, op)], {"maximum": 1})


def lower_minimum(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_maximum_minimum_s8 or tflash_maximum_minimum_s16.

    As in TFLM, codes are compared whatever their scales are.
    """
    return _step(graph, op, core, _MAXIMUM_MINIMUM[code_type(graph, op)], {"maximum": 0})


_MAXIMUM_MINIMUM = {"int8": "maximum_minimum_s8", "int16": "maximum_minimum_s16"}


def lower_squared_difference(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_squared_difference_s8. Source of the multipliers: TFLM's squared_difference.cc, in double."""
    one, two, output = _tensors(graph, op)
    twice_largest = 2 * max(one.scale, two.scale)
    first, second = (_below_one(op, tensor.scale / twice_largest) for tensor in (one, two))
    last = checked_multiplier(op, twice_largest * twice_largest / ((1 << 14) * output.scale))
    differences = [
        requantize((a - one.zero_point) << 7, first) - requantize((b - two.zero_point) << 7, second)
        for a in (-128, 127)
        for b in (-128, 127)
    ]
    prove_no_overflow(op, [max(d * d for d in differences)], [last], output.zero_point)
    params: dict[str, ParamValue] = {
        **_offsets(one, two),
        "multiplier1": first.mantissa,
        "shift1": first.shift,
        "multiplier2": second.mantissa,
        "shift2": second.shift,
        "output_multiplier": last.mantissa,
        "output_shift": last.shift,
        "output_offset": output.zero_point,
    }
    return _step(graph, op, core, "squared_difference_s8", params)


def lower_prelu(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_prelu_s8. Source of the multipliers: TFLM's prelu_common.cc, in double."""
    source, slopes, output = _tensors(graph, op)
    positive = checked_multiplier(op, source.scale / output.scale)
    negative = checked_multiplier(op, source.scale * slopes.scale / output.scale)
    prove_no_overflow(op, [127 - source.zero_point], [positive], output.zero_point)
    largest_slope = max(127 - slopes.zero_point, 128 + slopes.zero_point)
    prove_no_overflow(op, [(128 + source.zero_point) * largest_slope], [negative], output.zero_point)
    params: dict[str, ParamValue] = {
        **_offsets(source, slopes),
        "multiplier": positive.mantissa,
        "shift": positive.shift,
        "slope_multiplier": negative.mantissa,
        "slope_shift": negative.shift,
        "output_offset": output.zero_point,
    }
    return _step(graph, op, core, "prelu_s8", params)


def _offsets(first: Tensor, second: Tensor) -> dict[str, ParamValue]:
    return {"offset1": -first.zero_point, "offset2": -second.zero_point}


def _tensors(graph: Graph, op: Op, *, wide: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    dtype = "int16" if wide else "int8"
    first, second = (quantized_input(graph, op, position, dtype) for position in (0, 1))
    return first, second, quantized_output(graph, op, 0, dtype)


def _sum_params(graph: Graph, op: Op) -> dict[str, ParamValue]:
    """What ADD and SUB have in common.

    Source:  TFLM's add_common.cc, in double. SUB is the same; older TFLM computed its multipliers in float32.
    """
    wide = code_type(graph, op) == "int16"
    one, two, output = _tensors(graph, op, wide=wide)
    twice_largest = 2 * max(one.scale, two.scale)
    first = _below_one(op, one.scale / twice_largest)
    second = _below_one(op, two.scale / twice_largest)
    last = _below_one(op, twice_largest / ((1 << (_WIDE_LEFT_SHIFT if wide else _LEFT_SHIFT)) * output.scale))
    low, high = fused_range(op, output)
    return {
        **_offsets(one, two),
        "multiplier1": first.mantissa,
        "shift1": first.shift,
        "multiplier2": second.mantissa,
        "shift2": second.shift,
        "output_multiplier": last.mantissa,
        "output_shift": last.shift,
        "output_offset": output.zero_point,
        "activation_min": low,
        "activation_max": high,
    }


def _sum_step(graph: Graph, op: Op, core: Core) -> Step:
    """ADD or SUB in TFLM's terms, of which each variant makes its own."""
    return _step(graph, op, core, "add_s8", _sum_params(graph, op))


def _below_one(op: Op, real: float) -> Multiplier:
    multiplier = checked_multiplier(op, real)
    if not 0 < real < 1 or multiplier.shift > 0:
        raise refuse(
            op,
            f"its scales give a multiplier of {real:g}; more than 0 and less than 1 is needed, by TFLM as well.",
            "check the model's quantization.",
        )
    return multiplier


def _step(graph: Graph, op: Op, core: Core, kernel: str, params: dict[str, ParamValue]) -> Step:
    wide = kernel.endswith("_s16")
    first, second, output = _tensors(graph, op, wide=wide)
    if wide:  # zero points are 0
        params = {name: value for name, value in params.items() if "offset" not in name}
    shape, strides1, strides2 = _loops(op, first, second, output)
    whole = [n for n, t in enumerate((first, second)) if t.elements == output.elements and not t.is_constant]
    return Step(
        op=op,
        kernel=kernel,
        reason=portable_reason(core),
        inputs=(first.index, second.index),
        outputs=(output.index,),
        params={
            "shape": shape,
            "strides1": strides1,
            "strides2": strides2,
            **params,
        },
        in_place=whole[0] if whole else None,
    )


def _loops(
    op: Op, first: Tensor, second: Tensor, output: Tensor
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Four nested loops over the output, and how far each operand goes on in each: (sizes, strides, strides).

    Neighbouring dimensions in which the operands repeat or go on in the same way are one loop.
    """
    rank = max(len(t.shape) for t in (first, second, output))
    shapes = [(1,) * (rank - len(t.shape)) + t.shape for t in (first, second, output)]
    groups: list[tuple[int, bool, bool]] = []  # size, first goes on, second goes on
    for a, b, o in zip(*shapes, strict=True):
        if o == 0 or {a, b} - {1} != {o} - {1}:
            raise refuse(
                op,
                f"inputs of {list(first.shape)} and {list(second.shape)} and an output of {list(output.shape)}; "
                "shapes that broadcast are needed.",
            )
        if o == 1:
            continue
        pattern = a == o, b == o
        if groups and groups[-1][1:] == pattern:
            groups[-1] = (groups[-1][0] * o, *pattern)
        else:
            groups.append((o, *pattern))
    if len(groups) > _MAX_GROUPS:
        raise refuse(
            op,
            f"inputs of {list(first.shape)} and {list(second.shape)} repeat in {len(groups)} alternations; "
            f"the aot kernel has {_MAX_GROUPS} loops.",
        )
    groups = [(1, False, False)] * (_MAX_GROUPS - len(groups)) + groups
    return (
        tuple(size for size, _, _ in groups),
        _strides([(size, goes_on) for size, goes_on, _ in groups]),
        _strides([(size, goes_on) for size, _, goes_on in groups]),
    )


def _add_dsp_obstacle(step: Step) -> str | None:
    shift = step.params["output_shift"]
    if not isinstance(shift, int) or not 1 <= -shift <= packing.LARGEST_RIGHT_SHIFT:
        return f"a shift of the sum by {shift}"
    return None


def _integers(step: Step) -> dict[str, int]:
    return {name: value for name, value in step.params.items() if isinstance(value, int)}


class _Addend(NamedTuple):
    number: str  # of its parameters in TFLM's terms, "1" or "2"
    sign: int


def _sorted_by_scale(step: Step, sign2: int) -> tuple[Step, _Addend, _Addend]:
    """The step with the input of the larger scale first, whose multiplier is 1/2: (step, coarse, fine)."""
    params = _integers(step)
    coarse, fine = _Addend("1", 1), _Addend("2", sign2)
    if (params["multiplier1"], params["shift1"]) != (1 << 30, 0):
        coarse, fine = fine, coarse
        in_place = None if step.in_place is None else 1 - step.in_place
        step = replace(step, inputs=step.inputs[::-1], in_place=in_place)
    loops = {
        "shape": step.params["shape"],
        "coarse_strides": step.params[f"strides{coarse.number}"],
        "fine_strides": step.params[f"strides{fine.number}"],
    }
    return replace(step, params=loops), coarse, fine


def _add(step: Step, sign2: int) -> Step:
    """add_s8: the larger scale's multiplier is 1/2, which a factor does; the other is split for products of 32 bits."""
    params = _integers(step)
    by_scale, coarse, fine = _sorted_by_scale(step, sign2)
    coarse_factor = coarse.sign << (_LEFT_SHIFT - 1)
    right, multiplier = -params[f"shift{fine.number}"], params[f"multiplier{fine.number}"]
    if right == 0:  # the same scale: 1/2 once more, with a bit that the right shift takes away again
        right, multiplier = 1, 2 * multiplier
    return replace(
        by_scale,
        params={
            **by_scale.params,
            "coarse_factor": coarse_factor,
            "coarse_offset": coarse_factor * params[f"offset{coarse.number}"],
            "fine_offset": params[f"offset{fine.number}"],
            "fine_high": multiplier >> 11,
            "fine_low": multiplier & 2047,
            "fine_right": right - 1,
            "fine_factor": fine.sign,
            "multiplier": params["output_multiplier"],
            "shift": params["output_shift"],
            "output_offset": params["output_offset"],
            "activation_min": params["activation_min"],
            "activation_max": params["activation_max"],
        },
    )


def _add_dsp(step: Step, sign2: int) -> Step:
    """add_s8_dsp, as `_add`, but for a fine multiplier in one piece."""
    params = _integers(step)
    by_scale, coarse, fine = _sorted_by_scale(step, sign2)
    coarse_factor = coarse.sign << _LEFT_SHIFT
    right = -params[f"shift{fine.number}"]
    left = _LEFT_SHIFT + 1  # the accumulator, doubled
    if right == 0:
        left, right = left + 1, 1
    return replace(
        by_scale,
        kernel="add_s8_dsp",
        params={
            **by_scale.params,
            "offset": params[f"offset{coarse.number}"] * coarse_factor,
            "coarse_factor": coarse_factor,
            "fine_offset": params[f"offset{fine.number}"] << left,
            "fine_multiplier": params[f"multiplier{fine.number}"],
            "multiplier": params["output_multiplier"],
            "doubled_zero": 2 * params["output_offset"] + 1,
            "fine_factor": 2 * fine.sign,
            "fine_left": left,
            "fine_right": right,
            "code": -params["output_shift"] - 1,
            "activation_min": params["activation_min"],
            "activation_max": params["activation_max"],
        },
    )


def _add_mve(step: Step, sign2: int) -> Step:
    loops = {name: step.params[name] for name in ("shape", "strides1", "strides2")}
    return replace(step, kernel="add_s8_mve", params={**loops, "sign2": sign2, **_integers(step)})


def _add_variants(sign2: int) -> tuple[Variant[Step], ...]:
    return (
        Variant("add_s8_mve", "mve", "four elements at once", no_obstacle, lambda step: _add_mve(step, sign2)),
        Variant(
            "add_s8_dsp",
            "dsp",
            "SMMLAR, one multiplication an operand less",
            _add_dsp_obstacle,
            lambda step: _add_dsp(step, sign2),
        ),
        Variant("add_s8", "", "portable C", no_obstacle, lambda step: _add(step, sign2)),
    )


ADD_VARIANTS = _add_variants(1)
SUB_VARIANTS = _add_variants(-1)


def _mul_dsp_obstacle(step: Step) -> str | None:
    shift = _integers(step)["shift"]
    return None if 1 <= -shift <= packing.LARGEST_RIGHT_SHIFT else f"a shift of the product by {shift}"


def _mul_dsp(step: Step) -> Step:
    params = _integers(step)
    return replace(
        step,
        kernel="mul_s8_dsp",
        params={
            **{name: step.params[name] for name in ("shape", "strides1", "strides2")},
            "offset1": 2 * params["offset1"],
            "offset2": params["offset2"],
            "multiplier": params["multiplier"],
            "doubled_zero": 2 * params["output_offset"] + 1,
            "code": -params["shift"] - 1,
            "activation_min": params["activation_min"],
            "activation_max": params["activation_max"],
        },
    )


def _mul_mve_obstacle(step: Step) -> str | None:
    shift = _integers(step)["shift"]
    return None if shift < 0 else "a product that is multiplied by 1/2 or more"


MUL_VARIANTS: tuple[Variant[Step], ...] = (
    Variant(
        "mul_s8_mve",
        "mve",
        "eight products at once",
        _mul_mve_obstacle,
        lambda step: replace(step, kernel="mul_s8_mve"),
    ),
    Variant("mul_s8_dsp", "dsp", "requantization by SMMLAR", _mul_dsp_obstacle, _mul_dsp),
    Variant("mul_s8", "", "portable C", no_obstacle, lambda step: step),
)


def _strides(groups: list[tuple[int, bool]]) -> tuple[int, ...]:
    return tuple(
        math.prod(size for size, goes_on in groups[n + 1 :] if goes_on) if groups[n][1] else 0
        for n in range(len(groups))
    )


CodeFunction = Callable[[int, int], int]


def code_function(graph: Graph, op: Op) -> CodeFunction | None:
    """What an int8 op of this page makes of two codes, as TFLM does; None for all other ops."""
    found = _CODE_FUNCTIONS.get(op.name)
    if found is None or graph.tensor(op.outputs[0]).dtype != "int8":
        return None
    lowering, function = found
    return partial(function, _integers(lowering(graph, op, PORTABLE)))


_Parameters = Mapping[str, int]


def _multiplied(p: _Parameters, value: int, prefix: str = "", number: str = "") -> int:
    return requantize(value, Multiplier(p[f"{prefix}multiplier{number}"], p[f"{prefix}shift{number}"]))


def _sum_of_codes(sign: int, p: _Parameters, a: int, b: int) -> int:
    first = _multiplied(p, (a + p["offset1"]) << _LEFT_SHIFT, number="1")
    second = _multiplied(p, (b + p["offset2"]) << _LEFT_SHIFT, number="2")
    return _clamped(p, _multiplied(p, first + sign * second, "output_"))


def _product_of_codes(p: _Parameters, a: int, b: int) -> int:
    return _clamped(p, _multiplied(p, (a + p["offset1"]) * (b + p["offset2"])))


def _squared_difference_of_codes(p: _Parameters, a: int, b: int) -> int:
    first = _multiplied(p, (a + p["offset1"]) << 7, number="1")
    second = _multiplied(p, (b + p["offset2"]) << 7, number="2")
    return _clamped(p, _multiplied(p, (first - second) ** 2, "output_"))


def _rectified_code(p: _Parameters, a: int, b: int) -> int:
    x = a + p["offset1"]
    return _clamped(p, _multiplied(p, x) if x >= 0 else _multiplied(p, x * (b + p["offset2"]), "slope_"))


def _clamped(p: _Parameters, result: int) -> int:
    low, high = p.get("activation_min", -128), p.get("activation_max", 127)
    return max(low, min(result + p["output_offset"], high))


_CODE_FUNCTIONS: dict[str, tuple[Lowering, Callable[[_Parameters, int, int], int]]] = {
    "ADD": (_sum_step, partial(_sum_of_codes, 1)),
    "SUB": (_sum_step, partial(_sum_of_codes, -1)),
    "MUL": (lower_mul, _product_of_codes),
    "MAXIMUM": (lower_maximum, lambda _, a, b: max(a, b)),
    "MINIMUM": (lower_minimum, lambda _, a, b: min(a, b)),
    "SQUARED_DIFFERENCE": (lower_squared_difference, _squared_difference_of_codes),
    "PRELU": (lower_prelu, _rectified_code),
}
