"""Quantization-aware training: a float model becomes one that simulates int8, and says what it does not simulate.

tensorflow-model-optimization's simulation is used, with six of its traps closed:

    a layer it does not know       stays float in training, with the reason, and gets its int8 ranges by calibration
    a merge it does not know       (Dense and BatchNormalization, ..) likewise: it would train scales that are not used
    DepthwiseConv2D                one scale a channel, as the converter writes them, and not one for all
    a layer before a ReLU          has its weights simulated, too
    ranges                         start from representative samples, not from -6..6, where few batches leave them
    frozen layers                  stay frozen, their batch normalization in inference mode

Its quantizers are replaced by those of pipeline.quantizers, layer by layer as the recipe has it.

Runs in the worker process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline import layer_patterns
from pipeline.errors import ModelError, RecipeError
from pipeline.model import Array
from pipeline.quantizers import Activations, Phase, RangeQuantizer, WeightQuantizer, Weights
from pipeline.sensitivity import Seen

SAMPLES = 16  # for which every layer's simulated output is kept
_MAX_BYTES = 32 * 1024 * 1024

_MERGED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")  # with the BatchNormalization behind them
_ACTIVATIONS = ("linear", "relu", "softmax", "sigmoid", "tanh")
_KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}
_PASSING = ("BatchNormalization", "ReLU", "Activation")  # that may be merged into the layer before them
_CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class LayerTraining:
    """How a layer is trained: with int8 simulated, or float for a reason."""

    name: str
    kind: str
    int8: bool
    reason: str = ""
    frozen: bool = False


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights that are simulated. asked: by a quantizer of the recipe."""

    layer: str
    kind: str
    wrapper: Any
    variable: Any
    quantizer: WeightQuantizer
    ranges: Mapping[str, Any]
    asked: bool

    @property
    def is_written_per_output(self) -> bool:
        """Whether the converter, which cannot carry it, has to find a scale for each output of a Dense itself."""
        return self.kind == "Dense" and self.quantizer.settings.per_channel

    def steps(self) -> Array:
        """The weights in steps of their scale, not rounded to codes: float32, in the order in which TFLite stores them.

        [outputs, ..], of a DepthwiseConv2D [1, height, width, outputs].
        """
        values = self.variable.numpy()
        if self.kind == "DepthwiseConv2D":
            values = values.reshape(1, *values.shape[:2], -1)
        scales = self.quantizer.scales(self.ranges)
        settings = self.quantizer.settings
        steps = np.divide(values, scales, out=np.zeros_like(values), where=scales > 0)
        steps = np.clip(steps, settings.lowest, settings.highest)
        return steps if self.kind == "DepthwiseConv2D" else np.moveaxis(steps, -1, 0)


@dataclass(frozen=True, eq=False)
class Range:
    """What a layer gives, simulated. asked: by a quantizer of the recipe, for it or for what it is merged into."""

    layer: str
    quantizer: RangeQuantizer
    ends: Mapping[str, Any]
    asked: bool

    @property
    def low(self) -> float:
        return float(self.ends["min_var"].numpy())

    @property
    def high(self) -> float:
        return float(self.ends["max_var"].numpy())


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model to train on, what became of each layer of the float one, and what is simulated."""

    model: Any
    layers: tuple[LayerTraining, ...]
    phase: Phase = field(default_factory=Phase)
    kernels: tuple[Kernel, ...] = ()
    ranges: tuple[Range, ...] = ()

    def described(self) -> list[dict[str, Any]]:
        """Every layer, with the quantizers of its weights and of what it gives (None: without) and the range learnt."""
        kernels = {kernel.layer: dataclasses.asdict(kernel.quantizer.settings) for kernel in self.kernels}
        ranges = {
            found.layer: {**dataclasses.asdict(found.quantizer.settings), "low": found.low, "high": found.high}
            for found in self.ranges
        }
        return [
            {
                **dataclasses.asdict(layer),
                "weights": kernels.get(layer.name),
                "activations": ranges.get(layer.name),
            }
            for layer in self.layers
        ]


def prepare(
    model: Any,
    representative: Array,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    quantizers: Sequence[Mapping[str, Any]] = (),
) -> Prepared:
    """Put the simulation of int8 into a flat tf_keras model, its weights copied, its ranges those of representative.

    Args:    representative: float32 [samples, ...]. include, exclude: patterns of layer names ("block_1_*") or classes
             ("Dense"): only these, all but these. quantizers: layers (lists of patterns, each of which has to mean a
             layer that the rest is for), weights and activations (fields of Weights and Activations, or None); of two
             that mean a layer the last counts.
    Raises:  RecipeError: a pattern fits no layer, none is left, or a layer cannot have its quantizer.
             ModelError: the model cannot be prepared.
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
        simulated = keras.quantize_apply(tf_keras.models.clone_model(clone, clone_function=annotated))
    except (RuntimeError, ValueError, NotImplementedError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split())[:400]
        raise ModelError(
            f"tensorflow-model-optimization cannot prepare the model for quantization-aware training: {words}",
            hint="leave the layer it names out with `exclude` in the quantize section, or use `method: ptq`.",
        ) from error
    prepared = _Installation(model, simulated, layers, quantizers).prepared()
    _freeze(simulated, {layer.name for layer in layers if layer.frozen})
    _calibrate(prepared, representative)
    return prepared


