from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.contract import Contract
from pipeline.errors import DataError
from pipeline.model import TensorSpec

ALL = ("train", "test", "representative")


def arrays(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(1)
    result = {
        "x_train": random.random((12, 4, 4, 1), np.float32),
        "y_train": np.arange(12) % 3,
        "x_test": random.random((6, 4, 4, 1), np.float32),
        "y_test": np.arange(6) % 3,
        "x_representative": random.random((5, 4, 4, 1), np.float32),
        **changes,
    }
    return {name: value for name, value in result.items() if value is not None}


def write(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "d.npz", **arrays(**changes))
    return folder / "d.npz"


def test_an_npz_file_is_read(tmp_path: Path) -> None:
    dataset = data.from_npz(write(tmp_path), ALL)
    assert dataset.train is not None and dataset.test is not None and dataset.representative is not None
    assert (len(dataset.train), len(dataset.test), len(dataset.representative)) == (12, 6, 5)
    assert (dataset.sample_shape, dataset.classes) == ((4, 4, 1), 3)
    assert dataset.train.x.dtype == np.float32 and dataset.train.y.dtype == np.int64


def test_what_is_not_needed_may_be_left_out(tmp_path: Path) -> None:
    dataset = data.from_npz(write(tmp_path, x_train=None, y_train=None, x_representative=None), ["test"])
    assert dataset.train is None and dataset.representative is None and dataset.sample_shape == (4, 4, 1)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "representative missing": ({"x_representative": None}, r"no representative data \(x_representative\)"),
    "representative empty": (
        {"x_representative": np.zeros((0, 4, 4, 1))},
        r"x_representative is empty: its shape is \[0, 4, 4, 1\]",
    ),
    "representative of another shape": (
        {"x_representative": np.ones((5, 16)) * np.arange(16)},
        r"samples of x_representative have shape \[16\], those of x_train \[4, 4, 1\]",
    ),
    "representative with one NaN": (
        {"x_representative": np.where(np.arange(80).reshape(5, 4, 4, 1) == 40, np.nan, 1.0)},
        r"x_representative holds NaN or infinity .* in 1 of 5 samples, first in sample 2",
    ),
    "representative beyond float32": (
        {"x_representative": np.arange(80).reshape(5, 4, 4, 1) * 1e38},
        "x_representative holds NaN or infinity",
    ),
    "representative of text": ({"x_representative": np.full((5, 4, 4, 1), "a")}, "is not an array of numbers"),
    "representative all zero": (
        {"x_representative": np.zeros((5, 4, 4, 1))},
        "every value of x_representative is 0; the model's ranges cannot be learnt",
    ),
    "representative without samples axis": (
        {"x_representative": np.arange(4.0)},
        r"x_representative has shape \[4\]; \[samples, ...\] is needed",
    ),
    "training data infinite": ({"x_train": np.full((12, 4, 4, 1), np.inf)}, "x_train holds NaN or infinity"),
    "training data missing": ({"x_train": None, "y_train": None}, r"no train data \(x_train\)"),
    "classes missing": ({"y_test": None}, "there is x_test but no y_test"),
    "samples missing": ({"x_test": None}, "there is y_test but no x_test"),
    "another number of classes than samples": ({"y_test": np.arange(5)}, "x_test has 6 samples, y_test has 5"),
    "one-hot classes": ({"y_test": np.eye(6)}, r"y_test has shape \[6, 6\]; \[samples\] is needed"),
    "real classes": ({"y_test": np.arange(6.0)}, "y_test is float64; class numbers are integers"),
    "negative classes": ({"y_test": np.arange(6) - 1}, "y_test runs from -1 to 4"),
    "truth values as samples": ({"x_test": np.ones((6, 4, 4, 1), bool)}, "x_test is bool; numbers"),
    "an unknown array": ({"x_valid": np.ones(3)}, "an array 'x_valid'; it may hold x_train, y_train"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_refused_by_the_name_of_its_array(case: str, tmp_path: Path) -> None:
    changes, message = BAD[case]
    path = write(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        data.from_npz(path, ALL)
    assert caught.value.message.startswith(str(path)) and caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"random bytes"])
def test_a_file_that_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"d\.npz"):
        data.from_npz(tmp_path / "d.npz", ALL)


def test_python_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=np.array([{"a": 1}], object))
    with pytest.raises(DataError, match=r"d\.npz"):
        data.from_npz(tmp_path / "d.npz", ALL)


def factory_result(**changes: Any) -> dict[str, Any]:
    a = arrays()
    return {
        "train": (a["x_train"], a["y_train"]),
        "test": (a["x_test"], a["y_test"]),
        "representative": a["x_representative"],
        **changes,
    }


