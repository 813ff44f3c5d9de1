from fractions import Fraction

import numpy as np
import pytest

from pipeline.contract import Contract, from_json
from pipeline.errors import DataError
from pipeline.model import Array


def f32(*values: float) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


THIRDS = Contract("uint8", f32(1 / 58.4, 1 / 57.1, 1 / 57.4), f32(-2.1179, -2.0357, -1.8044))


def rounded(value: Fraction) -> Fraction:
    """To the nearest float32, ties to even: from the two neighbours, without float arithmetic."""
    near = np.float32(float(value))
    candidates = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)] + [near]
    return min(
        (Fraction(float(each)) for each in candidates),
        key=lambda each: (abs(each - value), np.float32(float(each)).view(np.uint32) & 1),
    )


def test_product_and_sum_are_each_rounded_to_float32() -> None:
    raw = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    real = THIRDS.real(raw)
    assert real.dtype == np.float32 and real.shape == (256, 3)
    for value in range(256):
        for channel in range(3):
            product = rounded(value * Fraction(THIRDS.scale[channel]))
            assert Fraction(float(real[value, channel])) == rounded(product + Fraction(THIRDS.offset[channel]))


def test_raw_samples_with_channels_first_become_channels_last() -> None:
    raw = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    first = Contract("uint8", THIRDS.scale, THIRDS.offset, "channels_first")
    moved = np.ascontiguousarray(np.moveaxis(raw, 1, -1))
    assert first.real(raw).tobytes() == THIRDS.real(moved).tobytes()
    vector = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert first.real(vector).tobytes() == THIRDS.real(vector).tobytes()


@pytest.mark.parametrize(
    ("raw", "array"),
    [
        ("uint8", np.zeros((2, 3), np.float32)),  # normalised already, most likely
        ("uint8", np.zeros((2, 3), np.int64)),
        ("int16", np.zeros((2, 3), np.uint8)),
        ("float32", np.zeros((2, 3), np.uint8)),
    ],
)
def test_another_type_than_the_recipe_states_is_refused(raw: str, array: Array) -> None:
    with pytest.raises(DataError, match=f"x_train is {array.dtype}; .* says that raw data are {raw}") as caught:
        Contract(raw).real(array, "x_train")
    assert "without normalisation" in (caught.value.hint or "")


def test_reals_of_twice_the_precision_are_taken() -> None:
    assert Contract("float32", (0.5,)).real(np.array([[3.0]])).tolist() == [[1.5]]


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(DataError, match=r"x: 4 channels in the last axis; .* has values for 3"):
        THIRDS.real(np.zeros((1, 4), np.uint8), "x")
    Contract("uint8", (0.5,), (1.0,)).real(np.zeros((1, 4), np.uint8))


@pytest.mark.parametrize(
    "arguments",
    [("uint16",), ("uint8", ()), ("uint8", (0.1,)), ("uint8", (1.0,), (0.1,)), ("uint8", (1.0,), (0.0,), "x")],
)
def test_what_is_no_contract_cannot_be_made(arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="not"):
        Contract(*arguments)  # type: ignore[arg-type]


def test_a_contract_goes_through_json() -> None:
    assert from_json(THIRDS.as_json()) == THIRDS and from_json(None) is None