def settle(prepared: Prepared) -> None:
    """Let every weight scale be that of the weights as they are: training moved them once more after the last one."""
    prepared.phase.calibrating = True
    for wrapper in _wrappers(prepared.model):
        for variable, quantizer, ranges in wrapper._weight_vars:
            quantizer(variable, False, weights=ranges)
    prepared.phase.calibrating = False


def freeze_batch_norm(prepared: Prepared) -> None:
    """Let every BatchNormalization keep what it has learnt, and normalise with its averages in training, too."""
    for layer in prepared.model.layers:
        inner = getattr(layer, "layer", layer)
        if type(inner).__name__ == "BatchNormalization":
            inner.trainable = False


def for_conversion(prepared: Prepared) -> Any:
    """The model to convert, settled. Weights whose scales the converter finds itself are rounded to their codes."""
    import tensorflow as tf

    settle(prepared)
    for kernel in prepared.kernels:
        if kernel.is_written_per_output:
            kernel.variable.assign(kernel.quantizer(kernel.variable, False, weights=kernel.ranges))
            kernel.wrapper._weight_vars = [(kernel.variable, lambda inputs, *_, **__: tf.identity(inputs), {})]
    return prepared.model


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


def ranges(prepared: Prepared, representative: Array, x: Array) -> list[dict[str, Any]]:
    """What a test set has beyond the range that each layer has learnt: as pipeline.sensitivity.ranges.

    Args:    representative, x: float32 [samples, ...]. Averages and percentiles leave some of the former out, too.
    """
    names = {layer.name for layer in prepared.layers}
    learnt = {found.layer: found for found in prepared.ranges if found.layer in names}
    usual, tested = (_seen(prepared, learnt, samples) for samples in (representative, x))
    return [tested[name].against(name, each.low, each.high, usual[name].share) for name, each in learnt.items()]


def _seen(prepared: Prepared, learnt: Mapping[str, Range], x: Array) -> dict[str, Seen]:
    """What each layer gives, before it is rounded, against its range."""
    seen = {name: Seen() for name in learnt}

    def see(name: str, low: float, high: float, values: Any) -> None:
        seen[name].widen(values.numpy(), low, high)

    for name, found in learnt.items():
        found.quantizer.see = partial(see, name, found.low, found.high)
    for first in range(0, len(x), _CALIBRATION_BATCH):
        prepared.model(x[first : first + _CALIBRATION_BATCH], training=False)
    for found in learnt.values():
        found.quantizer.see = None
    return seen


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


# Quantizers


def _wrappers(model: Any) -> list[Any]:
    """tensorflow-model-optimization's, one around each layer that it prepared."""
    return [layer for layer in model.layers if hasattr(layer, "_weight_vars")]


