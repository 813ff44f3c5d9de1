"""AVERAGE_POOL_2D and MAX_POOL_2D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.aot.ops.overlap import lead_bytes
from pipeline.aot.ops.window import windows
from pipeline.aot.requantization import fused_range
from pipeline.aot.steps import Core, Step, code_type, quantized_input, quantized_output, refuse
from pipeline.aot.variants import Variant, choose, no_obstacle
from pipeline.tflite import Graph, Op

# Codes of up to 128 or 32768 whose sum, half their count added for rounding, is an int32.
_MAX_AVERAGED = {"int8": (1 << 24) - 1, "int16": (1 << 16) - 1}
_INT16_POSITIONS = 256  # codes of up to 128 whose sum is an int16


def lower_average_pool_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of AVERAGE_VARIANTS or WIDE_AVERAGE_VARIANTS."""
    return _lower(graph, op, core, AVERAGE_VARIANTS, WIDE_AVERAGE_VARIANTS)


def lower_max_pool_2d(graph: Graph, op: Op, core: Core) -> Step:
    """One call of the best kernel of MAX_VARIANTS or WIDE_MAX_VARIANTS."""
    return _lower(graph, op, core, MAX_VARIANTS, WIDE_MAX_VARIANTS)


def _lower(
    graph: Graph, op: Op, core: Core, variants: Sequence[Variant[Step]], wide_variants: Sequence[Variant[Step]]
) -> Step:
    dtype = code_type(graph, op)
    source, output = quantized_input(graph, op, 0, dtype), quantized_output(graph, op, 0, dtype)
    taps = int(op.options.get("filter_height", 0)), int(op.options.get("filter_width", 0))
    vertical, horizontal = windows(op, source, output, taps)
    if source.shape[3] != output.shape[3]:
        raise refuse(op, f"{source.shape[3]} channels go in and {output.shape[3]} come out.")
    if not abs(source.scale - output.scale) <= 1e-6 or source.zero_point != output.zero_point:
        raise refuse(
            op,
            f"input quantized with ({source.scale:g}, {source.zero_point}) and output with "
            f"({output.scale:g}, {output.zero_point}); they have to be the same, for TFLM as well.",
            "convert the model again.",
        )
    averaged = min(vertical.taps, source.shape[1]) * min(horizontal.taps, source.shape[2])
    if averaged > _MAX_AVERAGED[dtype]:
        raise refuse(op, f"windows of {averaged:,} positions; sums of up to {_MAX_AVERAGED[dtype]:,} fit an int32.")
    low, high = fused_range(op, output)
    step = Step(
        op=op,
        kernel="",
        reason="",
        inputs=(source.index,),
        outputs=(output.index,),
        params={
            "batches": source.shape[0],
            "input_height": source.shape[1],
            "input_width": source.shape[2],
            "channels": source.shape[3],
            "output_height": output.shape[1],
            "output_width": output.shape[2],
            "filter_height": vertical.taps,
            "filter_width": horizontal.taps,
            "stride_height": vertical.stride,
            "stride_width": horizontal.stride,
            "pad_top": vertical.pad,
            "pad_left": horizontal.pad,
            "activation_min": low,
            "activation_max": high,
        },
        lead_bytes=lead_bytes(source, output, vertical, horizontal),
    )
    return choose(wide_variants if dtype == "int16" else variants, step, core)


def _summed_in_16_bits(step: Step, kernel: str) -> Step:
    """With the rows of a window that together have so many positions that int16 sums of their codes do not overflow."""
    width = min(_size(step, "filter_width"), _size(step, "input_width"))
    activation = {name: step.params[name] for name in ("activation_min", "activation_max")}
    others = {name: value for name, value in step.params.items() if name not in activation}
    return replace(step, kernel=kernel, params={**others, "rows_together": _INT16_POSITIONS // width, **activation})


def _long_row(step: Step) -> str | None:
    width = min(_size(step, "filter_width"), _size(step, "input_width"))
    return f"rows of {width} positions in a window" if width > _INT16_POSITIONS else None


def _few_channels(step: Step) -> str | None:
    return f"{_size(step, 'channels')} channels" if _size(step, "channels") < 4 else None


def _size(step: Step, name: str) -> int:
    value = step.params[name]
    if not isinstance(value, int):
        raise ValueError(f"{name} is no number")
    return value


def _wide_variants(kernel: str) -> tuple[Variant[Step], ...]:
    def build(step: Step) -> Step:
        return replace(step, kernel=kernel, params={f"layer.{name}": value for name, value in step.params.items()})

    return (Variant(kernel, "", "portable C", no_obstacle, build),)


AVERAGE_VARIANTS: tuple[Variant[Step], ...] = (
    Variant(
        "average_pool_2d_s8_mve",
        "mve",
        "int16 sums of eight channels at once",
        _long_row,
        lambda step: _summed_in_16_bits(step, "average_pool_2d_s8_mve"),
    ),
    Variant(
        "average_pool_2d_s8_dsp",
        "dsp",
        "SXTAB16 on four channels at once",
        lambda step: _few_channels(step) or _long_row(step),
        lambda step: _summed_in_16_bits(step, "average_pool_2d_s8_dsp"),
    ),
    Variant(
        "average_pool_2d_s8", "", "portable C", no_obstacle, lambda step: replace(step, kernel="average_pool_2d_s8")
    ),
)
MAX_VARIANTS: tuple[Variant[Step], ...] = (
    Variant(
        "max_pool_2d_s8_mve",
        "mve",
        "sixteen channels at once",
        no_obstacle,
        lambda step: replace(step, kernel="max_pool_2d_s8_mve"),
    ),
    Variant(
        "max_pool_2d_s8_dsp",
        "dsp",
        "SSUB8 and SEL on four channels at once",
        _few_channels,
        lambda step: replace(step, kernel="max_pool_2d_s8_dsp"),
    ),
    Variant("max_pool_2d_s8", "", "portable C", no_obstacle, lambda step: replace(step, kernel="max_pool_2d_s8")),
)
WIDE_AVERAGE_VARIANTS = _wide_variants("average_pool_2d_s16")
WIDE_MAX_VARIANTS = _wide_variants("max_pool_2d_s16")
