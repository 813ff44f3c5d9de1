"""A new head on a frozen base. Keras 3; the base is a model inside the model."""

from __future__ import annotations

from pathlib import Path

import base
import keras
from keras import layers

WEIGHTS = Path(__file__).with_name("base.weights.h5")


def build() -> keras.Model:
    """Image [8, 8, 1] in 0..1 to the probabilities of the digits 5 to 9."""
    keras.utils.set_random_seed(1)
    pretrained = base.build()
    pretrained.load_weights(WEIGHTS)
    pretrained.trainable = False
    image = keras.Input((8, 8, 1), name="image")
    x = pretrained(image, training=False)  # batch normalization with what it learnt in pre-training
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(x), name="transfer")
