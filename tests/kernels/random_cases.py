"""Seeded random numbers for kernel tests, with the values at which kernels go wrong made likely."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.model import Array
from tests.tflite_builder import TfliteBuilder

ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


class Tape:
    """The small integers that a case is made of: recorded, or played so that a similar case comes out.

    Where a played tape has ended, the choices nearest to 0 are made. taken: (choice, the one nearest to 0).
    """

    playing: ClassVar[Tape | None] = None

    def __init__(self, choices: Sequence[int] | None = None) -> None:
        self._choices = choices
        self.taken: list[tuple[int, int]] = []

    def __enter__(self) -> Tape:
        Tape.playing = self
        return self

    def __exit__(self, *_: object) -> None:
        Tape.playing = None

    def take(self, drawn: int, low: int, high: int) -> int:
        if len(self.taken) == 10_000:
            raise ValueError("choices without end")
        least, number = min(max(0, low), high), len(self.taken)
        if self._choices is not None:
            drawn = min(max(self._choices[number], low), high) if number < len(self._choices) else least
        self.taken.append((int(drawn), least))
        return self.taken[-1][0]


class Draw:
    """Random choices that depend on a name and a number only, for ops on int8 or int16 codes."""

    def __init__(self, name: str, number: int, dtype: str = "int8") -> None:
        self.rng = np.random.default_rng((zlib.crc32(name.encode()), number))
        self.dtype = dtype
        self.low, self.high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        self.label = f"{name.lower()}_{number}{'' if dtype == 'int8' else f'_{dtype}'}"

    def quantized(self, scale: float, zero_point: int = 0) -> dict[str, Any]:
        """How a tensor of codes is quantized: int16 codes are finer steps of the range that int8 codes have."""
        return {"dtype": self.dtype, "scale": scale * 128 / (self.high + 1), "zero_point": zero_point}

    def integer(self, low: int, high: int) -> int:
        """low..high, both included."""
        drawn = int(self.rng.integers(low, high + 1))
        return drawn if Tape.playing is None else Tape.playing.take(drawn, low, high)

    def chance(self, probability: float) -> bool:
        drawn = bool(self.rng.random() < probability)
        return drawn if Tape.playing is None else bool(Tape.playing.take(drawn, 0, 1))

    def choice(self, values: Sequence[Any]) -> Any:
        return values[self.integer(0, len(values) - 1)]

    def log_uniform(self, low: float, high: float) -> float:
        return float(math.exp(self.rng.uniform(math.log(low), math.log(high))))

    def zero_point(self) -> int:
        """That of int16 codes is 0."""
        zero = self.choice((-128, 127, 0, self.integer(-128, 127), self.integer(-128, 127), self.integer(-20, 20)))
        return zero if self.dtype == "int8" else 0

    def output_zero_point(self) -> int:
        """Mostly one that leaves room above for what an activation lets through."""
        zero = self.zero_point() if self.chance(0.25) else self.integer(-128, 40)
        return zero if self.dtype == "int8" else 0

    def activation(self) -> str:
        return str(self.choice(ACTIVATIONS))

    def codes(self, shape: Sequence[int], zero_point: int = 0) -> Array:
        """Uniform, only the ends of the range, near the zero point, edge codes, or one value throughout."""
        style, low, high = self.integer(0, 5), self.low, self.high
        if style <= 1:
            values = self.rng.integers(low, high + 1, shape)
        elif style == 2:
            values = self.rng.choice([low, high], shape)
        elif style == 3:
            values = zero_point + self.rng.integers(-6, 7, shape)
        elif style == 4:
            values = self.rng.choice([low, low + 1, -1, 0, 1, high - 1, high, zero_point], shape)
        else:
            values = np.full(shape, self.choice((low, high, zero_point)))
        return np.clip(values, low, high).astype(self.dtype)

    def samples(self, inputs: Sequence[tuple[Sequence[int], int]], count: int = 4) -> tuple[tuple[Array, ...], ...]:
        """Samples for inputs given as (shape, zero point); the first is uniform, which finds most."""
        first = tuple(self.rng.integers(self.low, self.high + 1, shape).astype(self.dtype) for shape, _ in inputs)
        return (first, *(tuple(self.codes(shape, zero) for shape, zero in inputs) for _ in range(count - 1)))


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights, bias and scales of a random layer whose outputs cover their range. bias may be None."""

    weights: Array
    bias: Array | None
    bias_scales: Array
    input_scale: float
    weight_scales: Array
    output_scale: float
    weight_type: str = "int8"
    options: Mapping[str, int] = field(default_factory=dict)  # of the op

    def as_int16(self, may_be_narrow: bool) -> Layer:
        """The same layer on int16 codes, 256 for one: with a bias of int64, or of int32 where no sum overflows."""
        bias = np.zeros(1, np.int64) if self.bias is None else self.bias.astype(np.int64) * 256
        largest = 32768 * np.abs(self.weights.astype(np.int64)).sum() + np.abs(bias).max()
        real = float(np.max(self.weight_scales)) * self.input_scale / self.output_scale
        narrow = may_be_narrow and largest * max(2 * real, 1) < 1 << 31
        return replace(
            self,
            bias=None if self.bias is None else bias.astype(np.int32 if narrow else np.int64),
            bias_scales=self.bias_scales / np.float32(256),
            options={"quantized_bias_type": schema.TensorType.INT32 if narrow else schema.TensorType.INT64},
        )

    def as_int4(self, scales: int | None = None) -> Layer:
        """The same layer with weights of -8..7, real values about as large, and so many of the scales."""
        wide = int(np.abs(self.weights.astype(np.int16)).max()) > 7
        weights, factor = (self.weights >> 4, np.float32(16)) if wide else (self.weights, np.float32(1))
        return replace(
            self,
            weights=weights,
            bias=None if self.bias is None else self.bias // int(factor),
            weight_scales=self.weight_scales[:scales] * factor,
            bias_scales=self.bias_scales[:scales] * factor,
            weight_type="int4",
        )

    def operands(self, model: TfliteBuilder, x: int, axis: int = 0) -> list[int]:
        """The input with weights and bias added to a model."""
        weights = model.constant(self.weights, scale=self.weight_scales, axis=axis, dtype=self.weight_type)
        bias = [] if self.bias is None else [model.constant(self.bias, scale=self.bias_scales)]
        return [x, weights, *bias]


