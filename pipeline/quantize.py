"""Training: a float model, and from it int8 models by calibration (PTQ) or by training on (QAT).

Quantization-aware training is tensorflow-model-optimization's, which knows tf_keras only. Everything here runs in the
worker process, one task a process; the tasks' arguments are plain values, their results files:

    float   float.weights.h5, float.json (history, confusion matrix, frozen layers)
    ptq     ptq.tflite (activations of int8 or int16), ptq.json (what pipeline.sensitivity found), ranges.json (of each
            layer, calibrated and tested)
    qat     qat.tflite, qat.json (history, answers of the float model that simulates int8, how each layer was trained,
            its range, learnt and tested, what the converter made otherwise), layers.npz (what each layer gives in the
            simulation, for the first samples of the test set)

Equal arguments give equal files on a machine: seeds are set, ops are deterministic, and the number of threads is
the recipe's and not the machine's, because it changes the order in which floats are added.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import calibration, convert, data, factory, fidelity, keras_models, layer_patterns, qat, sensitivity
from pipeline.errors import DataError, ModelError, RecipeError
from pipeline.model import Array

FLOAT_WEIGHTS = "float.weights.h5"
_PREDICT_BATCH = 256

Progress = Callable[[int, int], None]


def _float(arguments: Mapping[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
    """Train the float model, or take it as it is without `train`; test it on the test set."""
    _prepare(arguments)
    dataset = data.load(Path(arguments["data"]))
    model = _model(arguments["model"])
    classes = _require_fit(model, dataset, arguments["labels"])
    train = arguments["train"]
    if train:
        _require_no_state(model)
    history = _fit_in_phases(model, _needed(dataset.train, "train"), train, progress) if train else {}
    model.save_weights(str(out / FLOAT_WEIGHTS))
    report = {
        "parameters": int(model.count_params()),
        "history": history,
        "frozen": [layer.name for layer in model.layers if layer.weights and not layer.trainable],
        **_tested(model, dataset, classes),
    }
    (out / "float.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return {}


def _ptq(arguments: Mapping[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
    """Convert the float model, its ranges learnt from the representative samples; find the layers that this hurts."""
    _prepare(arguments)
    dataset = data.load(Path(arguments["data"]))
    model = _float_model(arguments)
    progress(0, 1)
    representative, test = _representative(dataset, arguments), _needed(dataset.test, "test")
    activations = arguments["convert"].get("activations", "int8")
    ranges = sensitivity.ranges(model, representative, test.x, activations)
    calibration.require_exercised(ranges)
    (out / "ranges.json").write_text(json.dumps(ranges, indent=2) + "\n", encoding="utf-8")
    named = [  # those for the most sensitive layers follow from the ranking
        {**quantizer, "layers": [choice for choice in quantizer["layers"] if isinstance(choice, str)]}
        for quantizer in arguments["quantize"]["quantizers"]
    ]
    report = sensitivity.analyse(model, representative, test.x, test.y, activations, named)
    quantizers = _quantizers(arguments["quantize"], report)
    if quantizers:
        _require_no_state(model)
        prepared = qat.prepare(model, representative, quantizers=quantizers)
        _converted(prepared, representative, out / "ptq.tflite", arguments["convert"])
    else:
        convert.to_int8(model, representative, out / "ptq.tflite", **arguments["convert"])
    (out / "ptq.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    progress(1, 1)
    return {}


def _qat(arguments: Mapping[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
    """Train the float model on with int8 simulated, and convert it."""
    _prepare(arguments)
    dataset = data.load(Path(arguments["data"]))
    train, test = _needed(dataset.train, "train"), _needed(dataset.test, "test")
    float_model = _float_model(arguments)
    _require_no_state(float_model)
    classes = _require_fit(float_model, dataset, arguments["labels"])
    options = arguments["quantize"]
    ranking = json.loads((Path(arguments["ptq"]) / "ptq.json").read_text(encoding="utf-8"))
    include, exclude = (
        [pattern for patterns in _patterns(options[part], ranking) for pattern in patterns]
        for part in ("include", "exclude")
    )
    representative = _representative(dataset, arguments)
    prepared = qat.prepare(float_model, representative, include, exclude, _quantizers(options, ranking))
    history = _fit_simulated(prepared, train, options, arguments["seed"], progress)
    warnings = _converted(prepared, representative, out / "qat.tflite", arguments["convert"])
    simulated = qat.outputs(prepared, test.x)
    np.savez(out / "layers.npz", **{f"layer {name}": array for name, array in simulated.items()})
    report = {
        "history": history,
        "layers": prepared.described(),
        "ranges": qat.ranges(prepared, representative, test.x),
        "warnings": warnings,
        **_tested(prepared.model, dataset, classes),
    }
    (out / "qat.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return {}


TASKS: dict[str, Callable[[Mapping[str, Any], Path, Progress], dict[str, Any]]] = {
    "float": _float,
    "ptq": _ptq,
    "qat": _qat,
}


def _prepare(arguments: Mapping[str, Any]) -> None:
    """Make TensorFlow deterministic; the worker has set TF_USE_LEGACY_KERAS before."""
    import tensorflow as tf
    import tf_keras

    tf.config.threading.set_intra_op_parallelism_threads(arguments["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf_keras.utils.set_random_seed(arguments["seed"])


def _model(source: Mapping[str, Any]) -> Any:
    """Build or load the model that a recipe names, as a flat tf_keras model."""
    if source["factory"] is None:
        return keras_models.load(Path(source["keras"]))
    made_by = factory.parse(source["factory"])
    made = factory.function(made_by)()
    if source["weights"] is not None:
        _load_weights(made, Path(source["weights"]))
    try:
        return keras_models.flat(made)
    except ModelError as error:
        raise ModelError(f"{made_by}: {error.message}", hint=error.hint) from error


def _load_weights(model: Any, path: Path) -> None:
    try:
        model.load_weights(str(path))
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"{path}: these weights do not fit the model: {words}", hint="build the model that they were saved from."
        ) from error


def _float_model(arguments: Mapping[str, Any]) -> Any:
    """The float step's result; what was frozen when its training ended is frozen."""
    folder = Path(arguments["float"])
    model = _model({**arguments["model"], "weights": None})
    _load_weights(model, folder / FLOAT_WEIGHTS)
    frozen = json.loads((folder / "float.json").read_text(encoding="utf-8"))["frozen"]
    for layer in model.layers:
        layer.trainable = layer.name not in frozen
    return model