class _Installation:
    """Puts our quantizers into a model that tensorflow-model-optimization has prepared."""

    def __init__(
        self, model: Any, simulated: Any, layers: Sequence[LayerTraining], quantizers: Sequence[Mapping[str, Any]]
    ) -> None:
        self._model, self._simulated, self._layers = model, simulated, layers
        self._phase = Phase()
        self._parts = {_own_name(layer): layer for layer in simulated.layers}
        self._nodes = {id(node) for depth in simulated._nodes_by_depth.values() for node in depth}
        self._weights: dict[str, Weights] = {}
        self._activations: dict[str, Activations] = {}
        for index, entry in enumerate(quantizers):
            self._read(entry, f"quantize.quantizers[{index}]")

    def prepared(self) -> Prepared:
        kernels = [kernel for wrapper in _wrappers(self._simulated) for kernel in self._kernels(wrapper)]
        ranges = [found for layer in self._simulated.layers for found in self._ranges(layer)]
        return Prepared(self._simulated, tuple(self._layers), self._phase, tuple(kernels), tuple(ranges))

    # What the recipe asks for

    def _read(self, entry: Mapping[str, Any], section: str) -> None:
        for patterns in entry["layers"]:
            layer_patterns.require_matches(self._model.layers, patterns, section)
            meant = [layer for layer in self._model.layers if layer_patterns.matches(layer, patterns)]
            names = ", ".join(patterns)
            if entry["weights"] is not None:
                kernels = [layer for layer in meant if any(len(weight.shape) > 1 for weight in layer.weights)]
                if not kernels:
                    raise RecipeError(
                        f"{section}: {names} has no weights to quantize.", hint="name a Conv2D or a Dense."
                    )
                for layer in kernels:
                    self._weights[layer.name] = self._for_weights(layer, entry["weights"], section)
            if entry["activations"] is not None:
                places = [place for layer in meant if (place := self._place(layer, section)) is not None]
                if not places:
                    raise RecipeError(
                        f"{section}: {names} has no range of its own: it shares another layer's (that before it, or a "
                        "Concatenate's behind it), or int8 fixes it (softmax: 0..1).",
                        hint="name the layer that it shares it with.",
                    )
                self._activations |= dict.fromkeys(places, Activations(**entry["activations"]))

    def _for_weights(self, layer: Any, asked: Mapping[str, Any], section: str) -> Weights:
        kind = type(layer).__name__
        self._require_trained(layer, section)
        if kind not in _KERNELS:
            hint = "a DepthwiseConv2D and a Conv2D instead" if kind.startswith("Separable") else "another pattern"
            raise RecipeError(
                f"{section}: {layer.name} is a {kind}; weights can be chosen of {', '.join(_KERNELS)}.", hint=f"{hint}."
            )
        per_channel = asked["per_channel"]
        if kind == "Dense" and per_channel and (asked["bits"] != 8 or not asked["narrow_range"]):
            raise RecipeError(
                f"{section}: {layer.name} is a Dense; TensorFlow's converter carries a scale for each of its outputs "
                "with 8 bits in the narrow range only.",
                hint="`per_channel: false` for it.",
            )
        return Weights(asked["bits"], kind != "Dense" if per_channel is None else per_channel, asked["narrow_range"])

    def _require_trained(self, layer: Any, section: str) -> None:
        found = next((trained for trained in self._layers if trained.name == layer.name), None)
        if found is not None and not found.int8:
            raise RecipeError(
                f"{section}: {layer.name} cannot have this quantizer, for it is not simulated: {found.reason}.",
                hint="a pattern that leaves it out.",
            )

    def _place(self, layer: Any, section: str) -> str | None:
        """The layer with the range of what a layer gives: itself, or one merged into it. None: no range is learnt."""
        part = self._parts.get(layer.name)
        if type(layer).__name__ == "InputLayer":
            readers = self._readers(part)
            return _own_name(readers[0]) if len(readers) == 1 and hasattr(readers[0], "quantizer_vars") else None
        if layer.weights:
            self._require_trained(layer, section)
        while part is not None and not any(self._observers(part)):
            readers = self._readers(part)
            follows = len(readers) == 1 and type(getattr(readers[0], "layer", None)).__name__ in _PASSING
            part = readers[0] if follows and hasattr(part, "_weight_vars") else None
        return None if part is None else _own_name(part)

    def _readers(self, part: Any) -> list[Any]:
        return [node.layer for node in part.outbound_nodes if id(node) in self._nodes]

    # Where it goes

    def _kernels(self, wrapper: Any) -> Iterator[Kernel]:
        layer, phase = wrapper.layer, self._phase
        kind = type(layer).__name__
        if kind not in _KERNELS or _gives_only_output(wrapper):
            wrapper._weight_vars = [(variable, _Followed(q, phase), r) for variable, q, r in wrapper._weight_vars]
            return
        attribute = _KERNELS[kind]
        variable = wrapper._weight_vars[0][0] if wrapper._weight_vars else getattr(layer, attribute)
        settings = self._weights.get(layer.name, Weights(per_channel=kind != "Dense"))
        merged_scale = self._merged_scale(wrapper)
        if merged_scale is not None and layer.name in self._weights:
            dead = np.flatnonzero(merged_scale().numpy() == 0)
            if dead.size:
                raise ModelError(
                    f"{layer.name}: the BatchNormalization behind it multiplies {dead.size} of its channels by 0 (its "
                    f"gamma; the first is channel {dead[0]}), and weights of 0 have no scale for a quantizer.",
                    hint="leave these channels out of the model, or the layer out of quantize.quantizers.",
                )
        quantizer = WeightQuantizer(settings, phase, kind == "DepthwiseConv2D", merged_scale)
        ranges = quantizer.build(variable.shape, f"{layer.name}_{attribute}", wrapper)
        wrapper._weight_vars = [(variable, quantizer, ranges)]
        wrapper.quantize_config = _kernel_config(wrapper.quantize_config, attribute)
        yield Kernel(layer.name, kind, wrapper, variable, quantizer, ranges, layer.name in self._weights)

    def _merged_scale(self, wrapper: Any) -> Any:
        """The factor by which the batch normalization behind a layer multiplies its weights, as a function; or None."""
        readers = self._readers(wrapper)
        norm: Any = getattr(readers[0], "layer", readers[0]) if len(readers) == 1 else None
        if type(norm).__name__ != "BatchNormalization":
            return None
        import tensorflow as tf

        def factor() -> Any:
            spread = tf.math.rsqrt(norm.moving_variance + norm.epsilon)
            return spread if norm.gamma is None else norm.gamma * spread

        return factor

    def _ranges(self, layer: Any) -> Iterator[Range]:
        name = _own_name(layer)
        asked = self._activations.get(name)
        is_input = hasattr(layer, "quantizer_vars")
        settings = asked or Activations(range="min_max" if is_input else "moving_average")
        for replace, ends in self._observers(layer):
            quantizer = RangeQuantizer(settings, self._phase)
            replace(quantizer)
            yield Range(name, quantizer, ends, asked is not None)

    @staticmethod
    def _observers(layer: Any) -> Iterator[tuple[Callable[[Any], None], Mapping[str, Any]]]:
        """The quantizers of activations in a layer of the prepared model: how to replace each, and its variables."""
        if hasattr(layer, "quantizer_vars"):
            yield partial(setattr, layer, "quantizer"), layer.quantizer_vars
        for activation in getattr(layer, "_quantize_activations", ()):
            for when in ("pre", "post"):
                ends = getattr(activation, f"_{when}_activation_vars", None)
                if ends is not None:
                    yield partial(setattr, activation, "quantizer"), ends
        if getattr(layer, "_output_quantizers", None):
            yield lambda quantizer: setattr(layer, "_output_quantizers", [quantizer]), layer._output_quantizer_vars


