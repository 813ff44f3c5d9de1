"""A Keras model from anywhere becomes one flat tf_keras model, which quantization-aware training can work on.

    .keras, .h5   saved by tf_keras or by Keras 3
    a folder      a SavedModel that tf_keras wrote: its configuration and its variables are read, its graph never runs
    a model       of tf_keras or Keras 3, as a factory returns it

Keras 3 models are built anew in tf_keras layer by layer, weights copied; models inside models are taken apart; `a + b`
becomes an Add layer. Where anything was built anew, both models answer the same inputs, and the answers have to agree.

Files are data: before one is loaded its configuration is read, and refused if it names Python code, or classes that are
not Keras's own. Runs in the worker process.
"""

from __future__ import annotations

import inspect
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelError

SAVED_MODEL = "saved_model.pb"
TOLERANCE = 1e-4  # of the largest answer: Keras 3 and tf_keras normalise batches by different float ops
_CHECKED_SAMPLES = 8
_MAX_CONFIG_BYTES = 64 * 1024 * 1024

_OWN = re.compile(
    r"(keras|tf_keras|keras\.src\.\w+|tf_keras\.src\.\w+|(tf_)?keras\.(layers|models|initializers|regularizers|"
    r"constraints|activations|dtype_policies))(\..*)?"
)
_CODE = ("Lambda", "function", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")
_FLOAT32_HINT = "build it with the dtype policy float32 and load the same weights."
_FACTORY_HINT = "give a factory (file.py:function) that builds the model, and its `weights`."


def load(path: Path) -> Any:
    """Load a saved model as a flat tf_keras model.

    Raises:  ModelError: it is no model, holds Python code, or cannot be brought over; it says what.
    """
    if path.is_dir():
        return _saved_model(path)
    config, version = _configuration(path)
    _require_plain(config, path)
    if not version.startswith("3"):
        return flat(_tf_keras_file(path))
    import keras

    try:
        model = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # a file may be wrong in any way
        hint = (
            _FACTORY_HINT if path.suffix == ".keras" else "save it as .keras: Keras 3 cannot read all of its .h5 files."
        )
        raise _unreadable(path, f"Keras {keras.__version__}", error, hint) from error
    return flat(model)


def flat(model: Any) -> Any:
    """Bring a model of tf_keras or Keras 3 over: a tf_keras model without models inside.

    Raises:  ModelError: neither of the two, or something in it cannot be brought over; it is named.
    """
    import tf_keras

    if isinstance(model, tf_keras.Model):
        if not hasattr(model, "_nodes_by_depth"):
            raise _no_graph(model)
        if not any(isinstance(layer, tf_keras.Model) or _operator(layer) for layer in model.layers):
            return _checked(model)
    elif not is_keras_3(model):
        kind = f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}"
        raise ModelError(
            f"a {kind} is no Keras model; a model of tf_keras or Keras 3 is needed.",
            hint="return the result of tf_keras.Model(inputs, outputs).",
        )
    inner = _graph(model)
    if len(inner.inputs) != 1:
        raise ModelError(f"the model has {len(inner.inputs)} inputs; a recipe's model has one.")
    first = inner.inputs[0]
    image = tf_keras.Input(first.shape[1:], batch_size=first.shape[0], name="input", dtype="float32")
    rebuild = _Rebuild()
    outputs = rebuild.call(inner, [image], None)
    made = tf_keras.Model(image, outputs[0] if len(outputs) == 1 else outputs, name=_plain_name(model.name))
    rebuild.copy_weights()
    _require_equal(model, made)
    return _checked(made)


def sequence_batch(model: Any) -> int | None:
    """The batch that a flat model was built for, if it may keep state, so that answers depend on the samples before.

    A layer that keeps state says so (`stateful`), or is of the user's own class. None: any batch will do.
    """
    batch = model.inputs[0].shape[0]
    own = (layer for layer in model.layers if layer.stateful or not type(layer).__module__.startswith("tf_keras."))
    return None if batch is None or not any(own) else int(batch)


@contextmanager
def state_kept(model: Any) -> Iterator[None]:
    """Let a flat model be as it was at the end: state, too, which running it changes."""
    values = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)
        model.reset_states()


def is_keras_3(model: Any) -> bool:
    """Whether it is a model of Keras 3."""
    return any(kind.__module__.startswith("keras.") and kind.__name__ == "Model" for kind in type(model).__mro__)