def test_a_factory_may_return_a_mapping_or_an_object() -> None:
    for value in (factory_result(), SimpleNamespace(**factory_result())):
        dataset = data.from_factory(value, "data.py:load", ALL)
        assert dataset.test is not None and len(dataset.test) == 6


def test_raw_data_go_through_the_contract_in_every_part(tmp_path: Path) -> None:
    contract = Contract("uint8", (0.5,), (-1.0,))
    raw = {f"x_{part}": np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4, 1) for part in ALL}
    answers = {"y_train": np.arange(2), "y_test": np.arange(2)}
    dataset = data.from_npz(write(tmp_path, **raw, **answers), ALL, contract)
    expected = (np.arange(32, dtype=np.float32) / 2 - 1).reshape(2, 4, 4, 1)
    assert dataset.train is not None and dataset.test is not None and dataset.representative is not None
    for x in (dataset.train.x, dataset.test.x, dataset.representative):
        assert x.dtype == np.float32 and x.tobytes() == expected.tobytes()
    with pytest.raises(DataError, match=r"d\.npz: x_representative is float32; .* raw data are uint8"):
        data.from_npz(write(tmp_path, **{**raw, **answers, "x_representative": expected}), ALL, contract)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "data.py:load: returned NoneType; a mapping"),
        (([1], [2]), "data.py:load: returned tuple; a mapping"),
        (factory_result(valid=1), "returned a part 'valid'; the parts are train, test, representative"),
        (factory_result(train=np.ones(3)), "train is a ndarray; a pair"),
        (factory_result(train=(1, 2, 3)), "train is a tuple; a pair"),
        (factory_result(test=([[1.0]], [1])), "x_test is a list; a NumPy array"),
        (factory_result(representative=None), r"no representative data"),
        (factory_result(representative=np.zeros((3, 4, 4, 1), object)), "x_representative is object; numbers"),
    ],
)
def test_a_wrong_result_of_a_factory_is_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.from_factory(value, "data.py:load", ALL)


def test_data_is_saved_and_read_again_with_equal_bytes(tmp_path: Path) -> None:
    dataset = data.from_factory(factory_result(), "f", ALL)
    for name in "ab":
        (tmp_path / name).mkdir()
        data.save(dataset, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(f"{name}.npy" for name in arrays())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    again = data.load(tmp_path / "a")
    assert again.train is not None and dataset.train is not None
    np.testing.assert_array_equal(again.train.x, dataset.train.x)


def test_damaged_saved_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x_train.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="saved data cannot be read"):
        data.load(tmp_path)


def spec(scale: float, zero_point: int, dtype: str = "int8") -> TensorSpec:
    return TensorSpec("x", (1, 1), dtype, scale, zero_point)


def test_samples_are_quantized_to_the_nearest_code_ties_away_from_zero() -> None:
    scale = 0.25  # a power of two: the division is exact, so fractions say what is right
    x = np.arange(-2000, 2000, dtype=np.float32)[:, np.newaxis] / 32
    codes = data.quantized(x, spec(scale, 3))
    assert codes.shape == (4000, 1, 1) and codes.dtype == np.int8
    for value, code in zip(x[:, 0].tolist(), codes.reshape(-1).tolist(), strict=True):
        ratio = Fraction(value) / Fraction(scale)
        magnitude = int(abs(ratio) + Fraction(1, 2))
        assert code == max(-128, min(127, (magnitude if ratio >= 0 else -magnitude) + 3))


def test_the_largest_number_below_a_half_is_rounded_down() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert data.quantized(np.array([[below], [0.5], [-below], [-0.5]], np.float32), spec(1.0, 0)).ravel().tolist() == [
        0,
        1,
        0,
        -1,
    ]


def test_values_far_outside_of_the_range_are_clamped() -> None:
    assert data.quantized(np.array([[1e30], [-1e30]], np.float32), spec(1e-3, -5)).ravel().tolist() == [127, -128]


def test_a_float_input_takes_the_samples_as_they_are() -> None:
    x = np.array([[0.1], [0.2]], np.float32)
    assert data.quantized(x, spec(0.0, 0, "float32")).tobytes() == x.tobytes()


def test_samples_of_another_shape_do_not_go_into_a_model() -> None:
    with pytest.raises(DataError, match=r"samples have shape \[4, 4\]; the model's input x has \[1, 1\]"):
        data.quantized(np.zeros((2, 4, 4), np.float32), spec(1.0, 0))