def _require_no_state(model: Any) -> None:
    batch = keras_models.sequence_batch(model)
    if batch is not None:
        raise ModelError(
            f"the model was built for a batch of {batch} and may keep state from one sample to the next (a layer with "
            "`stateful`, or a class of your own): it cannot be trained here, where samples are shuffled into batches.",
            hint="train it without state and give the weights (`model: {factory: .., weights: ..}`), without `train`, "
            "with `quantize: {method: ptq}` and no quantizers.",
        )


def _require_fit(model: Any, dataset: data.Dataset, labels: int) -> int:
    """Model, data and labels have to be about the same thing; returns the number of classes."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a recipe trains "
            "classifiers with one of each.",
            hint="convert it yourself and give the int8 file as `tflite:`.",
        )
    wanted = tuple(model.inputs[0].shape[1:])
    if len(wanted) != len(dataset.sample_shape) or any(
        size is not None and size != found for size, found in zip(wanted, dataset.sample_shape, strict=True)
    ):
        raise DataError(
            f"samples have shape {list(dataset.sample_shape)}; the model takes {list(wanted)}.",
            hint="reshape the data, or give the model this input shape.",
        )
    if any(size is None for size in wanted):
        raise ModelError(
            f"the model's input shape is {list(wanted)}; firmware needs every size.",
            hint=f"build it with Input({dataset.sample_shape}).",
        )
    output = tuple(model.outputs[0].shape[1:])
    if len(output) != 1 or output[0] is None or output[0] < 2:
        raise ModelError(
            f"the model's output has shape {list(output)}; one score for each of at least 2 classes is needed.",
            hint="end with Dense(classes, activation='softmax').",
        )
    classes = int(output[0])
    if dataset.classes > classes:
        raise DataError(f"the data has class number {dataset.classes - 1}; the model has {classes} classes, from 0.")
    if labels not in (0, classes):
        raise DataError(f"the recipe has {labels} labels; the model has {classes} classes.")
    return classes


def _fit_in_phases(
    model: Any, train: data.Samples, options: Mapping[str, Any], progress: Progress
) -> dict[str, list[float]]:
    """One phase after another, each with an optimizer of its own; the model's layers stay as the last one froze them.

    A frozen layer keeps its weights, and a BatchNormalization its averages, which it normalises with.
    """
    phases = options["phases"] or [options]
    epochs = sum(phase["epochs"] for phase in phases)
    history: dict[str, list[float]] = {}
    done = 0
    for index, phase in enumerate(options["phases"]):  # a mistake in the last one is found before the first one trains
        _freeze(model, phase, f"train.phases[{index}]")
    for index, phase in enumerate(phases):
        if options["phases"]:
            _freeze(model, phase, f"train.phases[{index}]")

        def phase_progress(epoch: int, _: int, before: int = done) -> None:
            progress(before + epoch, epochs)

        for curve, values in _fit(model, train, {**options, **phase}, phase_progress).items():
            history.setdefault(curve, []).extend(values)
        done += phase["epochs"]
    return history


def _freeze(model: Any, phase: Mapping[str, Any], section: str) -> None:
    """Freeze all layers but those that a phase trains.

    Raises:  RecipeError: a pattern means no layer, or nothing is left to train.
    """
    layers = [layer for layer in model.layers if layer.weights]
    layer_patterns.require_matches(layers, (*phase["include"], *phase["exclude"]), section)
    for layer in layers:
        layer.trainable = layer_patterns.chosen(layer, phase["include"], phase["exclude"])
    if not model.trainable_weights:
        raise RecipeError(f"{section}: no layer is left to train.", hint="another `include` or `exclude`.")


def _fit_simulated(
    prepared: qat.Prepared, train: data.Samples, options: Mapping[str, Any], seed: int, progress: Progress
) -> dict[str, list[float]]:
    """Quantization-aware training, in place: stopped early, ranges and normalization frozen, as the recipe has it.

    Source:  frozen normalization: R. Krishnamoorthi, Quantizing deep convolutional networks for efficient inference,
             2018: weights have to settle with the averages that the deployed model has, and not with each batch's.
    """
    import tf_keras

    stopping = options["early_stopping"]
    normalization_after = options["freeze_batch_norm_after"]
    if normalization_after is None:
        normalization_after = (options["epochs"] + 1) // 2

    class Freeze(tf_keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == options["freeze_ranges_after"]:
                prepared.phase.frozen = True
            if epoch == normalization_after:
                qat.freeze_batch_norm(prepared)
            if epoch in (options["freeze_ranges_after"], normalization_after):
                self.model.make_train_function(force=True)  # for it is compiled with what moved before

    class KeepBest(tf_keras.callbacks.Callback):  # type: ignore[misc]
        """Keras's EarlyStopping leaves the last weights where no patience was lost; here the best are kept."""

        best, best_epoch, weights = -np.inf, 0, None

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            value = (-1 if stopping["monitor"] == "loss" else 1) * logs[f"val_{stopping['monitor']}"]
            if value > self.best:
                self.best, self.best_epoch, self.weights = value, epoch, self.model.get_weights()
            elif epoch - self.best_epoch >= stopping["patience"]:
                self.model.stop_training = True

        def on_train_end(self, logs: Any = None) -> None:
            if self.weights is not None:
                self.model.set_weights(self.weights)

    if stopping is None:
        return _fit(prepared.model, train, options, progress, callbacks=[Freeze()])
    order = np.random.default_rng(seed).permutation(len(train.x))
    held = round(len(order) * stopping["held_out"])
    if not 0 < held < len(order):
        raise DataError(
            f"early_stopping: {stopping['held_out']:g} of {len(order)} training samples are {held}, at least one is "
            "needed, and one left to train with.",
            hint="another `held_out`, or more data.",
        )
    apart, rest = (data.Samples(train.x[part], train.y[part]) for part in (order[:held], order[held:]))
    return _fit(prepared.model, rest, options, progress, apart, [Freeze(), KeepBest()])


