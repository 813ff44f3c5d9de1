"""Models and data, right and wrong, in one process, which loads TensorFlow; tests/test_quantize.py reads the JSON.

python quantize_cases.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras
from tf_keras import layers

from pipeline import data, golden, quantize, tflite
from pipeline.errors import TensorflashError
from pipeline.vectors import Vectors

SHAPE = (6, 6, 1)
RANDOM = np.random.default_rng(1)

MODEL = """
import tf_keras
from tf_keras import layers

def build():
    image = tf_keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Flatten(name="flatten")(x)
    return tf_keras.Model(image, layers.Dense(2, activation="softmax", name="scores")(x))
"""

# A pre-trained, frozen base as a layer, and a new head.
KERAS_3 = """
import keras
from keras import layers

def build():
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, use_bias=False, name="stem")(image)
    base = keras.Model(image, layers.ReLU()(layers.BatchNormalization(name="stem_bn")(x)), name="base")
    base.trainable = False
    image = keras.Input((6, 6, 1))
    x = layers.Flatten()(base(image, training=False))
    return keras.Model(image, layers.Dense(2, activation="softmax", name="head")(x))
"""


# Two frames, the last one and this.
STATE = """
import tensorflow as tf
import tf_keras
from tf_keras import layers

class WithLast(layers.Layer):
    def build(self, shape):
        self.last = self.add_weight(name="last", shape=(1, 6, 6, 1), initializer="zeros", trainable=False)

    def call(self, frame):
        both = tf.concat([self.last, frame], axis=-1)
        self.last.assign(both[..., 1:])
        return both

def build():
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((6, 6, 1), batch_size=1)
    x = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(WithLast(name="with_last")(image)))
    return tf_keras.Model(image, layers.Dense(2, activation="softmax", name="scores")(x))
"""


class Cases:
    """Runs tasks in folders of their own and keeps what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ptq.json").write_text('{"layers": [], "reason": "nothing was ranked"}')
        self.results: dict[str, dict[str, Any]] = {}
        self.quantize: dict[str, Any] = {
            "epochs": 1,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "representative_samples": 20,
            "include": [],
            "exclude": [],
            "quantizers": [],
            "early_stopping": None,
            "freeze_ranges_after": None,
            "freeze_batch_norm_after": None,
            "learning_rate_decay": "none",
        }

    def run(self, task: str, name: str, model: dict[str, str], dataset: data.Dataset, **changes: Any) -> Path:
        out = self.folder / name.replace(" ", "_")
        out.mkdir()
        (out / "data").mkdir()
        data.save(dataset, out / "data")
        arguments = {
            "data": str(out / "data"),
            "model": {"keras": None, "factory": None, "weights": None, **model},
            "labels": 0,
            "seed": 1,
            "threads": 1,
            "train": None,
            "ptq": str(self.folder),
            "convert": {},
            "quantize": self.quantize,
            **changes,
        }
        reported: list[tuple[int, int]] = []
        try:
            quantize.TASKS[task](arguments, out, lambda done, total: reported.append((done, total)))
        except TensorflashError as error:
            self.results[name] = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        else:
            self.results[name] = {
                "progress": list(dict.fromkeys(reported)),
                "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir() if p.is_file()},
                **{p.stem: json.loads(p.read_text()) for p in out.glob("*.json")},
                "int4": sum(t.dtype == "int4" for p in out.glob("*.tflite") for t in tflite.read(p).tensors),
            }
        return out

    def source(self, text: str) -> dict[str, str]:
        """A factory of its own: no two files have one name."""
        path = self.folder / f"model_{len(list(self.folder.glob('model_*.py')))}.py"
        path.write_text(text)
        return {"factory": f"{path}:build"}


def samples(count: int, shape: tuple[int, ...] = SHAPE, classes: int = 2) -> data.Samples:
    x = RANDOM.random((count, *shape), np.float32)
    return data.Samples(x, np.arange(count) % classes)


def dataset(shape: tuple[int, ...] = SHAPE, classes: int = 2) -> data.Dataset:
    train = samples(64, shape, classes)
    return data.Dataset(train, samples(20, shape, classes), train.x[:20])


def built(layer_list: Callable[[], list[Any]], outputs: int = 1) -> str:
    """The source of a factory with these layers, which stand in this file."""
    return (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import tf_keras, quantize_cases\n"
        "def build():\n"
        "    image = tf_keras.Input((6, 6, 1)); x = image\n"
        f"    for layer in quantize_cases.{layer_list.__name__}(): x = layer(x)\n"
        f"    return tf_keras.Model(image, [x] * {outputs} if {outputs} > 1 else x)\n"
    )


