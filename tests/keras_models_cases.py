"""Models from every Keras source, in one process, which loads TensorFlow; tests/test_keras_models.py reads the JSON.

python keras_models_cases.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from pipeline import keras_models
from pipeline.errors import ModelError

X = np.random.default_rng(3).normal(size=(5, 8, 8, 1)).astype(np.float32)


def filled(model: Any, seed: int = 7) -> Any:
    """With weights that no initializer gives; variances stay positive."""
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.2, 1, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def base(k: Any, name: str = "base") -> Any:
    image = k.Input((8, 8, 1))
    x = k.layers.Conv2D(4, 3, strides=2, use_bias=False, padding="same", name="conv")(image)
    x = k.layers.BatchNormalization(name="bn")(x)
    x = k.layers.ReLU(name="relu")(x)
    return k.Model(image, x, name=name)


def nested(k: Any) -> Any:
    """A frozen base as a layer, in inference mode; a + b; a head in a Sequential of its own."""
    image = k.Input((8, 8, 1))
    frozen = base(k)
    frozen.trainable = False
    y = frozen(image, training=False)
    y = y + k.layers.Conv2D(4, 1, activation="relu", name="conv")(y)
    head = k.Sequential([k.layers.GlobalAveragePooling2D(), k.layers.Dense(3, activation="softmax")], name="head")
    return k.Model(image, head(y), name="nested")


def sequential(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((8, 8, 1)),
            k.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            k.layers.LeakyReLU(0.25),
            k.layers.MaxPooling2D(),
            k.layers.Flatten(),
            k.layers.Dropout(0.5),
            k.layers.Dense(3, kernel_regularizer=k.regularizers.L2(0.01), name="scores"),
        ]
    )


def shared(k: Any) -> Any:
    image = k.Input((8, 8, 1))
    twice = k.layers.Conv2D(1, 3, padding="same", name="twice")
    return k.Model(image, k.layers.Dense(2)(k.layers.Flatten()(twice(twice(image)))))


def recurrent(k: Any, **layer: Any) -> Any:
    image = k.Input((8, 8), batch_size=1)
    return k.Model(image, k.layers.Dense(2)(k.layers.LSTM(3, name="lstm", **layer)(image)))


class Squeeze(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return tf.reduce_mean(x, axis=[1, 2])


class Subclassed(keras.Model):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


def of_keras_3(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def described(original: Any, made: Any) -> dict[str, Any]:
    before = np.asarray(original(X, training=False))
    after = made(X, training=False).numpy()
    return {
        "layers": [layer.name for layer in made.layers],
        "frozen": [layer.name for layer in made.layers if not layer.trainable],
        "classes": [type(layer).__name__ for layer in made.layers],
        "of": type(made).__module__.partition(".")[0],
        "difference": float(np.abs(before - after).max() / np.abs(before).max()),
        "flat": not any(isinstance(layer, tf_keras.Model) for layer in made.layers),
        "regularizers": [layer.name for layer in made.layers if getattr(layer, "kernel_regularizer", None)],
    }


def main(folder: Path) -> None:
    results: dict[str, Any] = {}

    def case(name: str, original: Any, load: Callable[[], Any]) -> None:
        try:
            results[name] = described(original, load())
        except ModelError as error:
            results[name] = {"error": error.message, "hint": error.hint}

    for k, who in ((keras, "keras 3"), (tf_keras, "tf_keras")):
        for build in (sequential, nested, base, shared):
            model = filled(build(k))
            case(f"{who} {build.__name__}", model, lambda model=model: keras_models.flat(model))
            for suffix in ("keras", "h5"):
                path = folder / f"{build.__name__}-{who.replace(' ', '')}.{suffix}"
                model.save(str(path))
                case(f"{who} {build.__name__} .{suffix}", model, lambda path=path: keras_models.load(path))
        untouched = filled(base(k))
        if k is tf_keras:
            results["untouched"] = keras_models.flat(untouched) is untouched

    for build in (sequential, nested):
        model = filled(build(tf_keras))
        path = folder / f"saved_{build.__name__}"
        model.save(str(path), save_format="tf")
        case(f"SavedModel {build.__name__}", model, lambda path=path: keras_models.load(path))

    # What a SavedModel's graph would do when it ran: nothing of it may happen.
    touched = folder / "touched"
    model = filled(sequential(tf_keras))
    model.save(str(folder / "program"), save_format="tf")

    def write() -> Any:
        tf.io.write_file(str(touched), "x")
        return tf.constant(0)

    evil = tf.Module()
    evil.f = tf.function(write, input_signature=[])
    tf.saved_model.save(evil, str(folder / "evil"))
    (folder / "program" / "saved_model.pb").write_bytes((folder / "evil" / "saved_model.pb").read_bytes())
    case("a program", model, lambda: keras_models.load(folder / "program"))
    results["a program ran"] = touched.exists()

    model = filled(base(keras))
    model.export(str(folder / "exported"), verbose=False)
    case("exported", model, lambda: keras_models.load(folder / "exported"))

    half = keras.layers.Rescaling(0.5, dtype="mixed_float16")
    bad = filled(base(tf_keras))
    weights = bad.get_layer("conv").get_weights()
    weights[0][0, 0, 0, 1] = np.nan
    bad.get_layer("conv").set_weights(weights)
    image = keras.Input((8, 8, 1))
    policy = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mixed = base(tf_keras)
    tf_keras.mixed_precision.set_global_policy(policy)
    results["fixed batch"] = list(keras_models.flat(recurrent(keras)).inputs[0].shape)
    models = {
        "state in a loop": recurrent(tf_keras, stateful=True),
        "mixed precision of tf_keras": mixed,
        "lambda": of_keras_3(keras.layers.Lambda(lambda x: x * 2)),
        "own class": of_keras_3(Squeeze()),
        "group normalization": of_keras_3(keras.layers.GroupNormalization(1), keras.layers.RMSNormalization()),
        "an operation": keras.Model(image, keras.ops.sin(image)),
        "a constant": keras.Model(image, image + 1.0),
        "subclassed": Subclassed(),
        "mixed precision": of_keras_3(half),
        "NaN": bad,
        "no input": keras.Sequential([keras.layers.Dense(2)]),
    }
    for name, model in models.items():
        case(name, model, lambda model=model: keras_models.flat(model))
    for name in ("lambda", "own class"):
        for suffix in ("keras", "h5"):
            path = folder / f"{name.replace(' ', '_')}.{suffix}"
            models[name].save(str(path))
            case(f"{name} .{suffix}", models[name], lambda path=path: keras_models.load(path))
    weights_only = folder / "only.weights.h5"
    base(tf_keras).save_weights(str(weights_only))
    case("weights only", None, lambda: keras_models.load(weights_only))

    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
