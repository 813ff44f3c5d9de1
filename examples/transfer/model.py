"""A new head on the pre-trained base. Keras 3; the base is a model inside the model."""

from __future__ import annotations

from pathlib import Path

import base
import keras
from keras import layers

WEIGHTS = Path(__file__).with_name("base.weights.h5")


def build() -> keras.Model:
    """Image [32, 32, 1] in -1..1 to the probabilities of the digits 5 to 9."""
    keras.utils.set_random_seed(1)
    pretrained = base.build()
    pretrained.load_weights(WEIGHTS)
    image = keras.Input((32, 32, 1), name="image")
    features = pretrained(image, training=False)  # batch normalization with what it learnt in pre-training
    return keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(features), name="transfer")
