"""A small CNN over time: 5,831 parameters."""

from __future__ import annotations

import tf_keras
from tf_keras import layers

EXERCISES = 7
TAPS = 9  # 180 ms at first, eight times as long after three halvings


def build() -> tf_keras.Model:
    """Window [128, 1, 6] of normalised acceleration and turning rate to the probabilities of seven exercises."""
    window = tf_keras.Input((128, 1, 6), name="window")
    x = layers.Conv2D(16, (TAPS, 1), strides=(2, 1), padding="same", use_bias=False, name="stem")(window)
    x = normalised(x, "stem")
    for name, filters in (("half", 32), ("quarter", 32), ("eighth", 48)):
        x = layers.DepthwiseConv2D((TAPS, 1), strides=2, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
        x = normalised(x, f"{name}_depthwise")
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
        x = normalised(x, f"{name}_pointwise")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    return tf_keras.Model(window, layers.Dense(EXERCISES, activation="softmax", name="scores")(x), name="gestures")


def normalised(x: object, name: str) -> object:
    # Momentum 0.99, the default, is too slow for 39 batches an epoch.
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x))