def _fit(
    model: Any,
    train: data.Samples,
    options: Mapping[str, Any],
    progress: Progress,
    held_out: data.Samples | None = None,
    callbacks: Sequence[Any] = (),
) -> dict[str, list[float]]:
    """Fit in place; loss and accuracy of every epoch, and on what is held out val_loss and val_accuracy."""
    import tf_keras

    epochs = options["epochs"]

    class Report(tf_keras.callbacks.Callback):  # type: ignore[misc]
        epoch = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch % 100 == 0:  # a sign of life in long epochs
                progress(self.epoch, epochs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch + 1
            progress(self.epoch, epochs)

    rate = options["learning_rate"]
    if options.get("learning_rate_decay") == "cosine":
        batches = -(-len(train.x) // options["batch_size"])
        rate = tf_keras.optimizers.schedules.CosineDecay(rate, epochs * batches)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not _ends_in_softmax(model)),
        metrics=["accuracy"],
    )
    fitted = model.fit(
        train.x,
        train.y,
        batch_size=options["batch_size"],
        epochs=epochs,
        verbose=0,
        callbacks=[Report(), *callbacks],
        validation_data=None if held_out is None else (held_out.x, held_out.y),
    )
    history = {name: [float(value) for value in values] for name, values in fitted.history.items()}
    for epoch, loss in enumerate(history["loss"]):
        if not np.isfinite(loss):
            raise ModelError(
                f"training diverged: the loss is {loss} in epoch {epoch + 1} of {epochs}.",
                hint="a smaller learning_rate, or data scaled to about -1..1.",
            )
    return history


