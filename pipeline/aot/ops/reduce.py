"""MEAN, SUM and REDUCE_MAX over any axes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pipeline.aot.ops.operands import constant_integers
from pipeline.aot.requantization import checked_multiplier, prove_no_overflow
from pipeline.aot.steps import (
    Core,
    ParamValue,
    Step,
    code_type,
    portable_reason,
    quantized_input,
    quantized_output,
    refuse,
)
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.fixedpoint import Multiplier
from pipeline.tflite import Graph, Op, Tensor

_MAX_GROUPS = 4


def lower_mean(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_mean_s16 or the best kernel of MEAN_VARIANTS."""
    return _mean(graph, op, core, is_sum=False)


def lower_sum(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_mean_s16 or the best kernel of MEAN_VARIANTS: with a multiplier that does not divide."""
    return _mean(graph, op, core, is_sum=True)


def lower_reduce_max(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_reduce_max_s8."""
    source, output = quantized_input(graph, op, 0), quantized_output(graph, op)
    codes = [(tensor.scale, tensor.zero_point) for tensor in (source, output)]
    if codes[0] != codes[1]:
        raise refuse(
            op,
            f"the input is quantized with {codes[0]} and the output with {codes[1]}; they have to be the same, for "
            "TFLM as well.",
            "convert the model again.",
        )
    axes = _axes(graph, op, source)
    _check_shapes(op, source, output, axes)
    return Step(
        op=op,
        kernel="reduce_max_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params=_walk(source, output, axes),
    )


def _mean(graph: Graph, op: Op, core: Core, *, is_sum: bool) -> Step:
    dtype = code_type(graph, op)
    source, output = quantized_input(graph, op, 0, dtype), quantized_output(graph, op, 0, dtype)
    axes = _axes(graph, op, source)
    _check_shapes(op, source, output, axes)
    count = math.prod(source.shape[axis] for axis in axes)
    multiplier = checked_multiplier(op, source.scale / output.scale)
    if not is_sum:
        multiplier = _divided(multiplier, count)
    # The largest partial sum: the zero point's part comes first, and the codes add up to 128 or 32768 each.
    most = -int(np.iinfo(dtype).min)
    prove_no_overflow(op, [count * (most + abs(source.zero_point))], [multiplier], output.zero_point)
    params: dict[str, ParamValue] = {
        **_walk(source, output, axes),
        "sum_offset": -source.zero_point * count,
        "output_offset": output.zero_point,
        "multiplier": multiplier.mantissa,
        "shift": multiplier.shift,
    }
    wide = dtype == "int16"
    step = Step(
        op=op,
        kernel="mean_s16" if wide else "mean_s8",
        reason=portable_reason(core),
        inputs=(source.index,),
        outputs=(output.index,),
        params={f"layer.{name}": value for name, value in params.items()} if wide else params,
    )
    return step if wide else choose(MEAN_VARIANTS, step, core)


def _walk(source: Tensor, output: Tensor, axes: set[int]) -> dict[str, ParamValue]:
    """The parameters that lead through the input: an output element's part of it, one after the other."""
    kept_groups = _groups(source.shape, [axis for axis in range(len(source.shape)) if axis not in axes])
    reduced_groups = _groups(source.shape, sorted(axes)) or [(1, 1)]
    run, run_stride = reduced_groups.pop()
    return {
        "outputs": output.elements,
        "reductions": math.prod(size for size, _ in reduced_groups),
        "run": run,
        "run_stride": run_stride,
        "kept_sizes": _filled([size for size, _ in kept_groups], 1),
        "kept_strides": _filled([stride for _, stride in kept_groups], 0),
        "reduced_sizes": _filled([size for size, _ in reduced_groups], 1),
        "reduced_strides": _filled([stride for _, stride in reduced_groups], 0),
    }


def _axes(graph: Graph, op: Op, source: Tensor) -> set[int]:
    """The axes that go, counted from 0; naming one twice is allowed."""
    if len(op.inputs) != 2:
        raise refuse(op, "an input and the axes are needed.")
    given = constant_integers(graph, op, 1, "axes")
    rank = len(source.shape)
    if any(not -rank <= axis < rank for axis in given):
        raise refuse(op, f"axes {list(given)} of an input of shape {list(source.shape)}.")
    return {axis % rank for axis in given}


def _check_shapes(op: Op, source: Tensor, output: Tensor, axes: set[int]) -> None:
    with_ones = tuple(1 if axis in axes else size for axis, size in enumerate(source.shape))
    without = tuple(size for axis, size in enumerate(source.shape) if axis not in axes)
    expected = with_ones if op.options.get("keep_dims", False) else without
    if not source.elements or output.shape != expected:
        raise refuse(
            op,
            f"input {list(source.shape)}, axes {sorted(axes)}, output {list(output.shape)}; "
            f"an output of {list(expected)} and at least one element are needed.",
        )


def _divided(multiplier: Multiplier, count: int) -> Multiplier:
    """The multiplier divided by count; its mantissa may fall below 2**30.

    Source:  TFLite QuantizedMeanOrSum, tensorflow/lite/kernels/internal/reference/reduce.h.
    """
    shift = min(count.bit_length() - 1, 32, 31 + multiplier.shift)
    return Multiplier((multiplier.mantissa << shift) // count, multiplier.shift - shift)


def _groups(shape: tuple[int, ...], axes: list[int]) -> list[tuple[int, int]]:
    """(elements, stride) of each run of neighbouring axes, outer to inner; axes of one element do not count."""
    groups: list[tuple[int, int]] = []
    for axis in axes:
        size, stride = shape[axis], math.prod(shape[axis + 1 :])
        if size == 1:
            continue
        if groups and groups[-1][1] == size * stride:
            groups[-1] = (groups[-1][0] * size, stride)
        else:
            groups.append((size, stride))
    return groups


def _filled(values: list[int], filler: int) -> tuple[int, ...]:
    """Four values, the fillers first."""
    return tuple([filler] * (_MAX_GROUPS - len(values)) + values)


def _apart(step: Step) -> str | None:
    if _size(step, "reductions") > 1:
        return "axes that are no neighbours"
    inner = _size(step, "run_stride")
    return f"{inner} elements behind its axes" if inner < 4 else None


def _mean_mve_obstacle(step: Step) -> str | None:
    return _apart(step) or (None if _size(step, "shift") < 0 else "a mean that is multiplied by 1/2 or more")


def _between(step: Step, kernel: str) -> Step:
    """The input as [outer][run][inner]: what goes is in the middle."""
    inner = _size(step, "run_stride")
    sizes = {"outer": _size(step, "outputs") // inner, "run": _size(step, "run"), "inner": inner}
    scaling = {name: step.params[name] for name in ("sum_offset", "output_offset", "multiplier", "shift")}
    return replace(step, kernel=kernel, params={**sizes, **scaling})


def _size(step: Step, name: str) -> int:
    value = step.params[name]
    if not isinstance(value, int):
        raise ValueError(f"{name} is no number")
    return value


MEAN_VARIANTS: tuple[Variant[Step], ...] = (
    Variant(
        "mean_s8_mve",
        "mve",
        "int16 sums of eight elements at once",
        _mean_mve_obstacle,
        lambda step: _between(step, "mean_s8_mve"),
    ),
    Variant(
        "mean_s8_dsp", "dsp", "SXTAB16 on four elements at once", _apart, lambda step: _between(step, "mean_s8_dsp")
    ),
    Variant("mean_s8", "", "portable C", no_obstacle, lambda step: step),
)
