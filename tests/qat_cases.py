"""Simulations of int8 and what is left float in them, in one process, which loads TensorFlow; see tests/test_qat.py.

python qat_cases.py FOLDER
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline import convert, qat
from pipeline.errors import TensorflashError

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(64, 8, 8, 3)).astype(np.float32)
Y = np.arange(64) % 3


def network(*, frozen: bool = False) -> Any:
    image = tf_keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(image)
    x = layers.BatchNormalization(name="depthwise_bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(4, 1, use_bias=False, name="pointwise")(x)
    x = layers.BatchNormalization(name="pointwise_bn")(x)
    base = tf_keras.Model(image, x)
    base.trainable = not frozen
    x = layers.Flatten(name="flatten")(layers.ReLU(name="relu_2")(x))
    return tf_keras.Model(image, layers.Dense(3, activation="softmax", name="scores")(x))


def odd() -> Any:
    """What the simulation does not know, or would get wrong."""
    image = tf_keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="lone_bn")(image)
    x = layers.Conv2D(4, 3, activation="swish", name="swish")(x)
    twice = layers.Conv2D(4, 1, name="twice")
    x = twice(twice(x))
    x = layers.Conv2D(4, 1, activation="relu", name="active")(x)
    x = layers.BatchNormalization(name="active_bn")(x)
    y = layers.Conv2D(4, 1, name="split")(x)
    x = layers.Add(name="add")([y, layers.BatchNormalization(name="split_bn")(y)])
    x = layers.Dense(5, name="dense")(layers.Flatten(name="flatten")(x))
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="dense_bn")(x))
    return tf_keras.Model(image, layers.Dense(3, name="scores")(x))


def trained(model: Any, **options: Any) -> qat.Prepared:
    prepared = qat.prepare(model, X, **options)
    prepared.model.compile("adam", "sparse_categorical_crossentropy")
    prepared.model.fit(X, Y, epochs=2, verbose=0)
    return prepared


def moved(model: Any, prepared: qat.Prepared) -> list[str]:
    """The variables that training changed, by their names in the float model."""
    after = {variable.name: variable.numpy() for variable in prepared.model.variables}
    return [v.name for v in model.variables if v.name in after and not np.array_equal(v.numpy(), after[v.name])]


def largest_codes(path: Path) -> list[int]:
    """The largest magnitude of each channel's depthwise weights, in codes."""
    from pipeline import tflite

    graph = tflite.read(path)
    (op,) = [op for op in graph.ops if op.name == "DEPTHWISE_CONV_2D"]
    data = graph.tensor(op.inputs[1]).data
    return [int(code) for code in np.abs(np.asarray(data, np.int32)).max(axis=(0, 1, 2))]


def main(folder: Path) -> None:
    tf_keras.utils.set_random_seed(1)
    results: dict[str, Any] = {}

    def described(prepared: qat.Prepared) -> dict[str, Any]:
        return {layer.name: dataclasses.asdict(layer) for layer in prepared.layers}

    plain, frozen = network(), network(frozen=True)
    whole, kept = trained(plain), trained(frozen)
    results["whole"] = {"layers": described(whole), "moved": moved(plain, whole)}
    results["frozen"] = {"layers": described(kept), "moved": moved(frozen, kept)}
    for name, prepared in (("whole", whole), ("frozen", kept)):
        convert.to_int8(qat.for_conversion(prepared), X, folder / f"{name}.tflite")
        results[name]["codes"] = largest_codes(folder / f"{name}.tflite")
        results[name]["outputs"] = {key: list(value.shape) for key, value in qat.outputs(prepared, X).items()}
    for name, options in (
        ("excluded", {"exclude": ["pointwise", "Dense"]}),
        ("included", {"include": ["depthwise*", "relu"]}),
    ):
        prepared = trained(plain, **options)
        convert.to_int8(qat.for_conversion(prepared), X, folder / f"{name}.tflite")
        results[name] = {"layers": described(prepared)}
    strange = trained(odd())
    convert.to_int8(qat.for_conversion(strange), X, folder / "odd.tflite")
    results["odd"] = {"layers": described(strange), "outputs": list(qat.outputs(strange, X))}

    for name, options in (("no such layer", {"exclude": ["conv9"]}), ("nothing left", {"exclude": ["*"]})):
        try:
            qat.prepare(plain, X, **options)
        except TensorflashError as error:
            results[name] = {"error": type(error).__name__, "message": error.message}
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
