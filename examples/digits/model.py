"""A small CNN with what larger ones are made of: 4,106 parameters."""

from __future__ import annotations

import tf_keras
from tf_keras import layers


def build() -> tf_keras.Model:
    """Image [8, 8, 1] in 0..1 to the probabilities of ten digits."""
    image = tf_keras.Input((8, 8, 1), name="image")
    x = convolution(image, 16, kernel=3, name="stem")
    x = depthwise_separable(x, 32, strides=2, name="down")

    # A residual block: two layers, added to what went in.
    y = depthwise_separable(x, 32, strides=1, name="residual")
    y = layers.Conv2D(32, 1, use_bias=False, name="project")(y)
    y = layers.BatchNormalization(momentum=0.9, name="project_bn")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.ReLU(name="add_relu")(x)

    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="dense")(x)
    return tf_keras.Model(image, layers.Softmax(name="softmax")(x), name="digits")


def convolution(x: object, filters: int, kernel: int, name: str) -> object:
    # Momentum 0.99, the default, is too slow for 45 batches an epoch.
    x = layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def depthwise_separable(x: object, filters: int, strides: int, name: str) -> object:
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return convolution(x, filters, kernel=1, name=f"{name}_pointwise")