def _checked(model: Any) -> Any:
    """Refuse what would go wrong later, and less clearly."""
    import tf_keras

    for layer in model.layers:
        recurrent = [part for part in layer._flatten_layers() if isinstance(part, tf_keras.layers.RNN)]
        if any(not part.unroll and (part.stateful or type(part).__name__ != "LSTM") for part in recurrent):
            raise ModelError(
                f"layer {layer.name} is a {type(layer).__name__} with a loop: of those the converter crashes on "
                "all but an LSTM that is not `stateful`.",
                hint="an LSTM, or SimpleRNN(.., unroll=True).",
            )
        if getattr(layer, "compute_dtype", "float32") not in ("float32", None):
            raise ModelError(
                f"layer {layer.name} computes in {layer.compute_dtype}: mixed precision cannot be quantized.",
                hint=_FLOAT32_HINT,
            )
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True):
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ModelError(
                    f"layer {layer.name}: {int((~np.isfinite(value)).sum()):,} of {value.size:,} values of "
                    f"{weight.name} are NaN or infinite.",
                    hint="train it again with a smaller learning rate; such weights have no int8 form.",
                )
    return model


# Files


def _configuration(path: Path) -> tuple[Any, str]:
    """The configuration in a .keras or .h5 file, and the version of Keras that wrote it."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                metadata, config = (_member(archive, name) for name in ("metadata.json", "config.json"))
            return config, str(metadata.get("keras_version", ""))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise ModelError(f"{path}: holds weights, but no model.", hint=_FACTORY_HINT)
            version = file.attrs.get("keras_version", "")
            return json.loads(text), version.decode() if isinstance(version, bytes) else str(version)
    except ModelError:
        raise
    except Exception as error:
        raise _unreadable(path, "Keras", error) from error


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{name} has more than {_MAX_CONFIG_BYTES:,} bytes")
    return json.loads(archive.read(name))


def _require_plain(config: Any, path: Path) -> None:
    """Refuse configurations that name code, or classes that are not Keras's."""
    for layer, part in _parts(config, "the model"):
        kind, module = part.get("class_name"), part.get("module")
        if kind in _CODE:
            raise ModelError(
                f"{path}: {layer}: a {'Lambda layer' if kind in ('Lambda', '__lambda__') else kind} is Python code in "
                "a file; it is not run.",
                hint="a Lambda layer is Python code in a file; name a factory that builds the model instead.",
            )
        if "module" in part and module != "builtins" and not _OWN.fullmatch(str(module)):
            raise ModelError(
                f"{path}: {layer} is a {kind}{f' of {module}' if module else ''}: a class of your own, which the file "
                "does not hold.",
                hint=_FACTORY_HINT,
            )


def _parts(config: Any, layer: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object with a class in a configuration, with the name of the layer it is in. The optimizer is left out."""
    waiting = [(config, layer)]
    while waiting:
        value, layer = waiting.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                inner = value.get("config")
                if isinstance(inner, Mapping) and "name" in inner:
                    layer = f"layer {inner['name']}"
                yield layer, value
            waiting += [(part, layer) for name, part in value.items() if name not in ("compile_config", "build_config")]
        elif isinstance(value, list):
            waiting += [(part, layer) for part in value]


def _tf_keras_file(path: Path) -> Any:
    import tf_keras
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    try:
        with SafeModeScope(True):
            return tf_keras.models.load_model(str(path), compile=False)
    except MemoryError:
        raise
    except Exception as error:  # a file may be wrong in any way
        raise _unreadable(path, "tf_keras", error) from error


def _saved_model(folder: Path) -> Any:
    """A SavedModel's graph is a program; what is read here are its configuration and its variables."""
    import tf_keras
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata
    from tf_keras.src.saving.legacy.saved_model import json_utils
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    described = folder / "keras_metadata.pb"
    if not described.is_file():
        raise ModelError(
            f"{folder}: a SavedModel without Keras's description of its layers (keras_metadata.pb); Keras 3 exports "
            "such ones, and quantization needs the layers.",
            hint="save it with model.save('model.keras').",
        )
    try:
        metadata = SavedMetadata()
        metadata.ParseFromString(described.read_bytes())
        text = next(node.metadata for node in metadata.nodes if node.node_path == "root")
        config = {name: json.loads(text)[name] for name in ("class_name", "config")}
    except Exception as error:
        raise _unreadable(folder, "tf_keras", error) from error
    _require_plain(config, folder)
    try:
        with SafeModeScope(True):
            model = tf_keras.models.model_from_config(json_utils.decode(json.dumps(config)))
        model.load_weights(str(folder / "variables" / "variables")).assert_existing_objects_matched()
    except Exception as error:
        raise _unreadable(folder, "tf_keras", error) from error
    return flat(model)


def _unreadable(path: Path, reader: str, error: Exception, hint: str = _FACTORY_HINT) -> ModelError:
    words = " ".join(str(error).split())[:300] or type(error).__name__
    return ModelError(f"{path}: {reader} cannot load it as a model: {words}", hint=hint)


# Graphs


def _no_graph(model: Any) -> ModelError:
    return ModelError(
        f"the model {model.name} ({type(model).__name__}) has no graph of layers that could be followed.",
        hint="build it as Sequential with an Input, or as Model(inputs, outputs), not as a class with a call().",
    )


def _graph(model: Any) -> Any:
    """What holds the nodes of a model: itself, or the functional model inside a Sequential of Keras 3."""
    inner = getattr(model, "_functional", None) or model
    if not hasattr(inner, "_nodes_by_depth"):
        raise _no_graph(model)
    return inner


def _is_model(layer: Any) -> bool:
    import tf_keras

    return isinstance(layer, tf_keras.Model) or is_keras_3(layer)


_OPERATORS = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "Add": "Add",
    "Subtract": "Subtract",
    "Multiply": "Multiply",
}