@dataclass(frozen=True, eq=False)
class _Followed:
    """A weight quantizer of tensorflow-model-optimization's that learns when ours do."""

    quantizer: Any
    phase: Phase

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **_: Any) -> Any:
        return self.quantizer(inputs, training or self.phase.calibrating, weights=weights)


def _gives_only_output(wrapper: Any) -> bool:
    """Whether it is around a layer that is trained float in front of one that is not."""
    return type(wrapper.quantize_config).__name__ == "OutputOnlyConfig"


def _kernel_config(before: Any, attribute: str) -> Any:
    import tensorflow_model_optimization as tfmot

    class KernelConfig(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc]
        """Hands the rounded kernel to the layer. The quantizers are in the wrapper already."""

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
            setattr(layer, attribute, quantize_weights[0])

        def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
            before.set_quantize_activations(layer, quantize_activations)

        def get_config(self) -> dict[str, Any]:
            return {}

    return KernelConfig()


def _calibrate(prepared: Prepared, representative: Array) -> None:
    """Learn all scales and ranges from float weights and representative samples."""
    prepared.phase.calibrating = True
    for first in range(0, len(representative), _CALIBRATION_BATCH):
        prepared.model(representative[first : first + _CALIBRATION_BATCH], training=False)
    prepared.phase.calibrating = False


def _freeze(model: Any, frozen: set[str]) -> None:
    """The wrappers train the weights of frozen layers; their ranges are still learnt, for int8 needs them."""
    for wrapper in model.layers:
        inner = getattr(wrapper, "layer", None)
        if inner is not None and inner.name in frozen:
            inner.trainable = False  # batch normalization: inference mode
            wrapper._non_trainable_weights += wrapper._trainable_weights
            wrapper._trainable_weights = []
