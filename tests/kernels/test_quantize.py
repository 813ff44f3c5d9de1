"""QUANTIZE and DEQUANTIZE in C against TFLM, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.model import Array
from tests.kernels.batch import HOST, TARGETS, Case, Target, build, case_count, check, run, sources
from tests.kernels.random_cases import Draw
from tests.tflite_builder import TfliteBuilder

RESCALES = (
    ("int8", "int8"), ("int8", "int8"), ("int8", "uint8"), ("uint8", "int8"), ("int8", "int16"), ("int8", "int32"),
    ("int16", "int8"), ("int16", "int16"), ("int16", "int32"),
)  # fmt: skip


def zero_point(draw: Draw, dtype: str) -> int:
    if dtype in ("int8", "uint8"):
        return draw.zero_point() + (128 if dtype == "uint8" else 0)
    return draw.choice((0, 0, draw.integer(-32768, 32767)))


def all_codes(draw: Draw, dtype: str) -> Array:
    limits = np.iinfo(dtype)
    if dtype != "int16":
        return np.arange(limits.min, limits.max + 1).astype(dtype)
    edges = [-32768, -32767, -1, 0, 1, 32766, 32767]
    return np.append(draw.rng.integers(limits.min, limits.max + 1, 500), edges).astype(np.int16)


def reals(draw: Draw, scale: float) -> Array:
    """Ordinary values, ties and their neighbours, the range's ends, zeros, subnormals, and the huge but defined."""
    halves = (np.arange(-140, 140) + 0.5).astype(np.float32) * np.float32(scale)
    beside = np.concatenate([np.nextafter(halves, np.float32(side)) for side in (-np.inf, np.inf)])
    ordinary = draw.rng.normal(0, 60 * scale, 400)
    far = scale * np.array([1, -1]).repeat(4) * [127, 128, 32767.5, 65535, 65536, 1e6, 1e9, 2.1e9]
    tiny = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 0.49999997 * scale, -0.49999997 * scale]
    every = np.concatenate([halves, beside, ordinary, far, tiny]).astype(np.float32)
    return every[np.abs(every / np.float32(scale)) < 2.1e9]


def quantize_case(start: str, end: str, number: int) -> Case:
    draw = Draw(f"QUANTIZE {start} {end}", number)
    wide = draw.chance(0.2)
    output_scale = draw.choice(
        (draw.log_uniform(1e-30 if wide else 1e-4, 1e6 if wide else 1.0), 2.0 ** draw.integer(-9, 3))
    )
    if start == "float32":
        x, quantization = reals(draw, output_scale), {}
    else:
        x = all_codes(draw, start)
        ratio = draw.choice((1.0, draw.log_uniform(0.2, 5.0), draw.log_uniform(1e-10, 1e4), 2.0 ** draw.integer(-6, 6)))
        quantization = {"scale": output_scale * ratio, "zero_point": zero_point(draw, start)}
    model = TfliteBuilder()
    source = model.input(x.shape, dtype=start, **quantization)
    same = start == end and draw.chance(0.1)
    after = quantization if same else {"scale": output_scale, "zero_point": zero_point(draw, end)}
    y = model.output(x.shape, dtype=end, **after)
    if draw.chance(0.3):
        model.as_output(source)  # which keeps the result out of its memory
    model.op("QUANTIZE", [source], [y])
    return Case(f"quantize_{start}_{end}_{number}", model.build(), ((x,),))


def dequantize_case(number: int) -> Case:
    draw = Draw("DEQUANTIZE", number)
    dtype = draw.choice(("int8", "uint8", "int16"))
    x = all_codes(draw, dtype)
    scale = draw.choice((draw.log_uniform(1e-4, 1.0), draw.log_uniform(1e-38, 1e38), 1e-42, 2.0 ** draw.integer(-9, 3)))
    model = TfliteBuilder()
    source = model.input(x.shape, dtype=dtype, scale=scale, zero_point=zero_point(draw, dtype))
    model.op("DEQUANTIZE", [source], [model.output(x.shape, dtype="float32")])
    return Case(f"dequantize_{number}", model.build(), ((x,),))


@pytest.mark.golden
@pytest.mark.parametrize("end", ["int8", "int16"])
@pytest.mark.parametrize("target", TARGETS)
def test_quantization_of_reals_gives_the_bytes_of_tflm(end: str, target: Target, tmp_path: Path) -> None:
    check([quantize_case("float32", end, number) for number in range(case_count())], target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_quantization_of_codes_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    cases = [quantize_case(*RESCALES[number % len(RESCALES)], number) for number in range(case_count(54, 270))]
    check(cases, target, tmp_path)


@pytest.mark.golden
@pytest.mark.parametrize("target", TARGETS)
def test_dequantization_gives_the_bytes_of_tflm(target: Target, tmp_path: Path) -> None:
    check([dequantize_case(number) for number in range(case_count())], target, tmp_path)


@pytest.mark.parametrize(("end", "zero"), [("int8", -7), ("int16", 300)])
def test_quantization_saturates_where_tflm_is_undefined(end: str, zero: int, tmp_path: Path) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 1e12, -1e12], np.float32)
    model = TfliteBuilder()
    source = model.input(x.shape, dtype="float32")
    model.op("QUANTIZE", [source], [model.output(x.shape, dtype=end, scale=1e-3, zero_point=zero)])
    case = Case("extremes", model.build(), ((x,),))
    [[(answer,)]] = run(build(sources([case]), HOST, tmp_path), [case], HOST, tmp_path)
    low, high = np.iinfo(end).min, np.iinfo(end).max
    assert np.frombuffer(answer, end).tolist() == [high, low, zero, high, low, high, low]
