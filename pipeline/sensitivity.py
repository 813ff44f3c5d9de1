"""Which layer hurts: what quantization costs in one layer alone, and what is won back when one alone is spared.

It is simulated on the float model as calibration makes it: weights of int8, symmetric with a scale for each channel, or
as a quantizer of the recipe asks; outputs of int8 with the range that they take on the representative samples, or of
int16 with as much on either side of 0.

What the converter merges (a convolution, the batch normalization and the ReLU behind it) is one layer here, under
the name of its last part. Runs in the worker process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline import keras_models, layer_patterns
from pipeline.model import Array
from pipeline.quantizers import Weights

MAX_SAMPLES = 500
MIN_SAMPLES = 32
BUDGET_MACS = 4e10  # of all passes together: some ten seconds
HARMLESS_DB = 30.0
_BATCH_BYTES = 64 * 1024 * 1024  # of all layers' outputs

# Ops that hand codes on as they are.
_PASSING = ("InputLayer", "Flatten", "Reshape", "Dropout", "MaxPooling2D", "ZeroPadding2D", "Permute", "Cropping2D")
# Axes of a kernel that each have a scale.
_CHANNELS = {"Conv2D": (3,), "DepthwiseConv2D": (2, 3), "Dense": (1,), "Conv2DTranspose": (2,), "Conv1D": (2,)}
_MERGED = ("BatchNormalization", "ReLU")


@dataclass(eq=False)
class _Unit:
    """Layers that are one op when converted; layer: the first, node: the one whose output is quantized."""

    name: str
    merged: list[str]  # all names
    kinds: list[str]
    node: Any
    layer: Any
    norm: Any = None  # the BatchNormalization that is merged into the kernel
    kernel: Any = None
    axes: tuple[int, ...] = ()
    weights: Weights = field(default_factory=Weights)
    low: float = 0.0
    high: float = 0.0
    macs: float = 0.0


@dataclass(eq=False)
class Seen:
    """The range of all values that were seen, and how many of them were beyond given limits by more than a step."""

    low: float = math.inf
    high: float = -math.inf
    values: int = 0
    beyond: int = 0

    def widen(self, values: Array, low: float = -math.inf, high: float = math.inf) -> None:
        step = (high - low) / 255
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.values += values.size
        self.beyond += int(((values < low - step) | (values > high + step)).sum())

    @property
    def share(self) -> float:
        """The fraction of all values that was beyond."""
        return self.beyond / max(self.values, 1)

    def against(self, layer: str, low: float, high: float, usual: float = 0.0) -> dict[str, Any]:
        """As `ranges` has it, of values of a layer with the range low..high."""
        seen = {"test_low": self.low, "test_high": self.high, "clipped": self.share, "usual": usual}
        return {"layer": layer, "low": low, "high": high, **seen}


@dataclass(eq=False)
class _Network:
    """A flat model as a list of calls, in order; codes: of its layers' outputs, int8 or int16."""

    model: Any
    codes: str
    nodes: list[Any] = field(default_factory=list)
    units: list[_Unit] = field(default_factory=list)
    batch: int = 1

    def __post_init__(self) -> None:
        by_depth = self.model._nodes_by_depth
        self.nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        open_units: dict[int, _Unit] = {}  # by id of the tensor that the next layer may be merged behind
        readers: dict[int, int] = {}
        for node in self.nodes:
            for tensor in _inputs(node):
                readers[id(tensor)] = readers.get(id(tensor), 0) + 1
        for node in self.nodes:
            kind, inputs = type(node.layer).__name__, _inputs(node)
            before = open_units.get(id(inputs[0])) if len(inputs) == 1 and readers[id(inputs[0])] == 1 else None
            if before is not None and kind in _MERGED and not (kind == "BatchNormalization" and not before.axes):
                before.name, before.node = node.layer.name, node
                before.merged.append(node.layer.name)
                before.kinds.append(kind)
                before.norm = node.layer if kind == "BatchNormalization" else before.norm
                unit = before
            elif kind in _PASSING:
                continue
            else:
                unit = self._unit(node, kind)
                self.units.append(unit)
            if kind != "ReLU" and not isinstance(node.outputs, list):
                open_units[id(node.outputs)] = unit
        outputs = [node.outputs for node in self.nodes if not isinstance(node.outputs, list)]
        fitting = int(_BATCH_BYTES / sum(4.0 * np.prod(output.shape[1:]) for output in outputs))
        self.batch = keras_models.sequence_batch(self.model) or max(1, fitting)

    @staticmethod
    def _unit(node: Any, kind: str) -> _Unit:
        unit = _Unit(node.layer.name, [node.layer.name], [kind], node, node.layer)
        elements = float(np.prod(node.outputs.shape[1:])) if not isinstance(node.outputs, list) else 0.0
        unit.macs = elements
        if kind in _CHANNELS:
            unit.kernel = node.layer.depthwise_kernel if kind == "DepthwiseConv2D" else node.layer.kernel
            unit.axes = _CHANNELS[kind]
            places = np.prod(node.outputs.shape[1:-1]) if len(node.outputs.shape) > 2 else 1
            unit.macs += float(places) * float(np.prod(unit.kernel.shape))
        return unit

    def run(self, x: Array, weights: Collection[_Unit] = (), activations: Collection[_Unit] = ()) -> Array:
        """The model's answers with some layers' weights and outputs quantized, float32 [samples, ...]."""
        kept = [(unit.kernel, unit.kernel.numpy()) for unit in weights if unit.kernel is not None]
        quantized = {id(unit.node): unit for unit in activations}
        try:
            for unit in weights:
                if unit.kernel is not None:
                    unit.kernel.assign(_rounded(unit))
            batches = [self._pass(x[first : first + self.batch], quantized) for first in range(0, len(x), self.batch)]
        finally:
            for kernel, value in kept:
                kernel.assign(value)
        return np.concatenate(batches)

    def observe(self, x: Array, see: Callable[[_Unit, Any], None]) -> None:
        """Show the outputs of every unit, a batch at a time."""
        by_node = {id(unit.node): unit for unit in self.units}
        with keras_models.state_kept(self.model):
            for first in range(0, len(x), self.batch):
                self._pass(x[first : first + self.batch], {}, lambda node, made: see(by_node[node], made), by_node)

    def calibrate(self, x: Array) -> None:
        """Learn every output's range."""
        import tensorflow as tf

        def learn(unit: _Unit, made: Any) -> None:
            unit.low = min(unit.low, float(tf.reduce_min(made)))
            unit.high = max(unit.high, float(tf.reduce_max(made)))

        self.observe(x, learn)
        for unit in self.units:
            if unit.kinds[-1] == "Softmax":
                unit.low, unit.high = 0.0, 1 - 1 / (256 if self.codes == "int8" else 32_768)

    def _pass(
        self,
        x: Array,
        quantized: Mapping[int, _Unit],
        see: Callable[[int, Any], None] | None = None,
        seen: Collection[int] = (),
    ) -> Array:
        import tensorflow as tf

        values: dict[int, Any] = {id(self.model.inputs[0]): tf.constant(x)}

        def value(given: Any) -> Any:
            return values.get(id(given), given)

        for node in self.nodes:
            if node.is_input:
                continue
            args, kwargs = tf.nest.map_structure(value, (tuple(node.call_args), dict(node.call_kwargs)))
            made = node.layer(*args, **{**kwargs, **({"training": False} if node.layer._expects_training_arg else {})})
            if id(node) in quantized:
                unit = quantized[id(node)]
                made = (_int8_output if self.codes == "int8" else _int16_output)(made, unit.low, unit.high)
            if see is not None and id(node) in seen:
                see(id(node), made)
            for tensor, result in zip(tf.nest.flatten(node.outputs), tf.nest.flatten(made), strict=True):
                values[id(tensor)] = result
        answers: Array = values[id(self.model.outputs[0])].numpy()
        return answers


