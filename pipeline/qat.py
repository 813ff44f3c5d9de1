"""Quantization-aware training: a float model becomes one that simulates int8, and says what it does not simulate.

tensorflow-model-optimization's simulation is used, with four of its traps closed:

    a layer it does not know       stays float in training, with the reason, and gets its int8 ranges by calibration
    a merge it does not know       (Dense and BatchNormalization, ..) likewise: it would train scales that are not used
    DepthwiseConv2D                one scale a channel, as the converter writes them, and not one for all
    frozen layers                  stay frozen, their batch normalization in inference mode

Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import layer_patterns
from pipeline.errors import ModelError, RecipeError

SAMPLES = 16  # for which every layer's simulated output is kept
_MAX_BYTES = 32 * 1024 * 1024

_MERGED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")  # with the BatchNormalization behind them
_ACTIVATIONS = ("linear", "relu", "softmax", "sigmoid", "tanh")


@dataclass(frozen=True)
class LayerTraining:
    """How a layer is trained: with int8 simulated, or float for a reason."""

    name: str
    kind: str
    int8: bool
    reason: str = ""
    frozen: bool = False


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model to train on, and what became of each layer of the float one."""

    model: Any
    layers: tuple[LayerTraining, ...]


def prepare(model: Any, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Prepared:
    """Put the simulation of int8 into a flat tf_keras model; its weights are copied.

    Args:    include, exclude: patterns of layer names ("block_1_*") or classes ("Dense"): only these, all but these.
    Raises:  RecipeError: a pattern fits no layer, or none is left. ModelError: the model cannot be prepared.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras

    own = [layer for layer in model.layers if not isinstance(layer, tf_keras.layers.InputLayer)]
    layer_patterns.require_matches(own, (*include, *exclude), "quantize")
    nodes = {id(node) for depth in model._nodes_by_depth.values() for node in depth}
    layers = tuple(_decide(own, nodes, include, exclude))
    chosen = {layer.name for layer in layers if layer.int8}
    if not chosen:
        reasons = "; ".join(f"{layer.name}: {layer.reason}" for layer in layers[:5])
        raise RecipeError(
            f"no layer is left for quantization-aware training ({reasons}).",
            hint="`method: ptq`, or another `include`.",
        )
    keras = tfmot.quantization.keras

    def annotated(layer: Any) -> Any:
        return keras.quantize_annotate_layer(layer) if layer.name in chosen else layer

    try:
        clone = tf_keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        prepared = keras.quantize_apply(tf_keras.models.clone_model(clone, clone_function=annotated))
    except (RuntimeError, ValueError, NotImplementedError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split())[:400]
        raise ModelError(
            f"tensorflow-model-optimization cannot prepare the model for quantization-aware training: {words}",
            hint="leave the layer it names out with `exclude` in the quantize section, or use `method: ptq`.",
        ) from error
    _per_channel(prepared)
    _freeze(prepared, {layer.name for layer in layers if layer.frozen})
    return Prepared(prepared, layers)


def outputs(prepared: Prepared, x: Any) -> dict[str, Any]:
    """What every layer gives in the simulation, by its name in the float model: float32 [samples, ...].

    At most SAMPLES samples, fewer where that would be more than 32 MiB.
    """
    import tf_keras

    model = prepared.model
    known = {layer.name for layer in prepared.layers}
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    given = {_own_name(node.layer): node.outputs for node in nodes}  # of a layer called twice, the last
    tensors = {name: tensor for name, tensor in given.items() if name in known and hasattr(tensor, "shape")}
    size = sum(4 * int(np.prod(tensor.shape[1:])) for tensor in tensors.values())
    x = x[: max(1, min(SAMPLES, _MAX_BYTES // max(size, 1)))]
    found = tf_keras.Model(model.inputs, list(tensors.values()))(x, training=False)
    found = found if isinstance(found, list) else [found]
    return {name: array.numpy() for name, array in zip(tensors, found, strict=True)}


def _own_name(layer: Any) -> str:
    return str(getattr(layer, "layer", layer).name)


# Which layers


def _decide(
    layers: Sequence[Any], nodes: set[int], include: Sequence[str], exclude: Sequence[str]
) -> list[LayerTraining]:
    decided: dict[str, LayerTraining] = {}
    for layer in layers:
        if layer_patterns.matches(layer, exclude):
            reason = "excluded by the recipe"
        elif not layer_patterns.chosen(layer, include, ()):
            reason = "not included by the recipe"
        else:
            reason = _obstacle(layer, nodes, decided)
        decided[layer.name] = LayerTraining(
            layer.name, type(layer).__name__, not reason, reason, bool(layer.weights) and not layer.trainable
        )
    return list(decided.values())


def _obstacle(layer: Any, nodes: set[int], decided: Mapping[str, LayerTraining]) -> str:
    """Why a layer is not simulated; "" where it is. nodes: ids of the model's own, for a layer may be in others too."""
    import tensorflow_model_optimization as tfmot

    kind = type(layer).__name__
    calls = [node for node in layer.inbound_nodes if id(node) in nodes]
    after = [node.layer for node in layer.outbound_nodes if id(node) in nodes]
    if len(calls) > 1:
        return f"it is called {len(calls)} times"
    if kind == "BatchNormalization":
        before = calls[0].inbound_layers
        if isinstance(before, list):
            raise ValueError(f"{layer.name} has {len(before)} inputs")
        if type(before).__name__ not in _MERGED or _activation(before) != "linear":
            return "only right behind a convolution without activation is it merged as in int8"
        if not decided[before.name].int8:
            return f"{before.name}, into which it is merged, is trained float"
        if sum(id(node) in nodes for node in before.outbound_nodes) > 1:
            return f"{before.name} has other readers, so that it is not merged"
        return ""
    if not tfmot.quantization.keras.default_8bit.Default8BitQuantizeRegistry().supports(layer):
        return "tensorflow-model-optimization does not know it"
    if _activation(layer) not in _ACTIVATIONS:
        return f"its activation {_activation(layer)} is not known; in a layer of its own it would be"
    if kind not in _MERGED and layer.weights and any(type(a).__name__ == "BatchNormalization" for a in after):
        return f"the converter merges {after[0].name} into it, which the simulation does not"
    return ""


def _activation(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", type(activation).__name__))


# What the simulation gets wrong


def _per_channel(model: Any) -> None:
    """DepthwiseConv2D kernels [height, width, channels, multiplier]: a scale for each of channels * multiplier."""
    import tf_keras

    for wrapper in model.layers:
        if isinstance(getattr(wrapper, "layer", None), tf_keras.layers.DepthwiseConv2D):
            quantizer = _depthwise_quantizer()
            wrapper._weight_vars = [
                (weight, quantizer, quantizer.build(weight.shape, f"{wrapper.layer.name}_depthwise", wrapper))
                for weight, _, _ in wrapper._weight_vars
            ]


def _depthwise_quantizer() -> Any:
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    class PerDepthwiseChannel(tfmot.quantization.keras.quantizers.Quantizer):  # type: ignore[misc]
        """Symmetric int8 in -127..127; the range is the largest magnitude of the channel."""

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            channels = int(tensor_shape[-2] * tensor_shape[-1])
            return {
                key: layer.add_weight(
                    name=f"{name}_{key}",
                    shape=(channels,),
                    initializer=tf_keras.initializers.Constant(value),
                    trainable=False,
                )
                for key, value in (("min_var", -6.0), ("max_var", 6.0))
            }

        def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **_: Any) -> Any:
            flat = tf.reshape(inputs, [inputs.shape[0], inputs.shape[1], -1])
            low, high = weights["min_var"], weights["max_var"]
            if training:
                largest = tf.reduce_max(tf.abs(flat), axis=[0, 1])
                low, high = low.assign(-largest), high.assign(largest)
            coded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                flat, low, high, num_bits=8, narrow_range=True
            )
            return tf.reshape(coded, inputs.shape)

        def get_config(self) -> dict[str, Any]:
            return {}

    return PerDepthwiseChannel()


def _freeze(model: Any, frozen: set[str]) -> None:
    """The wrappers train the weights of frozen layers; their ranges are still learnt, for int8 needs them."""
    for wrapper in model.layers:
        inner = getattr(wrapper, "layer", None)
        if inner is not None and inner.name in frozen:
            inner.trainable = False  # batch normalization: inference mode
            wrapper._non_trainable_weights += wrapper._trainable_weights
            wrapper._trainable_weights = []
