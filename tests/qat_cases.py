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

from pipeline import convert, data, fidelity, golden, qat, quantize, tflite
from pipeline.errors import TensorflashError
from pipeline.vectors import Vectors

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
    graph = tflite.read(path)
    (op,) = [op for op in graph.ops if op.name == "DEPTHWISE_CONV_2D"]
    data = graph.tensor(op.inputs[1]).data
    return [int(code) for code in np.abs(np.asarray(data, np.int32)).max(axis=(0, 1, 2))]


def quantizer(*patterns: str, activations: dict[str, Any] | None = None, **weights: Any) -> dict[str, Any]:
    """A quantizer as the quantize step hands it on."""
    whole = {"bits": 8, "per_channel": None, "narrow_range": True, **weights}
    return {"layers": [[p] for p in patterns], "weights": whole if weights else None, "activations": activations}


CUSTOM = {
    "custom": [
        quantizer("depthwise", bits=4),
        quantizer("pointwise", per_channel=False, narrow_range=False),
        quantizer("Dense", per_channel=True),
        quantizer("relu", activations={"range": "percentile", "percentile": 90.0}),
        quantizer("pointwise_bn", "InputLayer", activations={"range": "min_max", "symmetric": True}),
    ],
    "custom, 4 bits": [
        quantizer("*", bits=4, narrow_range=False),
        quantizer("pointwise", bits=4, per_channel=False),
        quantizer("*", activations={"range": "moving_average", "decay": 0.5}),
    ],
}
REFUSED = {
    "a layer that is none": quantizer("conv9", bits=4),
    "weights of a ReLU": quantizer("relu", bits=4),
    "a range of a Flatten": quantizer("flatten", activations={}),
    "4 bits for each output of a Dense": quantizer("Dense", bits=4, per_channel=True),
    "a layer that is trained float": quantizer("*", bits=4),
}


def written(path: Path) -> dict[str, Any]:
    """Weights and outputs of the ops of a file, by op: dtype, scales, codes, zero point."""
    graph = tflite.read(path)
    found = {}
    for op in graph.ops:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights, output = graph.tensor(op.inputs[1]), graph.tensor(op.outputs[0])
            found[op.name] = {
                "dtype": weights.dtype,
                "scales": [float(scale) for scale in weights.scales],
                "codes": [int(weights.data.min()), int(weights.data.max())],
                "output": [output.scale, output.zero_point],
            }
    image = graph.tensor(graph.inputs[0])
    return {"input": [image.scale, image.zero_point], **found}


def agreement(path: Path, simulation: Any) -> float:
    """Of TFLM's answers with those of the simulation."""
    model = tflite.quantized_model(tflite.read(path))
    answers = golden.compute(model, Vectors((data.quantized(X, model.inputs[0]),), "random"), ())
    scores = answers.outputs[0].reshape(len(X), -1)
    return float((scores.argmax(axis=1) == simulation.predict(X, verbose=0).argmax(axis=1)).mean())


def custom(folder: Path) -> dict[str, Any]:
    """Quantizers layer by layer, and what becomes of them."""
    results: dict[str, Any] = {}
    model = network()
    prepared = {}
    for name, quantizers in CUSTOM.items():
        made = prepared[name] = trained(model, quantizers=quantizers)
        graph = convert.to_int8(qat.for_conversion(made), X, folder / f"{name}.tflite")
        results[name] = {
            "differences": len(fidelity.differences(made, graph)),
            "written": written(folder / f"{name}.tflite"),
            "layers": {layer["name"]: layer for layer in made.described()},
            "agreement": agreement(folder / f"{name}.tflite", made.model),
        }
    default = tflite.read(folder / "whole.tflite")
    results["ignored"] = {each.layer: each.what for each in fidelity.differences(prepared["custom"], default)}
    convert_ = convert.to_int8
    try:
        convert.to_int8 = lambda *_, **__: default
        quantize._converted(prepared["custom"], X, folder / "ignored.tflite", {})
    except TensorflashError as error:
        results["ignored, as an error"] = {"message": error.message}
    finally:
        convert.to_int8 = convert_
    dead = network()
    dead.get_layer("pointwise_bn").gamma.assign([1.0, 0.0, 2.0, 0.0])
    try:
        qat.prepare(dead, X, quantizers=[quantizer("pointwise", bits=4)])
    except TensorflashError as error:
        results["dead channels"] = {"error": type(error).__name__, "message": error.message}
    for name, refused in REFUSED.items():
        try:
            qat.prepare(model, X, exclude=["pointwise"] if "float" in name else [], quantizers=[refused])
        except TensorflashError as error:
            results[name] = {"error": type(error).__name__, "message": error.message}
    return results


