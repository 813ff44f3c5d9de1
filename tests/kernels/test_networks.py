"""Random small networks with branches, several outputs and reused tensors, against TFLM, byte for byte.

Single ops are tested elsewhere; here it is the plan: lifetimes, memory taken over in place, renamed tensors.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot import Core, export
from pipeline.aot.lower import lower
from pipeline.aot.ops import LOWERINGS
from pipeline.model import Array
from tests.kernels.batch import (
    CORTEX_M0,
    CORTEX_M3,
    FIRMWARE,
    HOST,
    RISCV,
    Case,
    Target,
    case_count,
    check_many,
)
from tests.kernels.random_cases import Draw, Layer, layer, window_positions
from tests.kernels.test_stateful import lstm, svdf
from tests.tflite_builder import TfliteBuilder

Shape = tuple[int, ...]

ONLY_INT8 = frozenset(
    {"transpose_conv", "resize", "batch_matmul", "svdf", "lstm", "gather", "blocks", "batches", "normalize", "arg_max"}
)


class Network:
    """A network that grows op by op; every tensor stays available to later ops.

    Scales are those that int8 codes would have; int16 codes have finer ones (Draw.quantized).
    """

    def __init__(self, number: int, dtype: str = "int8") -> None:
        self.draw = Draw("network", number, dtype)
        self.wide = dtype == "int16"
        self.model = TfliteBuilder()
        self.tensors: list[tuple[int, Shape, float, int]] = []  # index, shape, scale, zero point
        self.constants: list[tuple[int, Shape, float]] = []  # of codes
        self.inputs: list[tuple[Shape, float, int, str]] = []  # shape, scale, zero point, type
        for _ in range(self.draw.choice((1, 1, 2))):
            self.begin()

    def begin(self) -> None:
        """An input; now and then of reals or uint8, of which QUANTIZE makes codes."""
        channels = self.draw.choice((self.draw.integer(1, 6), self.draw.integer(1, 20)))
        shape = (1, self.draw.integer(2, 6), self.draw.integer(2, 6), channels)
        scale, zero = self.draw.log_uniform(0.01, 0.1), self.draw.zero_point()
        dtype = self.draw.dtype
        if self.draw.chance(0.2):
            dtype = "float32" if self.wide or self.draw.chance(0.5) else "uint8"
        self.inputs.append((shape, scale, zero, dtype))
        if dtype == self.draw.dtype:
            self.tensors.append((self.model.input(shape, **self.draw.quantized(scale, zero)), shape, scale, zero))
            return
        ends = {"scale": scale, "zero_point": zero + 128} if dtype == "uint8" else {}
        x = self.model.input(shape, dtype=dtype, **ends)
        self.model.op("QUANTIZE", [x], [self.made(shape, scale, zero)])

    def samples(self, count: int) -> tuple[tuple[Array, ...], ...]:
        """Codes for each input, or the uint8 or the reals that stand for them."""

        def given(codes: Array, scale: float, zero: int, dtype: str) -> Array:
            if dtype == "float32":
                between = self.draw.rng.uniform(-0.5, 0.5, codes.shape)
                return ((codes - np.float64(zero) + between) * self.draw.quantized(scale)["scale"]).astype(np.float32)
            return (codes.astype(np.int16) + 128).astype(np.uint8) if dtype == "uint8" else codes

        drawn = self.draw.samples([(shape, zero) for shape, _, zero, _ in self.inputs], count)
        return tuple(
            tuple(given(codes, *kind) for codes, (_, *kind) in zip(sample, self.inputs, strict=True))
            for sample in drawn
        )

    def grow(self) -> None:
        kinds = (
            self.convolution,
            self.depthwise,
            self.pool,
            self.add,
            self.add,
            self.multiply,
            self.concatenation,
            self.reshape,
            self.reshape,
            self.pad,
            self.logistic,
            self.rectify,
            self.rectify,
            self.rectify,
            self.softmax,
            self.fully_connected,
            self.dimensions,
            self.mean,
            self.requantize,
            self.other_codes,
            self.dequantize,
            self.transpose_conv,
            self.resize,
            self.batch_matmul,
            self.svdf,
            self.lstm,
            self.remember,
            self.lookup,
            self.lookup,
            self.compare,
            self.compare,
            self.transpose,
            self.reverse,
            self.slice,
            self.split,
            self.stack,
            self.gather,
            self.blocks,
            self.batches,
            self.reduce,
            self.normalize,
            self.arg_max,
        )
        self.draw.choice([kind for kind in kinds if not (self.wide and kind.__name__ in ONLY_INT8)])()

    def pick(self, rank: int | None = None) -> tuple[int, Shape, float, int]:
        """A tensor to read: mostly a late one, as in real networks."""
        known = [t for t in self.tensors if rank is None or len(t[1]) == rank]
        return known[-1] if self.draw.chance(0.6) else self.draw.choice(known)

    def made(self, shape: Shape, scale: float, zero: int) -> int:
        index = self.model.tensor(shape, **self.draw.quantized(scale, zero))
        self.tensors.append((index, shape, scale, zero))
        return index

    def convolution(self) -> None:
        x, shape, scale, _ = self.image()
        channels, taps = self.draw.integer(1, 8), (self.draw.integer(1, 3), self.draw.integer(1, 3))
        groups = 2 if shape[3] % 2 == channels % 2 == 0 and self.draw.chance(0.2) else 1
        made = self.weighted((channels, *taps, shape[3] // groups), 0, scale)
        self.window("CONV_2D", x, shape, made, 0)

    def depthwise(self) -> None:
        x, shape, scale, _ = self.image()
        taps, multiplier = (self.draw.integer(1, 3), self.draw.integer(1, 3)), self.draw.choice((1, 1, 1, 2))
        made = self.weighted((1, *taps, shape[3] * multiplier), 3, scale, narrow_sums=False)
        self.window("DEPTHWISE_CONV_2D", x, shape, made, 3, depth_multiplier=multiplier)

    def image(self) -> tuple[int, Shape, float, int]:
        """What a convolution reads: now and then with zeros around it, as from a layer of its own."""
        x, (batch, height, width, depth), scale, zero = picked = self.pick(4)
        if self.draw.chance(0.8):
            return picked
        pairs = [[0, 0], *([self.draw.integer(0, 1), self.draw.integer(0, 1)] for _ in range(2)), [0, 0]]
        to = (batch, height + sum(pairs[1]), width + sum(pairs[2]), depth)
        self.model.op("PAD", [x, self.model.constant(np.array(pairs, np.int32))], [self.made(to, scale, zero)])
        return self.tensors[-1]

    def weighted(
        self, weights: Shape, axis: int, input_scale: float, int4_scales: int | None = None, narrow_sums: bool = True
    ) -> Layer:
        """A random layer for an input of that scale; its own multipliers stay what they are. Some have int4 weights."""
        made = layer(self.draw, weights, axis, narrow_sums=narrow_sums)
        made = made.as_int4(int4_scales) if not self.wide and self.draw.chance(0.3) else made
        return replace(
            made,
            input_scale=input_scale,
            output_scale=made.output_scale * input_scale / made.input_scale,
            bias_scales=made.weight_scales * np.float32(self.draw.quantized(input_scale)["scale"]),
        )

    def window(self, op: str, x: int, shape: Shape, made: Layer, axis: int, **more: int) -> None:
        """A layer; now and then two, with the same weights and bias."""
        taps = made.weights.shape[1:3]
        operands = made.operands(self.model, x, axis)
        if op == "CONV_2D" and made.bias is None:
            operands.append(-1)
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            strides = self.draw.choice(((1, 1), (2, 2), (2, 1)))
            dilations = self.draw.choice(((1, 1), (1, 1), (1, 1), (2, 1), (2, 2)))
            spans = ((tap - 1) * dilation + 1 for tap, dilation in zip(taps, dilations, strict=True))
            fits = all(size >= span for size, span in zip(shape[1:3], spans, strict=True))
            padding = "VALID" if fits and self.draw.chance(0.4) else "SAME"
            positions = window_positions(shape[1:3], taps, strides, dilations, padding)
            y = self.made((1, *positions, made.weights.shape[axis]), made.output_scale, self.draw.output_zero_point())
            self.model.op(
                op, operands, [y], padding=padding, stride_h=strides[0], stride_w=strides[1],
                dilation_h_factor=dilations[0], dilation_w_factor=dilations[1],
                fused_activation_function=self.draw.activation(), **more, **(made.options if op == "CONV_2D" else {}),
            )  # fmt: skip

    def fully_connected(self) -> None:
        x, shape, scale, _ = self.pick()
        whole = self.draw.chance(0.5)
        depth, outputs = math.prod(shape) if whole else shape[-1], self.draw.integer(1, 12)
        if depth <= 400:
            made = self.weighted((outputs, depth), 0, scale, int4_scales=1)
            keep = not whole and self.draw.chance(0.5)
            to = (*shape[:-1], outputs) if keep else (math.prod(shape) // depth, outputs)
            operands = made.operands(self.model, x)
            for _ in range(self.draw.choice((1, 1, 1, 2))):  # now and then two with the same weights
                y = self.made(to, made.output_scale, self.draw.output_zero_point())
                self.model.op(
                    "FULLY_CONNECTED", operands, [y], keep_num_dims=keep,
                    fused_activation_function=self.draw.activation(), **made.options,
                )  # fmt: skip

    def pool(self) -> None:
        x, shape, scale, zero = self.pick(4)
        op, size = self.draw.choice(("AVERAGE_POOL_2D", "MAX_POOL_2D")), self.draw.integer(1, 3)
        stride = self.draw.integer(1, 2)
        height, width = window_positions(shape[1:3], (size, size), (stride, stride), (1, 1), "SAME")
        y = self.made((1, height, width, shape[3]), scale, zero)
        self.model.op(
            op, [x], [y], padding="SAME", stride_h=stride, stride_w=stride, filter_height=size, filter_width=size,
            fused_activation_function=self.draw.activation(),
        )  # fmt: skip

    def add(self) -> None:
        self.elementwise(self.draw.choice(("ADD", "SUB")))

    def multiply(self) -> None:
        self.elementwise("MUL")

    def elementwise(self, op: str) -> None:
        x, shape, scale, _ = self.pick()
        same = [t for t in self.tensors if t[1] == shape]
        if self.draw.chance(0.7):
            z, _, other, _ = self.draw.choice(same)
        else:
            z, other = self.channels(shape[-1])
        natural = {
            "MUL": scale * other * 64,
            "SQUARED_DIFFERENCE": max(scale, other) ** 2 * 64,
            "PRELU": scale * max(other * 64, 1.0),
        }.get(op, 1.5 * max(scale, other))
        y = self.made(shape, natural, self.draw.output_zero_point())
        fused = {"fused_activation_function": self.draw.choice(("NONE", "RELU"))} if op in ("ADD", "SUB", "MUL") else {}
        self.model.op(op, [x, z], [y], **fused)

    def channels(self, count: int) -> tuple[int, float]:
        """Constants for the last dimension, and their scale; perhaps some that another op has, perhaps renamed."""
        known = [(index, scale) for index, shape, scale in self.constants if shape == (count,)]
        if known and self.draw.chance(0.8):
            return self.draw.choice(known)
        scale, zero = self.draw.log_uniform(0.01, 0.1), self.draw.zero_point()
        index = self.model.constant(self.draw.codes((count,)), **self.draw.quantized(scale, zero))
        self.constants.append((index, (count,), scale))
        if self.draw.chance(0.2):
            renamed = self.model.tensor((1, count), **self.draw.quantized(scale, zero))
            self.model.op("RESHAPE", [index], [renamed], new_shape=np.array((1, count), np.int32))
            return renamed, scale
        return index, scale

    def concatenation(self) -> None:
        x, shape, scale, zero = self.pick()
        same = [t[0] for t in self.tensors if t[1] == shape and t[2:] == (scale, zero)]
        parts = [x, *(self.draw.choice(same) for _ in range(self.draw.integer(0, 2)))]
        if self.draw.chance(0.15):
            parts[0] = self.model.constant(self.draw.codes(shape, zero), **self.draw.quantized(scale, zero))
        axis = self.draw.integer(0, len(shape) - 1)
        joined = tuple(size * len(parts) if i == axis else size for i, size in enumerate(shape))
        if np.prod(joined) <= 2000 and (len(shape) < 4 or axis != 0):
            self.model.op("CONCATENATION", parts, [self.made(joined, scale, zero)], axis=axis)

    def reshape(self) -> None:
        x, shape, scale, zero = self.pick()
        size = int(np.prod(shape))
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        d = self.draw.choice(divisors)
        to = self.draw.choice(((1, size), (1, d, 1, size // d), (1, 1, d, size // d)))
        self.model.op("RESHAPE", [x], [self.made(to, scale, zero)], new_shape=np.array(to, np.int32))
        if self.draw.chance(0.3):
            self.model.without_options()

    def pad(self) -> None:
        x, shape, scale, zero = self.pick(4)
        paddings = np.array([[0, 0], *([self.draw.integer(0, 2), self.draw.integer(0, 1)] for _ in range(3))], np.int32)
        to = tuple(size + int(sum(extra)) for size, extra in zip(shape, paddings, strict=True))
        if np.prod(to) <= 2000:
            op, operands = "PAD", [x, self.model.constant(paddings)]
            if self.draw.chance(0.4):
                value = zero if self.draw.chance(0.5) else self.draw.zero_point()
                quantized = self.draw.quantized(scale, zero)
                operands.append(self.model.constant(np.array([value], self.draw.dtype), **quantized))
                op = "PADV2"
            self.model.op(op, operands, [self.made(to, scale, zero)])

    def logistic(self) -> None:
        x, shape, scale, _ = self.pick()
        if self.may_be_exponent(scale):
            self.model.op("LOGISTIC", [x], [self.made(shape, *self.unit())])

    def rectify(self) -> None:
        x, shape, scale, zero = self.pick()
        same = self.draw.chance(0.5)
        ends = (scale, zero) if same else (scale * self.draw.log_uniform(0.5, 2), self.draw.output_zero_point())
        self.model.op(self.draw.choice(("RELU", "RELU6")), [x], [self.made(shape, *ends)])

    def softmax(self) -> None:
        x, shape, scale, _ = self.pick()
        if self.may_be_exponent(scale):
            self.model.op("SOFTMAX", [x], [self.made(shape, *self.unit())], beta=1.0)

    def unit(self) -> tuple[float, int]:
        """Scale and zero point of numbers from 0 to 1."""
        return (1 / 128, 0) if self.wide else (1 / 256, -128)

    def may_be_exponent(self, scale: float) -> bool:
        """Whether TFLM takes exponentials of codes of that scale."""
        return not self.wide or self.draw.quantized(scale)["scale"] < 8 / 3

    def dimensions(self) -> None:
        x, shape, scale, zero = self.pick()
        if self.draw.chance(0.5) and len(shape) < 5:
            axis = self.draw.integer(1, len(shape))
            y = self.made((*shape[:axis], 1, *shape[axis:]), scale, zero)
            self.model.op("EXPAND_DIMS", [x, self.model.constant(np.array(axis, np.int32))], [y])
        elif 1 in shape[1:]:
            axis = shape.index(1, 1)
            self.model.op(
                "SQUEEZE", [x], [self.made(shape[:axis] + shape[axis + 1 :], scale, zero)], squeeze_dims=[axis]
            )

    def mean(self) -> None:
        self.reduction("MEAN")

    def reduce(self) -> None:
        self.reduction(self.draw.choice(("SUM",) if self.wide else ("SUM", "REDUCE_MAX")))

    def reduction(self, op: str) -> None:
        x, shape, scale, zero = self.pick(4)
        axes, keep = self.draw.choice(((1, 2), (1, 2), (1, 2), (1,), (2, 3), (3,))), self.draw.chance(0.7)
        reduced = math.prod(shape[axis] for axis in axes)
        ends = (scale, zero) if op == "REDUCE_MAX" else (scale, self.draw.zero_point())
        ends = (scale * reduced / 2, ends[1]) if op == "SUM" else ends
        to = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)
        named = self.model.constant(np.array(axes, np.int32))
        self.model.op(op, [x, named], [self.made(to, *ends)], keep_dims=keep)

    def requantize(self) -> None:
        x, shape, scale, _ = self.pick()
        y = self.made(shape, scale * self.draw.log_uniform(0.5, 2), self.draw.zero_point())
        self.model.op("QUANTIZE", [x], [y])

    def other_codes(self) -> None:
        """To codes of another type, an ADD there, and back; uint8 has no ADD, but DEQUANTIZE."""
        x, shape, scale, _ = self.pick()
        dtype = "int8" if self.wide else self.draw.choice(("int16", "uint8"))
        zero = {"int8": self.draw.zero_point(), "uint8": self.draw.zero_point() + 128, "int16": 0}[dtype]
        scale_there = scale / 256 if dtype == "int16" else scale
        found = self.model.tensor(shape, dtype=dtype, scale=scale_there, zero_point=zero)
        self.model.op("QUANTIZE", [x], [found])
        if self.draw.chance(0.2):
            self.model.as_output(found)
        if dtype != "uint8":
            total = self.model.tensor(shape, dtype=dtype, scale=2 * scale_there, zero_point=zero)
            self.model.op("ADD", [found, found], [total])
            found = total
        elif self.draw.chance(0.5):
            reals = self.model.tensor(shape, dtype="float32")
            self.model.op("DEQUANTIZE", [found], [reals])
            found = reals
        y = self.made(shape, scale * self.draw.log_uniform(0.5, 2), self.draw.output_zero_point())
        self.model.op("QUANTIZE", [found], [y])

    def dequantize(self) -> None:
        """To reals, some of them moved, and back to other codes."""
        x, shape, scale, _ = self.pick()
        reals = self.model.tensor(shape, dtype="float32")
        self.model.op("DEQUANTIZE", [x], [reals])
        if self.draw.chance(0.2):
            self.model.as_output(reals)
        if self.draw.chance(0.5):
            reals, shape = self.moved(reals, shape, "float32")
        y = self.made(shape, scale * self.draw.log_uniform(0.5, 2), self.draw.zero_point())
        self.model.op("QUANTIZE", [reals], [y])

    def moved(self, x: int, shape: Shape, dtype: str) -> tuple[int, Shape]:
        """Elements that are no codes: twice, half of them, in another order, or in another shape."""
        op = self.draw.choice(("CONCATENATION", "SLICE", "RESHAPE", *(["TRANSPOSE"] if dtype == "float32" else [])))
        last, operands, options = shape[-1], [x], {}
        if op == "CONCATENATION":
            to, operands, options = (*shape[:-1], 2 * last), [x, x], {"axis": len(shape) - 1}
        elif op == "SLICE":
            to = (*shape[:-1], (last + 1) // 2)
            begins = (*(0 for _ in shape[:-1]), last // 2)
            operands += [self.model.constant(np.array(given, np.int32)) for given in (begins, to)]
        elif op == "RESHAPE":
            to = (1, math.prod(shape))
            options = {"new_shape": np.array(to, np.int32)}
        else:
            to = (shape[0], *shape[:0:-1])
            operands.append(self.model.constant(np.array([0, *range(len(shape) - 1, 0, -1)], np.int32)))
        y = self.model.tensor(to, dtype=dtype)
        self.model.op(op, operands, [y], **options)
        return y, to

    def transpose_conv(self) -> None:
        x, shape, scale, _ = self.pick(4)
        taps, stride = (self.draw.integer(1, 3), self.draw.integer(1, 3)), self.draw.integer(1, 2)
        made = layer(self.draw, (self.draw.integer(1, 6), *taps, shape[3]), 0)
        to = (1, stride * shape[1], stride * shape[2], made.weights.shape[0])
        if np.prod(to) > 2000:
            return
        y = self.made(to, made.output_scale * scale / made.input_scale, self.draw.output_zero_point())
        w = self.model.constant(made.weights, scale=made.weight_scales)
        b = -1 if made.bias is None else self.model.constant(made.bias, scale=made.weight_scales * np.float32(scale))
        size = self.model.constant(np.array(to, np.int32))
        self.model.op("TRANSPOSE_CONV", [size, w, x, b], [y], padding="SAME", stride_h=stride, stride_w=stride)

    def resize(self) -> None:
        x, shape, scale, zero = self.pick(4)
        size = self.draw.integer(1, 2 * shape[1]), self.draw.integer(1, 2 * shape[2])
        if np.prod(size) * shape[3] <= 2000:
            op = self.draw.choice(("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"))
            y = self.made((1, *size, shape[3]), scale, zero)
            half = self.draw.chance(0.5)
            self.model.op(op, [x, self.model.constant(np.array(size, np.int32))], [y], half_pixel_centers=half)

    def batch_matmul(self) -> None:
        x, shape, scale, _ = self.pick()
        if len(shape) < 2 or len(shape) > 5 or np.prod(shape[:-1]) * shape[-2] > 2000:
            return
        natural = scale * math.sqrt(shape[-1]) * 90
        y = self.made((*shape[:-1], shape[-2]), scale * natural, self.draw.output_zero_point())
        self.model.op("BATCH_MATMUL", [x, x], [y], adj_y=True)  # with itself

    def svdf(self) -> None:
        x, shape, scale, zero = self.pick()
        flat = (1, int(np.prod(shape)))
        if flat[1] <= 100:
            y = self.made(flat, scale, zero)
            self.model.op("RESHAPE", [x], [y], new_shape=np.array(flat, np.int32))
            self.tensors.append(svdf(self.draw, self.model, y, flat, scale))

    def lstm(self) -> None:
        x, shape, scale, zero = self.pick(4)
        sequence = (1, shape[1], shape[2] * shape[3])
        if sequence[1] <= 12 and 1e-3 < scale < 1:
            y = self.made(sequence, scale, zero)
            self.model.op("RESHAPE", [x], [y], new_shape=np.array(sequence, np.int32))
            self.tensors.append(lstm(self.draw, self.model, y, sequence, scale))

    def remember(self) -> None:
        """A tensor comes back in the next inference, in place of itself."""
        x, shape, scale, zero = self.pick()
        handle = self.model.tensor((), dtype="resource")
        named = {"container": "", "shared_name": f"variable_{handle}"}
        if self.draw.chance(0.4):
            first = self.model.subgraph()
            self.model.op("CALL_ONCE", [], [], init_subgraph_index=len(self.model._further))
            initial = first.constant(self.draw.codes(shape, zero), **self.draw.quantized(scale, zero))
            target = first.tensor((), dtype="resource")
            first.op("VAR_HANDLE", [], [target], **named)
            first.op("ASSIGN_VARIABLE", [target, initial], [])
        self.model.op("VAR_HANDLE", [], [handle], **named)
        self.model.op("READ_VARIABLE", [handle], [self.made(shape, scale, zero)])
        self.model.op("ASSIGN_VARIABLE", [handle, x], [])

    def compare(self) -> None:
        more = () if self.wide else ("SQUARED_DIFFERENCE", "PRELU")
        self.elementwise(self.draw.choice(("MAXIMUM", "MINIMUM", *more)))

    def lookup(self) -> None:
        x, shape, scale, zero = self.pick()
        more = () if self.wide else ("HARD_SWISH", "ELU", "ABS", *(["RSQRT"] * 4 if zero == -128 else []))
        op = self.draw.choice(("TANH", "LEAKY_RELU", *more) if self.may_be_exponent(scale) else ("LEAKY_RELU",))
        ends = {"TANH": (1 / 128, 0), "RSQRT": (scale**-0.5 / 100, -128)}.get(op, (scale, self.draw.zero_point()))
        self.model.op(op, [x], [self.made(shape, *ends)], **({"alpha": 0.3} if op == "LEAKY_RELU" else {}))

    def transpose(self) -> None:
        x, shape, scale, zero = self.pick()
        order = [0, *(1 + self.draw.rng.permutation(len(shape) - 1))]  # images stay single
        y = self.made(tuple(shape[axis] for axis in order), scale, zero)
        self.model.op("TRANSPOSE", [x, self.model.constant(np.array(order, np.int32))], [y])

    def reverse(self) -> None:
        x, shape, scale, zero = self.pick()
        first = self.draw.integer(0, len(shape) - 1)
        axes = np.arange(first, self.draw.integer(first, len(shape) - 1) + 1, dtype=np.int32)
        self.model.op("REVERSE_V2", [x, self.model.constant(axes)], [self.made(shape, scale, zero)])

    def slice(self) -> None:
        x, shape, scale, zero = self.pick()
        begins = [self.draw.integer(0, size - 1) for size in shape]
        ends = [self.draw.integer(begin + 1, size) for begin, size in zip(begins, shape, strict=True)]
        sizes = [end - begin for begin, end in zip(begins, ends, strict=True)]
        y = self.made(tuple(sizes), scale, zero)
        if len(shape) > 4 or self.draw.chance(0.5):
            op, operands = "SLICE", (begins, sizes)
        else:
            op, operands = "STRIDED_SLICE", (begins, ends, [1] * len(shape))
        self.model.op(op, [x, *(self.model.constant(np.array(o, np.int32)) for o in operands)], [y])

    def split(self) -> None:
        x, shape, scale, zero = self.pick()
        axis = self.draw.integer(0, len(shape) - 1)
        before, size, after = shape[:axis], shape[axis], shape[axis + 1 :]
        named = self.model.constant(np.array(axis, np.int32))
        op = self.draw.choice(("SPLIT", "SPLIT_V", "UNPACK"))
        if op == "SPLIT" and size % 2 == 0:
            parts = [self.made((*before, size // 2, *after), scale, zero) for _ in range(2)]
            self.model.op(op, [named, x], parts, num_splits=2)
        elif op == "SPLIT_V" and size > 1:
            sizes = [1, size - 1]
            parts = [self.made((*before, part, *after), scale, zero) for part in sizes]
            given = self.model.constant(np.array(sizes, np.int32))
            self.model.op(op, [x, given, named], parts, num_splits=2)
        elif op == "UNPACK" and len(shape) in (2, 3, 4) and size <= 6:
            parts = [self.made(before + after, scale, zero) for _ in range(size)]
            self.model.op(op, [x], parts, axis=axis, num=size)

    def stack(self) -> None:
        x, shape, scale, zero = self.pick()
        same = [t[0] for t in self.tensors if t[1] == shape and t[2:] == (scale, zero)]
        parts = [x, *(self.draw.choice(same) for _ in range(self.draw.integer(0, 2)))]
        axis = self.draw.integer(1, len(shape))
        stacked = (*shape[:axis], len(parts), *shape[axis:])
        if np.prod(stacked) <= 2000 and len(stacked) <= 5 and (len(stacked) != 4 or shape[0] == 1):
            self.model.op("PACK", parts, [self.made(stacked, scale, zero)], axis=axis, values_count=len(parts))

    def gather(self) -> None:
        x, shape, scale, zero = self.pick()
        axis = self.draw.integer(1, len(shape) - 1) if len(shape) > 1 else 0
        indices = self.draw.rng.integers(0, shape[axis], self.draw.integer(1, 4)).astype(np.int32)
        y = self.made((*shape[:axis], indices.size, *shape[axis + 1 :]), scale, zero)
        self.model.op("GATHER", [x, self.model.constant(indices)], [y], axis=axis)

    def blocks(self) -> None:
        x, (batch, height, width, depth), scale, zero = self.pick(4)
        if depth % 4 == 0:
            op, to = "DEPTH_TO_SPACE", (batch, height * 2, width * 2, depth // 4)
        elif height % 2 == width % 2 == 0:
            op, to = "SPACE_TO_DEPTH", (batch, height // 2, width // 2, depth * 4)
        else:
            return
        self.model.op(op, [x], [self.made(to, scale, zero)], block_size=2)

    def batches(self) -> None:
        """To batches and back, as around a dilated convolution."""
        x, (batch, height, width, depth), scale, zero = self.pick(4)
        block = [2 - height % 2, 2 - width % 2]
        parts = (batch * block[0] * block[1], height // block[0], width // block[1], depth)
        given = self.model.constant(np.array(block, np.int32))
        crops = [[0, int(height > 2)], [0, 0]]
        between = self.model.tensor(parts, scale=scale, zero_point=zero)
        nothing, cropped = (self.model.constant(np.array(pairs, np.int32)) for pairs in ([[0, 0], [0, 0]], crops))
        self.model.op("SPACE_TO_BATCH_ND", [x, given, nothing], [between])
        y = self.made((batch, height - crops[0][1], width, depth), scale, zero)
        self.model.op("BATCH_TO_SPACE_ND", [between, given, cropped], [y])

    def normalize(self) -> None:
        x, shape, _, _ = self.pick(4)
        self.model.op("L2_NORMALIZATION", [x], [self.made(shape, 1 / 128, 0)])

    def arg_max(self) -> None:
        """An index, moved or cast, and as a code again."""
        x, shape, _, _ = self.pick(4)
        shape = shape[:3]
        index = self.model.tensor(shape, dtype="int32")
        self.model.op("ARG_MAX", [x, self.model.constant(np.array(3, np.int32))], [index])
        if self.draw.chance(0.2):
            self.model.as_output(index)
        dtype = self.draw.choice(("int32", "int32", "bool", "int16"))
        if dtype != "int32":
            number, index = index, self.model.tensor(shape, dtype=dtype)
            self.model.op("CAST", [number], [index])
        if self.draw.chance(0.5):
            index, shape = self.moved(index, shape, dtype)
        self.model.op("CAST", [index], [self.made(shape, 0.1, 0)])

    def finish(self) -> None:
        """The last tensor is an output; so are most of those that nothing reads, some others, and perhaps an input."""
        computed = [t[0] for t in self.tensors[len(self.inputs) :]]
        read = {index for op in self.model._ops for index in op.inputs}
        outputs = [computed[-1]]
        outputs += [index for index in computed[:-1] if self.draw.chance(0.15 if index in read else 0.7)]
        if self.draw.chance(0.1):
            outputs.append(self.tensors[0][0])
        for index in outputs:
            self.model.as_output(index)


def network_case(number: int, dtype: str = "int8") -> Case:
    network = Network(number, dtype)
    while len(network.tensors) == len(network.inputs) or (len(network.tensors) < 20 and network.draw.chance(0.88)):
        network.grow()
    network.finish()
    return Case(network.draw.label, network.model.build(), network.samples(3))


# Cores without kernels of their own, and how many networks they have in a default run and in a full one, of int8 as of
# int16; test_dsp.py and test_mve.py have the others.
TARGETS = [pytest.param(HOST, 30, 500, id="host")] + [
    pytest.param(target, few, many, id=target.name, marks=pytest.mark.emulated)
    for target, few, many in ((CORTEX_M3, 20, 500), (CORTEX_M0, 2, 100), (RISCV, 2, 100))
]


@pytest.mark.golden
@pytest.mark.parametrize(("target", "few", "many"), TARGETS)
def test_random_networks_give_the_bytes_of_tflm(target: Target, few: int, many: int, tmp_path: Path) -> None:
    numbers = range(case_count(few, many))
    check_many([network_case(number, dtype) for number in numbers for dtype in ("int8", "int16")], target, tmp_path)


def test_the_networks_reuse_memory_in_every_way() -> None:
    """The cases are worth something: memory is shared, taken over and renamed in them."""
    plans = [export(network_case(number).graph()) for number in range(40)]
    assert any(p.arena_bytes < sum(s.bytes for s in p.arena) // 2 for p in plans)
    assert any(len(p.arena) < len(p.layers) for p in plans)
    assert all(p.arena_bytes >= p.arena_lower_bound for p in plans)


def test_the_networks_have_every_op_and_kernel() -> None:
    graphs = [network_case(number, dtype).graph() for number in range(100) for dtype in ("int8", "int16")]
    assert {op.name for graph in graphs for op in graph.ops} == set(LOWERINGS) - {"NEG"}  # which is refused
    cores = (Core(frozenset(features)) for features in ((), ("dsp", "fpu"), ("dsp", "fpu", "mve")))
    chosen = {step.kernel for core in cores for graph in graphs for step in lower(graph, core)} - {""}
    kernels = {path.stem for path in (FIRMWARE / "kernels").glob("*.c")}
    assert kernels - chosen == {"preprocess_affine", "preprocess_table", "filters_s8", "filters_s8_w4"}  # no ops


def test_the_networks_have_every_shape_of_graph() -> None:
    seen: Counter[str] = Counter()
    for graph in (network_case(number, dtype).graph() for number in range(40) for dtype in ("int8", "int16")):
        read = Counter(index for op in graph.ops for index in {*op.inputs} - {-1})
        computed = {index for index in read if graph.tensor(index).data is None}
        weights = {index for index in read.keys() - computed if graph.tensor(index).dtype in ("int8", "int4")}
        found = {
            "several inputs": len(graph.inputs) > 1,
            "several outputs": len(graph.outputs) > 1,
            "an input is an output": {*graph.inputs} & {*graph.outputs},
            "branches": any(read[index] > 1 for index in computed),
            "joins": any(len(computed.intersection(op.inputs)) > 1 for op in graph.ops),
            "constants with two readers": any(read[index] > 1 for index in weights),
            "constants renamed": any(op.name == "RESHAPE" and op.inputs[0] not in computed for op in graph.ops),
            "variables": any(op.name == "ASSIGN_VARIABLE" for op in graph.ops),
            "int8 with int16": {"int8", "int16"} <= {graph.tensor(index).dtype for index in computed},
            "int4 weights": any(graph.tensor(index).dtype == "int4" for index in weights),
            **{f"inputs of {dtype}": False for dtype in ("int8", "int16", "uint8", "float32")},
            **{f"inputs of {graph.tensor(index).dtype}": True for index in graph.inputs},
        }
        seen.update({what: int(bool(is_there)) for what, is_there in found.items()})
    assert not [what for what, count in seen.items() if not count]
