"""Networks of the shapes of MLPerf Tiny's image classification and visual wake words, with random weights.

    python -m tests.benchmark_models FOLDER

writes resnet8.tflite (12,501,632 products) and mobilenet_v1_025.tflite (7,489,664). The weights are seeded; scales are
such that no layer saturates: each output's scale comes from the spread that random inputs of its layer have.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from tests.tflite_builder import TfliteBuilder

Tensor = tuple[int, tuple[int, ...], float]  # index, shape, scale; the zero point is -128


class _Network:
    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.model = TfliteBuilder()
        self.input: Tensor = (self.model.input(shape, scale=1 / 255, zero_point=-128), shape, 1 / 255)

    def layer(
        self, op: str, x: Tensor, filters: tuple[int, ...], axis: int, stride: int = 1, activation: str = "RELU"
    ) -> Tensor:
        """A layer with per-channel weights and a bias; its output is about as large as its input, in real numbers."""
        index, shape, scale = x
        channels = filters[axis]
        depth = math.prod(filters) // channels
        weights = self.rng.normal(0, 40, filters).round().clip(-127, 127).astype(np.int8)
        scales = (self.rng.uniform(0.7, 1.3, channels) / (40 * math.sqrt(depth))).astype(np.float32)
        bias = self.rng.normal(0, 0.2 / (scale * scales), channels).round().astype(np.int32)
        to = (1, -(-shape[1] // stride), -(-shape[2] // stride), channels) if len(shape) == 4 else (1, channels)
        zero = -128 if activation != "NONE" else 0
        y = (self.model.tensor(to, scale=1.6 / 255, zero_point=zero), to, 1.6 / 255)
        options = {} if op == "FULLY_CONNECTED" else {"padding": "SAME", "stride_h": stride, "stride_w": stride}
        if op == "DEPTHWISE_CONV_2D":
            options["depth_multiplier"] = 1
        w = self.model.constant(weights, scale=scales, axis=axis)
        b = self.model.constant(bias, scale=np.float32(scale) * scales)
        version = 4 if op == "FULLY_CONNECTED" else 3
        self.model.op(op, [index, w, b], [y[0]], version, fused_activation_function=activation, **options)
        return y

    def conv(self, x: Tensor, channels: int, taps: int, stride: int = 1, activation: str = "RELU") -> Tensor:
        return self.layer("CONV_2D", x, (channels, taps, taps, x[1][3]), 0, stride, activation)

    def depthwise(self, x: Tensor, stride: int) -> Tensor:
        return self.layer("DEPTHWISE_CONV_2D", x, (1, 3, 3, x[1][3]), 3, stride)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        scale = 2.4 / 255
        y = (self.model.tensor(a[1], scale=scale, zero_point=-128), a[1], scale)
        self.model.op("ADD", [a[0], b[0]], [y[0]], 2, fused_activation_function="RELU")
        return y

    def classify(self, x: Tensor, classes: int) -> bytes:
        """Global average, fully connected, softmax."""
        index, shape, scale = x
        pooled = self.model.tensor((1, 1, 1, shape[3]), scale=scale, zero_point=-128)
        size = {"filter_height": shape[1], "filter_width": shape[2]}
        strides = {"stride_h": shape[1], "stride_w": shape[2]}
        self.model.op("AVERAGE_POOL_2D", [index], [pooled], 2, padding="VALID", **size, **strides)
        flat = self.model.tensor((1, shape[3]), scale=scale, zero_point=-128)
        self.model.op("RESHAPE", [pooled], [flat], new_shape=np.array((1, shape[3]), np.int32))
        logits = self.layer("FULLY_CONNECTED", (flat, (1, shape[3]), scale), (classes, shape[3]), 0, 1, "NONE")
        scores = self.model.output((1, classes), scale=1 / 256, zero_point=-128)
        self.model.op("SOFTMAX", [logits[0]], [scores], 2, beta=1)
        return self.model.build()


def resnet_8() -> bytes:
    """ResNet-8 on 32 x 32 x 3, 10 classes: MLPerf Tiny's image classification."""
    net = _Network(8, (1, 32, 32, 3))
    x = net.conv(net.input, 16, 3)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(net.conv(x, channels, 3, stride), channels, 3, activation="NONE")
        x = net.add(y, x if stride == 1 else net.conv(x, channels, 1, stride, "NONE"))
    return net.classify(x, 10)


def mobilenet_v1_025() -> bytes:
    """MobileNetV1 at a quarter of its width on 96 x 96 x 3, 2 classes: MLPerf Tiny's visual wake words."""
    net = _Network(25, (1, 96, 96, 3))
    x = net.conv(net.input, 8, 3, 2)
    for channels, stride in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2),
        (128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2), (256, 1),
    ):  # fmt: skip
        x = net.conv(net.depthwise(x, stride), channels, 1)
    return net.classify(x, 2)


MODELS = {"resnet8": resnet_8, "mobilenet_v1_025": mobilenet_v1_025}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        (folder / f"{name}.tflite").write_bytes(make())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