def layer(draw: Draw, weights_shape: tuple[int, ...], channel_axis: int, *, narrow_sums: bool = True) -> Layer:
    """A random layer. Its real multipliers are ordinary, exact powers of two (ties!), above 1, huge, or tiny.

    narrow_sums: with int16 codes, sums may be int32.
    """
    channels = weights_shape[channel_axis]
    depth = math.prod(weights_shape) // channels
    style = draw.choice(("ordinary", "ordinary", "ordinary", "ties", "ties", "above 1", "huge", "tiny"))
    largest = {"above 1": 2, "huge": 1}.get(style, draw.choice((127, 127, 40, 3)))
    if style in ("ordinary", "ties") and draw.chance(0.15):
        weights = draw.rng.choice([-128, -127, 127], weights_shape)
    else:
        weights = draw.rng.integers(-largest, largest + 1, weights_shape)
    spread = math.sqrt(depth) * max(float(np.std(weights)), 0.5) * 80
    bias_range = {"above 1": 50, "huge": 3, "tiny": 1 << 30}.get(style, max(int(spread * 2), 1))
    bias = draw.rng.integers(-bias_range, bias_range + 1, channels).astype(np.int32)
    real = {
        "above 1": draw.log_uniform(1.0, 6.0),
        "huge": draw.log_uniform(8.0, 40_000.0) / depth,
        "tiny": draw.log_uniform(2.0**-34, 2.0**-23),
    }.get(style, draw.log_uniform(6, 80) / spread)
    if draw.dtype == "int16":
        real = min(real, 100.0)  # of which TFLM makes a shift to the left by 7, the most it takes
    input_scale, output_scale = draw.log_uniform(1e-4, 1.0), draw.log_uniform(0.01, 0.15)
    if style == "ties":
        input_scale, output_scale, real = (2.0 ** round(math.log2(v)) for v in (input_scale, output_scale, real))
    weight_scale = output_scale * real / input_scale
    per_channel = channels > 1 and draw.chance(0.6)
    steps = 2.0 ** draw.rng.integers(-1, 2, channels) if style == "ties" else draw.rng.uniform(0.3, 1.0, channels)
    scales = (weight_scale * (steps if per_channel else np.ones(1))).astype(np.float32)
    made = Layer(
        weights=weights.astype(np.int8),
        bias=None if draw.chance(0.2) else bias,
        bias_scales=(np.float32(input_scale) * scales).astype(np.float32),
        input_scale=input_scale,
        weight_scales=scales,
        output_scale=output_scale,
    )
    return made if draw.dtype == "int8" else made.as_int16(narrow_sums and draw.chance(0.4))


def window_positions(
    sizes: Sequence[int], taps: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str
) -> tuple[int, ...]:
    """How many positions a window has along height and width."""
    return tuple(
        -(-size // stride) if padding == "SAME" else (size - (tap - 1) * dilation - 1) // stride + 1
        for size, tap, stride, dilation in zip(sizes, taps, strides, dilations, strict=True)
    )