def calibrated() -> dict[str, Any]:
    """Ranges of the input that each estimator learns from two batches, without training."""
    found = {}
    for name, settings in {
        "min_max": {"range": "min_max"},
        "moving_average": {"range": "moving_average"},
        "percentile": {"range": "percentile", "percentile": 90.0},
        "symmetric": {"range": "min_max", "symmetric": True},
    }.items():
        prepared = qat.prepare(network(), X, quantizers=[quantizer("InputLayer", activations=settings)])
        found[name] = [prepared.ranges[0].low, prepared.ranges[0].high]
    first, second = X[:32].ravel(), X[32:].ravel()
    beyond = round(first.size * 0.1)
    ends = [(np.sort(part)[beyond], np.sort(part)[-1 - beyond]) for part in (first, second)]
    outermost = [(part.min(), part.max()) for part in (first, second)]
    found["of numpy"] = {
        "min_max": [float(X.min()), float(X.max())],
        "moving_average": np.mean(outermost, axis=0).tolist(),
        "percentile": np.mean(ends, axis=0).tolist(),
    }
    return found


def beyond() -> dict[str, Any]:
    """What data have beyond the learnt ranges: those that ranges were learnt from, and others three times as large."""
    ranges = {"relu": {"range": "min_max"}, "relu_2": {"range": "percentile", "percentile": 90.0}}
    quantizers = [quantizer(name, activations=settings) for name, settings in ranges.items()]
    prepared = qat.prepare(network(), X, quantizers=quantizers)
    return {str(times): {each["layer"]: each for each in qat.ranges(prepared, X, times * X)} for times in (1, 3)}


def schedule() -> dict[str, Any]:
    """The averages of a BatchNormalization after each of three epochs, and the learning rate at the end."""
    prepared = qat.prepare(network(), X)
    averages = {}

    def progress(epoch: int, epochs: int) -> None:
        if epoch:
            averages[epoch] = prepared.model.get_layer("quant_depthwise_bn").layer.moving_mean.numpy().tolist()

    options = {"epochs": 3, "freeze_batch_norm_after": None, "learning_rate_decay": "cosine", "learning_rate": 1e-3}
    options |= {"batch_size": 32, "early_stopping": None, "freeze_ranges_after": None}
    quantize._fit_simulated(prepared, data.Samples(X, Y), options, 1, progress)
    return {"averages": list(averages.values()), "rate": float(prepared.model.optimizer.learning_rate)}


def merged_relu() -> dict[str, Any]:
    """Whether weights in front of a ReLU without batch normalization are simulated."""
    image = tf_keras.Input((8, 8, 3))
    x = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.ReLU(name="dense_relu")(layers.Dense(5, name="dense")(layers.Flatten(name="flatten")(x)))
    model = tf_keras.Model(image, layers.Dense(3, name="scores")(x))
    coarse = qat.prepare(model, X, quantizers=[quantizer("conv", "dense", bits=4)])
    fine = qat.prepare(model, X)
    return {"moved": bool(np.abs(coarse.model.predict(X, verbose=0) - fine.model.predict(X, verbose=0)).max() > 1e-3)}


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
    results |= {
        "calibrated": calibrated(),
        "beyond": beyond(),
        "schedule": schedule(),
        "merged relu": merged_relu(),
        **custom(folder),
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
