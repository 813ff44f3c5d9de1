"""Small recipes from each kind of model, carried out up to int8 in one process, so that TensorFlow is loaded once.

python workflow_cases.py FOLDER [WORKFLOW ..]

FOLDER then has <workflow>.yaml, a work folder <workflow>, and results.json; see tests/test_workflows.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from pipeline import recipe, train_worker, training
from pipeline.workspace import Workspace

CLASSES = 3


def sequential(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((8, 8, 1)),
            k.layers.Conv2D(6, 3, use_bias=False, name="conv"),
            k.layers.BatchNormalization(momentum=0.5, name="bn"),
            k.layers.ReLU(),
            k.layers.Flatten(),
            k.layers.Dropout(0.1),
            k.layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )


def functional(k: Any) -> Any:
    """Depthwise-separable, with a sum and without softmax."""
    image = k.Input((8, 8, 1))
    x = k.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv")(image)
    y = k.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    y = k.layers.BatchNormalization(momentum=0.5, name="depthwise_bn")(y)
    y = k.layers.Conv2D(6, 1, name="pointwise")(k.layers.ReLU(name="relu")(y))
    x = k.layers.ReLU(name="sum")(k.layers.Add(name="add")([x, y]))
    return k.Model(image, k.layers.Dense(CLASSES, name="scores")(k.layers.Flatten()(x)))


def nested(k: Any) -> Any:
    """A frozen base as a layer, and a head in a Sequential of its own."""
    image = k.Input((8, 8, 1))
    x = k.layers.Conv2D(6, 3, use_bias=False, name="conv")(image)
    base = k.Model(image, k.layers.ReLU()(k.layers.BatchNormalization(name="bn")(x)), name="base")
    base.trainable = False
    head = k.Sequential([k.layers.Flatten(), k.layers.Dense(CLASSES, activation="softmax", name="scores")], name="head")
    image = k.Input((8, 8, 1))
    return k.Model(image, head(base(image, training=False)))


def saved(name: str, build: Callable[[Any], Any], k: Any) -> Callable[[Path], str]:
    def source(folder: Path) -> str:
        build(k).save(str(folder / name))
        return f"{{keras: {name}}}"

    return source


def factory(of: str, build: Callable[[Any], Any]) -> Callable[[Path], str]:
    def source(folder: Path) -> str:
        path = folder / f"{of}_{build.__name__}.py"
        path.write_text(
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"import {of}, workflow_cases\n"
            f"def build():\n    return workflow_cases.{build.__name__}({of})\n"
        )
        return f"{{factory: {path.name}:build}}"

    return source


def samples(count: int, seed: int) -> tuple[Any, Any]:
    """Images, and which third of each is bright."""
    random = np.random.default_rng(seed)
    x, y = random.random((count, 8, 8, 1)).astype(np.float32), random.integers(0, CLASSES, count)
    for third in range(CLASSES):
        x[y == third, 3 * third : 3 * third + 3] += 1.0
    return x, y


# A source for each of four ways to quantize: the model and its training, and how it becomes int8.
WORKFLOWS = {
    "whole_model_qat": (
        saved("sequential.h5", sequential, keras),
        "train: {epochs: 6, learning_rate: 1e-2}\nquantize: {method: qat, epochs: 1, learning_rate: 1e-3}\n",
    ),
    "ptq": (
        saved("functional", functional, tf_keras),
        "train: {epochs: 6, learning_rate: 1e-2}\nquantize: {method: ptq, representative_samples: 40}\n",
    ),
    "qat_of_chosen_layers": (
        factory("keras", functional),
        "train: {epochs: 6, learning_rate: 1e-2}\n"
        "quantize: {method: qat, epochs: 1, learning_rate: 1e-3, exclude: [depthwise*, Dense]}\n",
    ),
    "qat_after_transfer_learning": (
        saved("nested.keras", nested, keras),
        "train:\n"
        "  phases:\n"
        "    - {epochs: 3, learning_rate: 1e-2, include: [scores]}\n"
        "    - {epochs: 3, learning_rate: 1e-2, exclude: [BatchNormalization]}\n"
        "    - {epochs: 1, learning_rate: 1e-3, include: [Dense]}\n"
        "quantize: {method: qat, epochs: 1, learning_rate: 1e-3}\n",
    ),
}

RECIPE = """
name: {name}
model: {model}
data: {{npz: data.npz}}
{quantization}targets: [{{board: native}}]
verify: {{samples: 10, layer_samples: 2}}
"""


def here(task: str, arguments: Mapping[str, Any], out: Path, log: Path, progress: Any) -> dict[str, Any]:
    """What pipeline.train_worker.run does, in this process."""
    return train_worker.TASKS[task](json.loads(json.dumps(arguments)), out, progress)


def main(folder: Path, names: Sequence[str]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)  # as the recipes say; it cannot be changed afterwards
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(1)
    tf_keras.utils.set_random_seed(1)
    train_worker.run = here
    (x_train, y_train), (x_test, y_test) = samples(192, seed=1), samples(64, seed=2)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(folder / "data.npz", **arrays, x_representative=x_train[:50])
    results = {}
    for name in names:
        source, quantization = WORKFLOWS[name]
        path = folder / f"{name}.yaml"
        path.write_text(RECIPE.format(name=name, model=source(folder), quantization=quantization), encoding="utf-8")
        with Workspace(folder / name) as workspace:
            trained = training.train(recipe.load(path), workspace)
        results[name] = {
            "model": str(trained.model.path),
            "files": {s.stage: s.outputs[f"{s.stage}.tflite"] for s in trained.steps if s.stage in ("ptq", "qat")},
            "method": trained.method,
            "agreement": trained.agreement,
            "correct": {method: found.correct for method, found in trained.evaluations.items()},
            "layers": list(trained.layers),
            "representative": trained.representative,
            "report": training.quantization_report(trained, None),
        }
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(WORKFLOWS))
