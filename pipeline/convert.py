"""Full-integer conversion: a Keras model in memory becomes an int8 .tflite file, and is proved to be one.

The converter says nothing when it leaves float ops in a model, or all of it float (no representative samples, NaN
among them, ops without an int8 form, layers that quantization-aware training got wrong). So every tensor of what it
wrote is looked at. Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import tflite
from pipeline.audit import require_int8
from pipeline.errors import DataError, ModelError
from pipeline.model import Array


def to_int8(model: Any, representative: Array, path: Path) -> tflite.Graph:
    """Convert a tf_keras model; int8 inputs, outputs, activations and weights. Equal bytes for equal models.

    Args:    model: float, or prepared by tensorflow-model-optimization's quantize_model.
             representative: float32 [samples, ...], as the model is fed.
    Raises:  DataError: no representative samples, or NaN among them.
             ModelError: it cannot be converted, or what came out is not int8 throughout.
    """
    import tensorflow as tf

    if len(representative) == 0 or not np.isfinite(representative).all():
        raise DataError("the representative data is empty or not finite; the converter would write a float model.")

    def samples() -> Iterator[list[Array]]:
        for sample in representative:
            yield [sample[np.newaxis].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    try:
        content = converter.convert()
    except OSError:
        raise
    except Exception as error:  # the converter raises whatever its parts do
        words = " ".join(str(error).split())[:400] or type(error).__name__
        raise ModelError(
            f"TensorFlow cannot convert the model to int8: {words}",
            hint="replace the layer it names by one that TensorFlow Lite has an int8 op for.",
        ) from error
    path.write_bytes(content)
    graph = tflite.parse(content, Path(path.name))  # the folder is a temporary one
    try:
        require_int8(graph)
    except ModelError as error:
        names = sorted({op.name for op in graph.ops if _is_float(graph, op)} - {"QUANTIZE", "DEQUANTIZE"})
        ops = f" ({', '.join(names)} stayed float)" if names else ""
        raise type(error)(f"the converter's result is not int8{ops}: {error.message}", hint=_LEFT_FLOAT) from error
    for index in (*graph.inputs, *graph.outputs):
        if graph.tensor(index).dtype != "int8":
            raise ModelError(f"{path}: {graph.tensor(index).name} is {graph.tensor(index).dtype}, int8 was asked for.")
    return graph


_LEFT_FLOAT = (
    "the layer it names has no int8 form, or could not be prepared: put BatchNormalization right after a convolution "
    "that has no activation of its own, activations like swish in a layer of their own, and none after Dense."
)


def _is_float(graph: tflite.Graph, op: tflite.Op) -> bool:
    return any(i >= 0 and graph.tensor(i).dtype.startswith("float") for i in (*op.inputs, *op.outputs))
