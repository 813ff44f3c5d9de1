"""How base.weights.h5 was made: `python pretrain.py`, some minutes."""

from __future__ import annotations

import base
import data
import keras
import model

EPOCHS = 40
BATCH = 32


def main() -> None:
    """Train the base with a head of its own on the digits 0 to 4, and keep the base."""
    keras.utils.set_random_seed(1)
    features = base.build()
    for layer in features.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # its own 0.999 is for a million images
    scores = keras.layers.Dense(5, activation="softmax")(features.output)
    whole = keras.Model(features.input, scores)
    images, digits = data.pretraining()
    images = images / 8.0 - 1.0
    moved = keras.layers.RandomTranslation(0.15, 0.15, fill_mode="nearest")
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * -(-len(images) // BATCH))
    whole.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for _ in range(EPOCHS):
        whole.fit(moved(images, training=True), digits, batch_size=BATCH, verbose=2)
    features.save_weights(model.WEIGHTS)


if __name__ == "__main__":
    main()
