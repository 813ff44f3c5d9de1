"""Quantizers: how the weights of a layer, and what it gives, are rounded in training, as the converter can carry it.

They take the place of tensorflow-model-optimization's in its wrappers, and differ in what its own get wrong: ranges
start from representative samples and not from -6..6, a DepthwiseConv2D has a scale for each channel, and one scale for
all channels is one behind the batch normalization that is merged into the weights. Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Weights:
    """Symmetric codes of `bits` bits around 0.

    narrow_range: -127..127 (-7..7 with 4 bits), and otherwise -128..127 (-8..7).
    """

    bits: int = 8
    per_channel: bool = True
    narrow_range: bool = True

    @property
    def lowest(self) -> int:
        return -self.highest if self.narrow_range else -self.highest - 1

    @property
    def highest(self) -> int:
        return int(2 ** (self.bits - 1)) - 1


@dataclass(frozen=True)
class Activations:
    """int8 codes -128..127 of a range that holds 0, which is learnt batch by batch.

    range: "min_max" of all values seen; "moving_average" of the batches' min and max, the old one weighted by `decay`;
    "percentile": a moving average, too, of what `percentile` percent of a batch's values are below, or above.
    symmetric: 0 is code 0.
    """

    range: str = "moving_average"
    decay: float = 0.99
    percentile: float = 99.9
    symmetric: bool = False


@dataclass(eq=False)
class Phase:
    """What all quantizers of a model do at the moment.

    calibrating: they learn from forward passes outside of training. frozen: ranges of activations no longer move.
    """

    calibrating: bool = False
    frozen: bool = False


class WeightQuantizer:
    """Rounds a kernel; the scale follows the weights.

    The kernel is [.., channels], or [height, width, channels, multiplier] of a DepthwiseConv2D. merged_scale gives the
    factor of each channel, by which a batch normalization multiplies it: with one scale for all channels it is the
    product that has one.
    """

    def __init__(
        self, settings: Weights, phase: Phase, depthwise: bool, merged_scale: Callable[[], Any] | None
    ) -> None:
        self.settings = settings
        self._phase, self._depthwise, self._merged_scale = phase, depthwise, merged_scale

    def build(self, shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The variables min_var and max_var, float32 [channels]."""
        import tf_keras

        channels = int(shape[-2] * shape[-1]) if self._depthwise else int(shape[-1])
        zeros = tf_keras.initializers.Zeros()
        return {
            key: layer.add_weight(name=f"{name}_{key}", shape=(channels,), initializer=zeros, trainable=False)
            for key in ("min_var", "max_var")
        }

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **_: Any) -> Any:
        """The kernel as it is with codes, float32."""
        import tensorflow as tf

        settings = self.settings
        flat = tf.reshape(inputs, [*inputs.shape[:2], -1]) if self._depthwise else inputs
        low, high = weights["min_var"], weights["max_var"]
        if training or self._phase.calibrating:
            scale = self._scale(flat)
            low, high = low.assign(settings.lowest * scale), high.assign(settings.highest * scale)
        if self._is_plain_tensor(flat):
            rounded = tf.quantization.fake_quant_with_min_max_vars(
                flat, low[0], high[0], num_bits=settings.bits, narrow_range=settings.narrow_range
            )
        else:
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                flat, low, high, num_bits=settings.bits, narrow_range=settings.narrow_range
            )
        return tf.reshape(rounded, inputs.shape)

    def scales(self, variables: Mapping[str, Any]) -> Any:
        """The step of each channel, float32 [channels]."""
        return variables["max_var"].numpy() / self.settings.highest

    def _is_plain_tensor(self, flat: Any) -> bool:
        """Whether the op for one range is needed: the converter carries it for a matrix, and only there."""
        return len(flat.shape) == 2 and not self.settings.per_channel

    def _scale(self, flat: Any) -> Any:
        import tensorflow as tf

        settings, axes = self.settings, list(range(len(flat.shape) - 1))
        if settings.narrow_range:
            scale = tf.reduce_max(tf.abs(flat), axes) / settings.highest
        else:
            scale = tf.maximum(
                tf.reduce_min(flat, axes) / settings.lowest, tf.reduce_max(flat, axes) / settings.highest
            )
        if settings.per_channel:
            return scale
        factor = tf.ones_like(scale) if self._merged_scale is None else tf.abs(self._merged_scale())
        factor = tf.maximum(factor, 1e-6 * tf.reduce_max(factor))
        return tf.reduce_max(scale * factor) / factor


class RangeQuantizer:
    """Rounds what a layer gives, in the range learnt so far; takes over the variables of the quantizer it replaces."""

    def __init__(self, settings: Activations, phase: Phase) -> None:
        self.settings = settings
        self.see: Callable[[Any], None] | None = None  # shown what is to be rounded, outside of graphs
        self._phase = phase
        self._calibrated = 0  # batches

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **_: Any) -> Any:
        import tensorflow as tf

        low, high = weights["min_var"], weights["max_var"]
        if self.see is not None:
            self.see(inputs)
        if self._phase.calibrating or (training and not self._phase.frozen):
            seen_low, seen_high = self._seen(inputs)
            low, high = (
                low.assign(self._moved(low, seen_low, tf.minimum)),
                high.assign(self._moved(high, seen_high, tf.maximum)),
            )
            self._calibrated += self._phase.calibrating
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8, narrow_range=False)

    def _moved(self, old: Any, seen: Any, extreme: Callable[[Any, Any], Any]) -> Any:
        """The end of the range after another batch. In calibration the first batches count alike."""
        if self._phase.calibrating and self._calibrated == 0:
            return seen
        if self.settings.range == "min_max":
            return extreme(old, seen)
        decay = self.settings.decay
        if self._phase.calibrating:
            decay = min(decay, self._calibrated / (self._calibrated + 1))
        return decay * old + (1 - decay) * seen

    def _seen(self, inputs: Any) -> tuple[Any, Any]:
        """The range of a batch."""
        import tensorflow as tf

        flat = tf.reshape(inputs, [-1])
        if self.settings.range == "percentile":
            beyond = tf.cast(tf.size(flat), tf.float32) * (1 - self.settings.percentile / 100)
            count = tf.maximum(tf.cast(tf.round(beyond), tf.int32), 0) + 1
            high, low = tf.math.top_k(flat, count).values[-1], -tf.math.top_k(-flat, count).values[-1]
        else:
            high, low = tf.reduce_max(flat), tf.reduce_min(flat)
        if not self.settings.symmetric:
            return tf.minimum(low, 0.0), tf.maximum(high, 0.0)
        largest = tf.maximum(high, low * (-127 / 128))
        return largest * (-128 / 127), largest