def _operator(layer: Any) -> str | None:
    """The layer that stands for `a + b`, `a - b` or `a * b`; None for what is a layer anyway."""
    if type(layer).__name__ == "TFOpLambda":
        return _OPERATORS.get(getattr(layer, "symbol", ""))
    if type(layer).__module__ == "keras.src.ops.numpy":
        return _OPERATORS.get(type(layer).__name__)
    return None


class _Rebuild:
    """Layers built anew, each once however often it is called."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}
        self._names = {"input"}

    def call(self, model: Any, inputs: list[Any], training: bool | None) -> list[Any]:
        """Follow a model's graph, models inside it as well."""
        import tensorflow as tf

        graph = _graph(model)
        tensors = {id(old): given for old, given in zip(graph.inputs, inputs, strict=True)}

        def new(value: Any) -> Any:
            return tensors.get(id(value), value)

        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                old = getattr(node, "operation", None) or node.layer
                given = getattr(node, "arguments", None)
                args, kwargs = (node.call_args, node.call_kwargs) if given is None else (given.args, given.kwargs)
                args, kwargs = tf.nest.map_structure(new, (tuple(args), dict(kwargs)))
                kwargs = {name: value for name, value in kwargs.items() if value is not None}
                made = self._called(old, args, kwargs, training, model.name)
                outputs = node.output_tensors if given is not None else tf.nest.flatten(node.outputs)
                tensors |= {id(before): after for before, after in zip(outputs, made, strict=True)}
        return [tensors[id(output)] for output in graph.outputs]

    def _called(self, old: Any, args: Any, kwargs: Any, training: bool | None, inside: str) -> list[Any]:
        import tensorflow as tf

        if _is_model(old):
            (given,) = args
            return self.call(old, tf.nest.flatten(given), kwargs.get("training", training))
        operator = _operator(old)
        if operator is not None:
            flat_args = tf.nest.flatten((args, kwargs))
            if not all(tf.is_symbolic_tensor(a) or hasattr(a, "_keras_history") for a in flat_args):
                raise ModelError(
                    f"{old.name}: {operator} with a constant has no layer in tf_keras.",
                    hint="a Rescaling layer, or do it to the data.",
                )
            layer, args, kwargs = self._layer(old, inside, operator), (flat_args,), {}
        else:
            layer = self._layer(old, inside)
            if training is not None and "training" not in kwargs and layer._expects_training_arg:
                kwargs["training"] = training
        try:
            made = layer(*args, **kwargs)
        except Exception as error:
            raise _not_brought_over(old, " ".join(str(error).split())[:200]) from error
        return list(tf.nest.flatten(made))

    def _layer(self, old: Any, inside: str, operator: str | None = None) -> Any:
        import tf_keras

        if id(old) not in self._made:
            name = _plain_name(operator.lower() if operator else old.name)
            while name in self._names:
                name = f"{_plain_name(inside)}_{name}"
            self._names.add(name)
            if operator is not None:
                made = getattr(tf_keras.layers, operator)(name=name)
            elif isinstance(old, tf_keras.layers.Layer):
                made = type(old).from_config({**old.get_config(), "name": name})
            else:
                made = _from_keras_3(old, name)
            self._made[id(old)] = (old, made)
        return self._made[id(old)][1]

    def copy_weights(self) -> None:
        """Give every layer the weights of the one it stands for."""
        for old, made in self._made.values():
            if made.weights:
                try:
                    made.set_weights(old.get_weights())
                except ValueError as error:
                    raise _not_brought_over(old, "its weights have another form in tf_keras") from error


