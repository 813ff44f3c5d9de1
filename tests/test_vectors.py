"""Input vectors: what they cover, that they never change, and what is refused in a file of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline import tflite, vectors
from pipeline.errors import DataError, RequestError
from pipeline.model import QuantizedModel, TensorSpec
from tests.tflite_builder import TfliteBuilder

SHAPE = (1, 5, 7)
ZERO_POINT = -11


def model_of(*specs: TensorSpec) -> QuantizedModel:
    return QuantizedModel(Path("m.tflite"), "0" * 64, "m", specs, (TensorSpec("out", (1,), "int8", 0.1),))


INT8 = model_of(TensorSpec("x", SHAPE, "int8", 0.5, ZERO_POINT))


def codes(samples: int, seed: int = 1, model: QuantizedModel = INT8) -> np.ndarray:
    return vectors.make(model, samples, seed).inputs[0]


def test_a_third_is_uniform_over_all_codes():
    drawn = codes(300)[0::3].reshape(-1).astype(int)
    counts = np.bincount(drawn + 128, minlength=256)
    assert counts.min() > 0
    assert abs(drawn.mean() + 0.5) < 5


def test_a_third_is_edge_patterns():
    edges = codes(300)[1::3]
    for wanted in (np.full(SHAPE, -128), np.full(SHAPE, 127), np.full(SHAPE, ZERO_POINT)):
        assert any(np.array_equal(edge, wanted) for edge in edges)
    flat = edges.reshape(len(edges), -1).astype(int)
    assert any((np.diff(row) == 1).all() for row in flat), "a ramp up"
    assert any((np.diff(row) == -1).all() for row in flat), "a ramp down"
    assert any(np.array_equal(row[:4], [-128, 127, -128, 127]) for row in flat), "a checkerboard"
    hot = [row for row in flat if (row != ZERO_POINT).sum() == 1]
    assert len({int(np.argmax(row != ZERO_POINT)) for row in hot}) > 5, "a hot code at different places"


def test_a_third_is_close_to_the_zero_point():
    near = codes(300)[2::3].astype(int) - ZERO_POINT
    assert sorted(np.unique(near)) == [-3, -2, -1, 0, 1, 2, 3]


def test_codes_next_to_the_end_of_the_range_are_kept_inside():
    for zero_point in (-128, 127):
        model = model_of(TensorSpec("x", SHAPE, "int8", 0.5, zero_point))
        near = codes(30, model=model)[2::3].astype(int)
        assert np.abs(near - zero_point).max() <= 3


def test_the_vectors_of_a_seed_never_change():
    digest = hashlib.sha256(np.ascontiguousarray(codes(50, seed=42)).tobytes()).hexdigest()
    assert digest == "a2a1b2e78aa8037708adfb56c5743f3ed00945de87e24e3f25afd27496ec2171"


def test_more_samples_begin_with_the_same_ones():
    assert np.array_equal(codes(7), codes(100)[:7])
    assert not np.array_equal(codes(7, seed=1), codes(7, seed=2))


def test_inputs_of_one_model_differ_from_each_other():
    model = model_of(TensorSpec("a", SHAPE, "int8", 0.5), TensorSpec("b", SHAPE, "int8", 0.5))
    a, b = vectors.make(model, 99, 3).inputs
    assert not np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1]), "the first round has the extremes of all inputs together"
    assert not np.array_equal(a[1 + 3 * 14], b[1 + 3 * 14]), "a later round mixes them"


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("uint8", 0, 255), ("int16", -32768, 32767), ("bool", 0, 1), ("int32", 0, 127)]
)
def test_other_dtypes_cover_their_range(dtype: str, low: int, high: int):
    array = codes(60, model=model_of(TensorSpec("x", (1, 50), dtype)))
    assert array.dtype == np.dtype(dtype)
    assert (int(array.min()), int(array.max())) == (low, high)


def float_model(tmp_path: Path) -> QuantizedModel:
    builder = TfliteBuilder()
    x = builder.input((1, 40), dtype="float32")
    y = builder.output((1, 40), scale=0.25, zero_point=10)
    builder.op("QUANTIZE", [x], [y])
    path = tmp_path / "float.tflite"
    path.write_bytes(builder.build())
    return tflite.quantized_model(tflite.read(path))


def test_float_inputs_are_the_real_values_of_the_codes_behind_them(tmp_path: Path):
    array = codes(99, model=float_model(tmp_path))
    assert array.dtype == np.float32
    assert np.isfinite(array).all()
    steps = array.astype(float) / 0.25 + 10
    assert np.array_equal(steps[1], np.full((1, 40), -128.0)), "the smallest code exactly"
    uniform = steps[0::3]
    assert (np.abs(uniform - np.round(uniform)) > 0.2).any(), "between codes"
    assert steps.min() < -129 and steps.max() > 128, "beyond the range"


@pytest.mark.parametrize(("samples", "seed"), [(0, 1), (-1, 1), (10**9, 1), (1, -1)])
def test_impossible_requests_are_refused(samples: int, seed: int):
    with pytest.raises(RequestError):
        vectors.make(INT8, samples, seed)


def test_a_file_is_read_by_name_or_by_position(tmp_path: Path):
    array = codes(4)
    np.savez(tmp_path / "name.npz", x=array)
    np.savez_compressed(tmp_path / "position.npz", input_0=array)
    np.savez(tmp_path / "batch.npz", input_0=array[:, 0])
    for name in ("name", "position", "batch"):
        loaded = vectors.load(tmp_path / f"{name}.npz", INT8)
        assert np.array_equal(loaded.inputs[0], array)
        assert loaded.samples == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((2, *SHAPE), np.int8)}, "no array for the model's input 'x'; found: 'y'"),
        ({"x": np.zeros((2, *SHAPE), np.float32)}, "float32; the input 'x' is int8"),
        ({"x": np.zeros((2, *SHAPE), np.uint8)}, "uint8; the input 'x' is int8"),
        ({"x": np.zeros((2, 5, 8), np.int8)}, r"shape \[2, 5, 8\]; \[samples, 1, 5, 7\] is needed"),
        ({"x": np.zeros(35, np.int8)}, r"\[samples, 1, 5, 7\] is needed"),
        ({"x": np.zeros((0, *SHAPE), np.int8)}, "0 samples"),
        ({"x": np.zeros((2, *SHAPE), np.int8), "labels": np.zeros(2)}, "'labels': the model has no such input"),
        ({"x": np.array([None])}, "allow_pickle"),
        ({"x": np.array(["a"])}, "not an array of numbers"),
        ({}, "found: nothing"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_is_needed(tmp_path: Path, arrays: dict, message: str):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(DataError, match=message):
        vectors.load(tmp_path / "v.npz", INT8)


def test_float_samples_for_an_int8_input_are_told_how_to_become_codes(tmp_path: Path):
    np.savez(tmp_path / "v.npz", x=np.zeros((2, *SHAPE)))
    with pytest.raises(DataError, match=r"quantize: clip\(round\(x / 0.5\) \+ -11\)"):
        vectors.load(tmp_path / "v.npz", INT8)


def test_different_numbers_of_samples_are_refused(tmp_path: Path):
    model = model_of(TensorSpec("a", (2,), "int8"), TensorSpec("b", (2,), "int8"))
    np.savez(tmp_path / "v.npz", a=np.zeros((2, 2), np.int8), b=np.zeros((3, 2), np.int8))
    with pytest.raises(DataError, match=r"different numbers of samples: \[2, 3\]"):
        vectors.load(tmp_path / "v.npz", model)


def test_nan_is_refused(tmp_path: Path):
    np.savez(tmp_path / "v.npz", x=np.array([[np.nan]], np.float32))
    with pytest.raises(DataError, match="NaN"):
        vectors.load(tmp_path / "v.npz", model_of(TensorSpec("x", (1,), "float32")))


def test_files_that_are_no_npz_are_refused(tmp_path: Path):
    path = tmp_path / "v.npz"
    np.savez(path, x=codes(4))
    whole = path.read_bytes()
    with pytest.raises(DataError, match="no such file"):
        vectors.load(tmp_path / "absent.npz", INT8)
    with pytest.raises(DataError, match="not a file"):
        vectors.load(tmp_path, INT8)
    for content in (b"", b"PK", whole[:100], whole[:-30], b"\x93NUMPY" + whole, np.random.default_rng(0).bytes(500)):
        path.write_bytes(content)
        with pytest.raises(DataError):
            vectors.load(path, INT8)


def test_a_file_with_any_byte_damaged_is_read_right_or_refused(tmp_path: Path):
    path = tmp_path / "v.npz"
    np.savez(path, x=codes(2))
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(random.integers(len(whole)))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert np.array_equal(vectors.load(path, INT8).inputs[0], codes(2))
        except DataError:
            refused += 1
    assert refused > 75
