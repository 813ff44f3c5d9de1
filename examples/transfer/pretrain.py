"""How base.weights.h5 was made: `python pretrain.py`."""

from __future__ import annotations

import base
import data
import keras
import model


def main() -> None:
    """Train the base with a head of its own on the digits 0 to 4, and keep the base."""
    keras.utils.set_random_seed(1)
    features = base.build()
    pooled = keras.layers.GlobalAveragePooling2D()(features.output)
    scores = keras.layers.Dense(5, activation="softmax")(pooled)
    whole = keras.Model(features.input, scores)
    whole.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data.pretraining()
    whole.fit(x, y, epochs=30, verbose=2)
    features.save_weights(model.WEIGHTS)


if __name__ == "__main__":
    main()