def _plain_name(name: str) -> str:
    """A name that tf_keras takes for a layer."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name).lstrip("_.-") or "layer"


def _not_brought_over(layer: Any, reason: str) -> ModelError:
    return ModelError(
        f"layer {layer.name} ({type(layer).__name__}) cannot be brought over to tf_keras: {reason}.",
        hint="build the model with tf_keras, or replace the layer.",
    )


# Keras 3 configurations

_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}
_ACTIVATIONS = {"silu": "swish"}
_LAYER_KEYS = ("name", "trainable", "activity_regularizer", "dynamic")


def _from_keras_3(layer: Any, name: str) -> Any:
    """A tf_keras layer of the same class and configuration."""
    kind = type(layer).__name__
    if not type(layer).__module__.startswith("keras.src."):
        raise _not_brought_over(layer, f"{kind} is a class of your own, for Keras 3")
    if kind == "Lambda":
        raise _not_brought_over(layer, "a Lambda layer's function is for Keras 3")
    if not hasattr(layer, "get_weights"):
        raise _not_brought_over(layer, "it is an operation of keras.ops; layers are needed")
    if getattr(layer.dtype_policy, "compute_dtype", "float32") != "float32":
        raise ModelError(
            f"layer {layer.name} computes in {layer.dtype_policy.compute_dtype}: mixed precision cannot be quantized.",
            hint=_FLOAT32_HINT,
        )
    return _made_of(layer, kind, {**layer.get_config(), "name": name})


def _made_of(layer: Any, kind: str, config: Mapping[str, Any]) -> Any:
    import tf_keras

    made = getattr(tf_keras.layers, kind, None)
    if made is None:
        raise _not_brought_over(layer, "tf_keras has no such layer")
    accepted = set(_LAYER_KEYS).union(*(inspect.signature(c.__init__).parameters for c in made.__mro__[:-1]))
    accepted -= {"self", "kwargs", "args", "dtype"}
    kept = {}
    for key, value in config.items():
        key = _RENAMED.get((kind, key), key)
        if key == "dtype" or key.endswith("_initializer"):
            continue  # float32 was required; weights are copied
        if key not in accepted:
            if value is None or value is False:
                continue
            raise _not_brought_over(layer, f"tf_keras has no {key}={value!r}")
        kept[key] = _value(layer, key, value)
    try:
        return made(**kept)
    except Exception as error:
        raise _not_brought_over(layer, " ".join(str(error).split())[:200]) from error


def _value(layer: Any, key: str, value: Any) -> Any:
    import tf_keras

    if isinstance(value, str) and "activation" in key:
        return _ACTIVATIONS.get(value, value)
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    kind, config = str(value["class_name"]), value.get("config")
    for place, owner in (("regularizer", tf_keras.regularizers), ("constraint", tf_keras.constraints)):
        if place in key and isinstance(getattr(owner, kind, None), type) and isinstance(config, Mapping):
            return getattr(owner, kind)(**config)
    if hasattr(tf_keras.layers, kind) and isinstance(config, Mapping):
        return _made_of(layer, kind, config)
    raise _not_brought_over(layer, f"{key} is a {kind} ({config if isinstance(config, str) else 'of Keras 3'})")


def _require_equal(old: Any, new: Any) -> None:
    """Raises:  ModelError: the two models answer differently."""
    shape = new.inputs[0].shape[1:]
    if None in shape:
        return  # firmware needs every size: such a model is refused before it is used
    x = np.random.default_rng(0).uniform(-1, 1, (_CHECKED_SAMPLES, *shape)).astype(np.float32)
    for before, after in zip(_answers(old, x), _answers(new, x), strict=True):
        largest = float(np.abs(before).max(initial=0))
        difference = float(np.abs(before - after).max(initial=0))
        if not difference <= TOLERANCE * max(largest, 1e-6):
            raise ModelError(
                f"brought over to tf_keras, the model answers differently: by up to {difference:.3g}, with answers of "
                f"up to {largest:.3g}.",
                hint="build the model with tf_keras and load its weights, or replace what is unusual in it.",
            )


def _answers(model: Any, x: Any) -> Iterable[Any]:
    answers = model(x, training=False)
    return [np.asarray(a) for a in (answers if isinstance(answers, list | tuple) else [answers])]