def many_outputs() -> list[Any]:
    return [layers.Flatten(), layers.Dense(2)]


def one_score() -> list[Any]:
    return [layers.Flatten(), layers.Dense(1, activation="sigmoid")]


def a_picture() -> list[Any]:
    return [layers.Conv2D(2, 3)]


def logits() -> list[Any]:
    return [layers.Flatten(), layers.Dense(2)]


def unknown_to_tfmot() -> list[Any]:
    return [layers.Flatten(), layers.LayerNormalization(), layers.Dense(2)]


def in_phases(cases: Cases, source: dict[str, str], whole: data.Dataset, model: Any) -> None:
    """Train a model of a frozen base and a head in phases; keep which weights moved, also through QAT."""

    def phase(epochs: int, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> dict[str, Any]:
        return {"epochs": epochs, "learning_rate": 1e-1, "include": include, "exclude": exclude}

    before = {weight.name: weight.numpy() for weight in model.weights}
    for name, phases in {
        "the head": [phase(1, ["head"])],
        "the head, then all": [phase(1, ["head"]), phase(2)],
        "the head, then all but batch normalization": [phase(1, ["head"]), phase(2, exclude=["BatchNormalization"])],
        "all, then the head": [phase(1), phase(1, ["Dense"])],
        "no such layer": [phase(1), phase(1, ["heads"])],
        "nothing": [phase(1, exclude=["*"])],
    }.items():
        train = {"epochs": None, "batch_size": 16, "learning_rate": 1e-3, "phases": phases}
        out = cases.run("float", f"phases: {name}", source, whole, train=train)
        if (out / "float.json").exists():
            model.load_weights(str(out / quantize.FLOAT_WEIGHTS))
            moved = [weight.name for weight in model.weights if not np.array_equal(before[weight.name], weight.numpy())]
            cases.results[f"phases: {name}"]["moved"] = moved
    for name in ("the head", "the head, then all"):
        floats = cases.folder / f"phases: {name}".replace(" ", "_")
        out = cases.run("qat", f"qat after {name}", source, whole, float=str(floats))
        model.load_weights(str(floats / quantize.FLOAT_WEIGHTS))
        bn = model.get_layer("stem_bn")
        factor = (bn.gamma / np.sqrt(bn.moving_variance + bn.epsilon)).numpy()
        merged = np.moveaxis(model.get_layer("stem").kernel.numpy() * factor, -1, 0)
        cases.results[f"qat after {name}"]["stem_lsb"] = weights_lsb(out / "qat.tflite", merged)


def weights_lsb(path: Path, kernel: Any) -> float:
    """How far the first convolution's int8 weights are from a float kernel [out, height, width, in], in steps."""
    graph = tflite.read(path)
    (weights,) = [graph.tensor(op.inputs[1]) for op in graph.ops if op.name == "CONV_2D"]
    scales = np.reshape(weights.scales, (-1, 1, 1, 1))
    return float(np.abs(weights.data - kernel / scales).max())


def main(folder: Path) -> None:
    cases, whole = Cases(folder), dataset()
    train = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2, "phases": []}
    model = cases.source(MODEL)
    trained = cases.run("float", "trained", model, whole, train=train)
    cases.run("float", "trained again", model, whole, train=train)
    cases.run("float", "trained with another seed", model, whole, train=train, seed=2)
    cases.run("float", "logits", cases.source(built(logits)), whole, train=train)
    cases.run("qat", "qat", model, whole, float=str(trained))
    cases.run("ptq", "ptq", model, whole, float=str(trained))
    cases.run("ptq", "ptq of int16", model, whole, float=str(trained), convert={"activations": "int16"})
    cases.run("ptq", "no representative", model, data.Dataset(whole.train, whole.test), float=str(trained))
    cases.run(
        "qat", "no training data", model, data.Dataset(None, whole.test, whole.representative), float=str(trained)
    )

    def options(**more: Any) -> dict[str, Any]:
        return {**cases.quantize, **more}

    four_bits = {"layers": ["*"], "weights": {"bits": 4, "per_channel": None, "narrow_range": True}}
    quantizers = [{**four_bits, "activations": None}]
    cases.run("ptq", "ptq with 4 bits", model, whole, float=str(trained), quantize=options(quantizers=quantizers))
    more = {"float": str(trained), "ptq": str(folder / "ptq")}
    cases.run("qat", "qat, two epochs", model, whole, **more, quantize=options(epochs=2))
    cases.run("qat", "qat, ranges frozen", model, whole, **more, quantize=options(epochs=2, freeze_ranges_after=1))
    stopping = {"patience": 2, "monitor": "loss", "held_out": 0.25}
    hasty = {"learning_rate": 0.1, "early_stopping": stopping, "freeze_batch_norm_after": 0}
    cases.run("qat", "qat, stopped early", model, whole, **more, quantize=options(epochs=40, **hasty))
    losses = cases.results["qat, stopped early"]["qat"]["history"]["val_loss"]
    best = losses.index(min(losses)) + 1
    cases.run("qat", "qat, to the best epoch", model, whole, **more, quantize=options(epochs=best, **hasty))
    worst = {"include": [{"most_sensitive": 1}]}
    cases.run("qat", "qat of the most sensitive", model, whole, **more, quantize=options(**worst))
    cases.run("qat", "no ranking", model, whole, float=str(trained), quantize=options(**worst))
    apart = {"early_stopping": {**stopping, "held_out": 0.001}}
    cases.run("qat", "nothing held out", model, whole, **more, quantize=options(**apart))

    model_with_state = cases.source(STATE)
    with_state = cases.run("float", "with state", model_with_state, whole)
    file = cases.run("ptq", "with state, ptq", model_with_state, whole, float=str(with_state)) / "ptq.tflite"
    cases.run("float", "with state, trained", model_with_state, whole, train=train)
    cases.run("qat", "with state, qat", model_with_state, whole, float=str(with_state))
    answers = quantize._model({"keras": None, **model_with_state, "weights": None})
    cases.results["with state"]["one by one"] = [int(np.argmax(answers(x[None]))) for x in whole.test.x]
    int8 = tflite.quantized_model(tflite.read(file))
    scores = golden.compute(int8, Vectors((data.quantized(whole.test.x, int8.inputs[0]),), "test"), ()).outputs[0]
    cases.results["with state, ptq"]["answers"] = scores.reshape(len(scores), -1).argmax(axis=1).tolist()

    original = quantize._model({"keras": None, **model, "weights": None})
    original.save(str(folder / "m.h5"))
    original.save(str(folder / "m.keras"))
    original.save_weights(str(folder / "w.weights.h5"))
    for form, source in (
        ("h5", {"keras": str(folder / "m.h5")}),
        ("keras", {"keras": str(folder / "m.keras")}),
        ("weights", {**model, "weights": str(folder / "w.weights.h5")}),
    ):
        cases.run("float", f"from {form}", source, whole)

    image = tf_keras.Input(SHAPE)
    scores = layers.Dense(2)(layers.Flatten()(layers.Lambda(lambda x: x * 2)(image)))
    tf_keras.Model(image, scores).save(str(folder / "lambda.h5"))
    cases.run("float", "a lambda", {"keras": str(folder / "lambda.h5")}, whole)
    (folder / "empty.h5").touch()
    (folder / "short.keras").write_bytes(b"PK\x03\x04 cut short")
    cases.run("float", "an empty file", {"keras": str(folder / "empty.h5")}, whole)
    cases.run("float", "a file cut short", {"keras": str(folder / "short.keras")}, whole)
    other = MODEL.replace("Conv2D(4", "Conv2D(5")
    cases.run("float", "other weights", {**cases.source(other), "weights": str(folder / "w.weights.h5")}, whole)

    cases.run("float", "no model", cases.source("def build():\n    return 3\n"), whole)
    cases.run("float", "other shape", model, dataset((8, 8, 1)))
    cases.run("float", "too many classes", model, dataset(classes=3))
    cases.run("float", "too many labels", model, whole, labels=3)
    cases.run("float", "two outputs", cases.source(built(many_outputs, 2)), whole)
    cases.run("float", "one score", cases.source(built(one_score)), whole)
    cases.run("float", "a picture", cases.source(built(a_picture)), whole)
    free = MODEL.replace("(6, 6, 1)", "(None, 6, 1)").replace("Flatten", "GlobalAveragePooling2D")
    cases.run("float", "a free size", cases.source(free), whole)
    huge = data.Samples(samples(64).x * 1e38, samples(64).y)
    cases.run("float", "diverged", model, data.Dataset(huge, whole.test, whole.representative), train=train)
    unknown = cases.source(built(unknown_to_tfmot))
    untrained = cases.run("float", "unknown to tfmot, float", unknown, whole)
    cases.run("qat", "unknown to tfmot", unknown, whole, float=str(untrained))
    keras_3 = cases.source(KERAS_3)
    in_phases(cases, keras_3, whole, quantize._model({"keras": None, **keras_3, "weights": None}))
    (folder / "results.json").write_text(json.dumps(cases.results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
