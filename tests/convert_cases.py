"""Conversions that go right and wrong, in one process, which loads TensorFlow; tests/test_convert.py reads the JSON.

python convert_cases.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

from pipeline import calibration, convert, tflite
from pipeline.errors import TensorflashError

RANDOM = np.random.default_rng(3)
SAMPLES = RANDOM.random((8, 6, 6, 1), np.float32)


def plain() -> Any:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3)(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(image, layers.Dense(3, activation="softmax")(x))


def dead() -> Any:
    """A channel, and a whole layer, whose weights are all zero."""
    model = plain()
    kernel, bias = model.layers[1].get_weights()
    kernel[..., 1] = 0
    model.layers[1].set_weights([kernel, bias])
    model.layers[-1].set_weights([0 * weight for weight in model.layers[-1].get_weights()])
    return model


def with_sin() -> Any:
    image = tf_keras.Input((6, 6, 1))
    x = layers.Lambda(tf.math.sin)(layers.Conv2D(4, 3)(image))
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def normalized_dense() -> Any:
    image = tf_keras.Input((6, 6, 1))
    x = layers.Dense(8)(layers.Flatten()(image))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return tfmot.quantization.keras.quantize_model(tf_keras.Model(image, layers.Dense(3)(x)))


class Ring(layers.Layer):  # type: ignore[misc]
    """The last four frames and this one: [1, 1, 8] becomes [1, 5, 8]."""

    def build(self, shape: Any) -> None:
        self.ring = self.add_weight(name="ring", shape=(1, 4, 8), initializer="zeros", trainable=False)

    def call(self, frame: Any) -> Any:
        frames = tf.concat([self.ring, frame], axis=1)
        self.ring.assign(frames[:, 1:, :])
        return frames


def streaming() -> Any:
    tf_keras.backend.clear_session()
    frame = tf_keras.Input((1, 8), batch_size=1)
    x = layers.Conv1D(6, 5, activation="relu")(Ring()(frame))
    return tf_keras.Model(frame, layers.Dense(3)(layers.Flatten()(x)))


def lstm() -> Any:
    tf_keras.backend.clear_session()
    sequence = tf_keras.Input((6, 8), batch_size=1)
    x = layers.LSTM(5)(layers.LSTM(7, return_sequences=True)(sequence))
    return tf_keras.Model(sequence, layers.Dense(3, activation="softmax")(x))


def lstm_of_any_batch() -> Any:
    sequence = tf_keras.Input((6, 8))
    return tf_keras.Model(sequence, layers.LSTM(5)(sequence))


def outcome(model: Callable[[], Any], samples: Any, path: Path, **options: Any) -> dict[str, Any]:
    try:
        graph = convert.to_int8(model(), samples, path, **options)
    except TensorflashError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "ops": [op.name for op in graph.ops],
        "inputs": [graph.tensor(i).dtype for i in graph.inputs],
        "outputs": [graph.tensor(i).dtype for i in graph.outputs],
        "dtypes": sorted({tensor.dtype for tensor in graph.tensors}),
        "scales are positive": all((tensor.scales > 0).all() for tensor in graph.tensors),
        "warnings": calibration.warnings(graph, tflite.quantized_model(graph).inputs[0], samples),
        "dense scales": [graph.tensor(op.inputs[1]).scales.size for op in graph.ops if op.name == "FULLY_CONNECTED"],
    }


def main(folder: Path) -> None:
    holed = SAMPLES.copy()
    holed[3, 2, 2, 0] = np.nan
    cases: dict[str, tuple[Callable[[], Any], Any]] = {
        "plain": (plain, SAMPLES),
        "plain again": (plain, SAMPLES),
        "qat": (lambda: tfmot.quantization.keras.quantize_model(plain()), SAMPLES),
        "no samples": (plain, SAMPLES[:0]),
        "a NaN": (plain, holed),
        "sin": (with_sin, SAMPLES),
        "dead": (dead, SAMPLES),
        "dense and normalization": (normalized_dense, SAMPLES),
    }
    results = {name: outcome(model, samples, folder / "model.tflite") for name, (model, samples) in cases.items()}
    for io in ("uint8", "float32"):
        results[io] = outcome(plain, SAMPLES, folder / "model.tflite", io=io)
        results[f"{io} again"] = outcome(plain, SAMPLES, folder / "model.tflite", io=io)
    for io in ("int16", "float32"):
        results[f"int16, {io}"] = outcome(plain, SAMPLES, folder / f"int16_{io}.tflite", activations="int16", io=io)
    results["int16, sin"] = outcome(with_sin, SAMPLES, folder / "model.tflite", activations="int16")
    for name in ("plain", "qat"):
        one = outcome(cases[name][0], SAMPLES, folder / "model.tflite", per_channel_dense=False)
        results[f"{name}, one dense scale"] = one
    for name, keeps_state, shape in (("streaming", streaming, (30, 1, 8)), ("lstm", lstm, (30, 6, 8))):
        frames = RANDOM.normal(size=shape).astype(np.float32)
        results[name] = outcome(keeps_state, frames, folder / f"{name}.tflite")
    results["lstm of any batch"] = outcome(lstm_of_any_batch, frames, folder / "model.tflite")
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