def analyse(
    model: Any,
    representative: Array,
    x: Array,
    classes: Array,
    activations: str = "int8",
    quantizers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Quantize each layer alone, and all but each.

    Args:    model: a flat tf_keras classifier. representative, x: float32 [samples, ...]. classes: int64 [samples].
             activations: int8 or int16. quantizers: layers (patterns) and weights (bits, per_channel, narrow_range, or
             None), of which the last counts.
    Returns: samples, float_correct, quantized_correct, sqnr_db (all layers quantized), reason ("" or why nothing was
             done), and layers, the most sensitive first: layer, merged (names of all that are one with it), kinds,
             sqnr_db, weights_sqnr_db, output_sqnr_db, lost (right answers lost when only it is quantized), regained
             (won back when only it is float), low, high, weights_bits (None without weights), suggestion.
             An SQNR is that of the model's answers, signal to error, in dB; null without any error.
    """
    network = _Network(model, activations)
    macs = sum(unit.macs for unit in network.units)
    passes = 4 * len(network.units) + 2
    affordable = int(BUDGET_MACS / (passes * max(macs, 1.0)))
    reason = ""
    if affordable < MIN_SAMPLES:
        reason = f"{len(network.units)} layers with {macs:,.0f} MACs take too long to be quantized one by one"
    if keras_models.sequence_batch(model) is not None:
        reason = "the model may keep state, and takes one sample after another"
    if reason:
        none = {"samples": 0, "float_correct": 0, "quantized_correct": 0, "sqnr_db": None}
        return {**none, "reason": reason, "layers": []}
    for unit in network.units:
        unit.weights = _asked(unit, quantizers)
    x, classes = x[: min(MAX_SAMPLES, affordable)], classes[: min(MAX_SAMPLES, affordable)]
    network.calibrate(representative[: len(x)])
    truth, every = network.run(x), network.units

    def right(answers: Array) -> int:
        return int((answers.argmax(axis=1) == classes).sum())

    whole = network.run(x, every, every)
    layers = []
    for unit in every:
        alone = network.run(x, [unit], [unit])
        others = [other for other in every if other is not unit]
        spared = network.run(x, others, others)
        weights_db = _sqnr_db(truth, network.run(x, [unit], [])) if unit.kernel is not None else None
        output_db = _sqnr_db(truth, network.run(x, [], [unit]))
        layers.append(
            {
                "layer": unit.name,
                "merged": unit.merged,
                "kinds": unit.kinds,
                "sqnr_db": _sqnr_db(truth, alone),
                "weights_sqnr_db": weights_db,
                "output_sqnr_db": output_db,
                "lost": right(truth) - right(alone),
                "regained": right(spared) - right(whole),
                "low": unit.low,
                "high": unit.high,
                "weights_bits": None if unit.kernel is None else unit.weights.bits,
            }
        )
    layers.sort(key=lambda layer: math.inf if layer["sqnr_db"] is None else layer["sqnr_db"])
    return {
        "samples": len(x),
        "float_correct": right(truth),
        "quantized_correct": right(whole),
        "sqnr_db": _sqnr_db(truth, whole),
        "reason": "",
        "layers": [{**layer, "suggestion": _suggestion(layer, activations)} for layer in layers],
    }


def ranges(model: Any, representative: Array, x: Array, activations: str = "int8") -> list[dict[str, Any]]:
    """What calibration sees of each layer's output, and what the test set has beyond it.

    Args:    model: a flat tf_keras model. representative, x: float32 [samples, ...]. activations: int8 or int16.
    Returns: in the model's order: layer, low, high (over the representative samples), test_low, test_high, and clipped,
             the fraction of the test set's values beyond the range of codes by more than a 255th of it; usual is that
             fraction of the representative samples, 0 here.
    """
    network = _Network(model, activations)
    units = {id(unit): unit for unit in network.units}
    affordable = max(MIN_SAMPLES, int(BUDGET_MACS / max(sum(unit.macs for unit in network.units), 1.0)))
    learned, tested = ({key: Seen() for key in units} for _ in range(2))

    def learn(unit: _Unit, made: Any) -> None:
        learned[id(unit)].widen(made.numpy())

    def test(unit: _Unit, made: Any) -> None:
        known = learned[id(unit)]
        low, high = min(known.low, 0.0), max(known.high, 0.0)  # there is a code for 0
        if activations == "int16":
            low, high = min(low, -high), max(high, -low)
        tested[id(unit)].widen(made.numpy(), low, high)

    network.observe(representative, learn)
    network.observe(x[:affordable], test)
    return [tested[key].against(unit.name, learned[key].low, learned[key].high) for key, unit in units.items()]


def _suggestion(layer: Mapping[str, Any], activations: str) -> str:
    """What to try for a layer that quantization costs something; "" for a harmless one."""
    if layer["sqnr_db"] is None or layer["sqnr_db"] >= HARMLESS_DB:
        return ""
    weights, output = layer["weights_sqnr_db"], layer["output_sqnr_db"]
    wide = activations == "int16"
    if weights is not None and (output is None or weights < output):
        if layer["weights_bits"] < 8:
            return f"its weights of {layer['weights_bits']} bits lose most: 8 bits, or simulate them in training (qat)"
        where = "method: qat, activations: int8" if wide else "method: qat"
        return f"its weights lose most: train it with int8 simulated ({where})"
    step = max(-layer["low"], layer["high"]) / 32_767 if wide else (layer["high"] - layer["low"]) / 255
    ways = "" if wide else ", qat, activations of int16"
    return (
        f"its output loses most, in steps of {step:.2g} from {layer['low']:.3g} to {layer['high']:.3g}: representative "
        f"data without outliers, a narrower activation (ReLU6){ways}"
    )


def _inputs(node: Any) -> list[Any]:
    return [] if node.is_input else list(node.keras_inputs)


def _asked(unit: _Unit, quantizers: Sequence[Mapping[str, Any]]) -> Weights:
    """What the last of the quantizers asks of a layer's weights, with a recipe's defaults, or calibration's."""
    found = Weights()
    for quantizer in quantizers:
        asked = quantizer["weights"]
        if asked is not None and layer_patterns.matches(unit.layer, quantizer["layers"]):
            per_channel = unit.kinds[0] != "Dense" if asked["per_channel"] is None else asked["per_channel"]
            found = Weights(asked["bits"], per_channel, asked["narrow_range"])
    return found


def _rounded(unit: _Unit) -> Array:
    """A kernel rounded to the codes of its weights, and back; one scale is that behind the merged normalization."""
    kernel, settings = unit.kernel.numpy(), unit.weights
    others = tuple(axis for axis in range(kernel.ndim) if axis not in unit.axes)
    low, high = kernel.min(axis=others, keepdims=True), kernel.max(axis=others, keepdims=True)
    if settings.narrow_range:
        high = np.maximum(-low, high)
        low = -high
    scale = np.maximum(low / settings.lowest, high / settings.highest)
    if not settings.per_channel:
        factor = _merged_factor(unit).reshape(scale.shape)
        scale = (scale * factor).max() / factor
    scale = np.where(scale > 0, scale, 1.0)
    codes = np.clip(np.round(kernel / scale), settings.lowest, settings.highest)
    rounded: Array = (codes * scale).astype(np.float32)
    return rounded


def _merged_factor(unit: _Unit) -> Array:
    """By how much the merged BatchNormalization multiplies the weights of each channel; more than 0."""
    norm = unit.norm
    if norm is None:
        return np.ones([unit.kernel.shape[axis] for axis in unit.axes], np.float32)
    factor = 1 / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    if norm.gamma is not None:
        factor = np.abs(norm.gamma.numpy()) * factor
    return np.asarray(np.maximum(factor, 1e-6 * factor.max()))


def _int8_output(value: Any, low: float, high: float) -> Any:
    """Rounded to codes -128..127 of a range, which holds 0, and back."""
    import tensorflow as tf

    scale = (high - low) / 255
    if scale <= 0:
        return value
    zero = round(-128 - low / scale)
    return (tf.clip_by_value(tf.round(value / scale) + zero, -128, 127) - zero) * scale


def _int16_output(value: Any, low: float, high: float) -> Any:
    """Rounded to codes of a range as far below 0 as above, and back."""
    import tensorflow as tf

    scale = max(-low, high) / 32_767
    if scale <= 0:
        return value
    return tf.clip_by_value(tf.round(value / scale), -32_768, 32_767) * scale


def _sqnr_db(truth: Array, answers: Array) -> float | None:
    """Signal to quantization noise, in dB; None where there is no noise."""
    noise = float(np.square(truth.astype(np.float64) - answers).sum())
    signal = float(np.square(truth.astype(np.float64)).sum())
    return None if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)
