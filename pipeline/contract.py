"""The input contract: how raw values of a sensor or a file become the real numbers that a model was trained on.

One statement in the recipe, one formula, used in three places: on the host for training and test data, in the firmware
(pipeline.preprocessing writes it as C), and in an Edge TPU bundle. It is computed in float32, one operation at a time,
so that all three give the same bits:

    real = float32(raw) * scale[channel] + offset[channel]

The channel is the last axis of the model's input; scale and offset have one value for each, or one for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.model import Array

RAW_DTYPES = ("uint8", "int16", "float32")
LAYOUTS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class Contract:
    """raw: of RAW_DTYPES. scale, offset: exact float32 values. layout: of raw samples; the model's is channels last."""

    raw: str
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    layout: str = "channels_last"

    def __post_init__(self) -> None:
        if self.raw not in RAW_DTYPES or self.layout not in LAYOUTS or not self.scale or not self.offset:
            raise ValueError(f"not a contract: {self}")
        if any(float(np.float32(value)) != value for value in (*self.scale, *self.offset)):
            raise ValueError(f"not float32 values: {self.scale}, {self.offset}")

    @property
    def channels(self) -> int | None:
        """How many channels have values of their own; None where one holds for all."""
        most = max(len(self.scale), len(self.offset))
        return most if most > 1 else None

    def require_channels(self, channels: int, where: str) -> None:
        """Raises:  DataError: there are not as many channels as the contract has values for."""
        if self.channels not in (None, channels):
            raise DataError(
                f"{where}: {channels} channels in the last axis; the recipe's input section has values for "
                f"{self.channels}.",
                hint="one value for each channel, or one for all; `layout` says which axis of raw data they are in.",
            )

    def real(self, raw: Array, where: str = "raw data") -> Array:
        """Raw samples [samples, ...] as real numbers, float32 [samples, ..., channels].

        Raises:  DataError: another dtype than the recipe says, as data that are normalised already would have, or
                 another number of channels.
        """
        if raw.dtype.kind != "f" if self.raw == "float32" else raw.dtype != np.dtype(self.raw):
            raise DataError(
                f"{where} is {raw.dtype}; the recipe's input section says that raw data are {self.raw}.",
                hint="give the data as the sensor gives them, without normalisation: the recipe's `input` does that.",
            )
        if self.layout == "channels_first":
            raw = np.moveaxis(raw, 1, -1)
        self.require_channels(raw.shape[-1], where)
        with np.errstate(over="ignore"):  # infinity is found by whoever asked
            product = raw.astype(np.float32) * np.asarray(self.scale, np.float32)
            result: Array = product + np.asarray(self.offset, np.float32)
        return np.ascontiguousarray(result)

    def as_json(self) -> dict[str, Any]:
        """As reports and bundles have it; `from_json` reads it again."""
        return {"raw": self.raw, "scale": list(self.scale), "offset": list(self.offset), "layout": self.layout}


def from_json(value: Mapping[str, Any] | None) -> Contract | None:
    """What `Contract.as_json` gave."""
    if value is None:
        return None
    return Contract(value["raw"], tuple(value["scale"]), tuple(value["offset"]), value["layout"])