def _ends_in_softmax(model: Any) -> bool:
    """Whether the last layer's output is probabilities; tfmot wraps layers, their configuration stays inside."""
    layer = model.layers[-1]
    layer = getattr(layer, "layer", layer)
    if type(layer).__name__ == "Softmax":
        return True
    activation = getattr(layer, "activation", None)
    activation = getattr(activation, "activation", activation)  # tfmot's QuantizeAwareActivation
    return getattr(activation, "__name__", "") == "softmax"


def _tested(model: Any, dataset: data.Dataset, classes: int) -> dict[str, Any]:
    """The answers to the test set, and their confusion matrix: rows are true classes, columns answers."""
    test = _needed(dataset.test, "test")
    with keras_models.state_kept(model):
        scores = model.predict(test.x, batch_size=keras_models.sequence_batch(model) or _PREDICT_BATCH, verbose=0)
    confusion = np.zeros((classes, classes), np.int64)
    answers = scores.argmax(axis=1)
    np.add.at(confusion, (test.y, answers), 1)
    return {"confusion": confusion.tolist(), "answers": answers.tolist()}


def _representative(dataset: data.Dataset, arguments: Mapping[str, Any]) -> Array:
    if dataset.representative is None:
        raise DataError("there is no representative data (x_representative), from which int8 ranges are learnt.")
    return dataset.representative[: arguments["quantize"]["representative_samples"]]


def _patterns(choices: Sequence[Any], ranking: Mapping[str, Any]) -> list[list[str]]:
    """The patterns of layers that each choice of a recipe means: itself, or the names of the most sensitive layers."""
    meant = []
    for choice in choices:
        if isinstance(choice, str):
            meant.append([choice])
            continue
        if not ranking["layers"]:
            raise RecipeError(
                f"quantize: most_sensitive: the layers have no ranking: {ranking['reason']}.",
                hint="name the layers, or a pattern.",
            )
        worst = ranking["layers"][: choice["most_sensitive"]]
        meant.append([glob.escape(name) for layer in worst for name in layer["merged"]])
    return meant


def _quantizers(options: Mapping[str, Any], ranking: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Quantizers of a recipe, as pipeline.qat takes them."""
    return [{**quantizer, "layers": _patterns(quantizer["layers"], ranking)} for quantizer in options["quantizers"]]


def _converted(prepared: qat.Prepared, representative: Array, path: Path, options: Mapping[str, Any]) -> list[str]:
    """Convert what was simulated; a sentence for each layer that the converter made otherwise.

    Raises:  ModelError: the converter ignores a quantizer of the recipe.
    """
    graph = convert.to_int8(qat.for_conversion(prepared), representative, path, **options)
    found = fidelity.differences(prepared, graph)
    ignored = [difference for difference in found if difference.asked]
    if ignored:
        raise ModelError(
            "\n".join(f"{each.layer}: the converter ignores its quantizer: {each.what}." for each in ignored),
            hint="another quantizer for the layer, or none (quantize.quantizers).",
        )
    return [f"{each.layer} is not as it was trained: in the conversion {each.what}." for each in found]


def _needed(part: data.Samples | None, name: str) -> data.Samples:
    if part is None:
        raise DataError(f"there is no {name} data (x_{name}, y_{name}), which this recipe needs.")
    return part
