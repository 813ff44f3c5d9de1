"""The pre-trained part: a small convolutional network, trained on the digits 0 to 4 by `python pretrain.py`."""

from __future__ import annotations

import keras
from keras import layers


def build() -> keras.Model:
    """Image [8, 8, 1] in 0..1 to features [4, 4, 32]."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(momentum=0.9, name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name="depthwise_bn")(x)
    x = layers.ReLU(name="depthwise_relu")(x)
    x = layers.Conv2D(32, 1, use_bias=False, name="pointwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name="pointwise_bn")(x)
    return keras.Model(image, layers.ReLU(name="pointwise_relu")(x), name="base")
