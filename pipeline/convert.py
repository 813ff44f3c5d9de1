"""Full-integer conversion: a Keras model in memory becomes an int8 .tflite file, and is proved to be one.

Int8 throughout, or weights of int8 and activations of int16; at the edges, where the recipe says so, QUANTIZE and
DEQUANTIZE from and to uint8 or float32.

The converter says nothing when it leaves float ops in a model, or all of it float (no representative samples, NaN
among them, ops without an int8 form, layers that quantization-aware training got wrong). So every tensor of what it
wrote is looked at. Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import lifetime, tflite
from pipeline.audit import require_int8
from pipeline.errors import DataError, ModelError
from pipeline.model import Array


def to_int8(
    model: Any,
    representative: Array,
    path: Path,
    *,
    activations: str = "int8",
    io: str | None = None,
    per_channel_dense: bool = True,
) -> tflite.Graph:
    """Convert a tf_keras model; weights of int8. Equal bytes for equal models.

    Args:    model: float, or prepared by tensorflow-model-optimization's quantize_model.
             representative: float32 [samples, ...], as the model is fed.
             activations: type of what layers give: int8 or int16.
             io: type of its input and output: that (the default), float32, and with int8 uint8.
             per_channel_dense: a weight scale for each output of FULLY_CONNECTED, or one for all.
    Raises:  DataError: no representative samples, or NaN among them.
             ModelError: it cannot be converted, or what came out is not what was asked for throughout.
    """
    import tensorflow as tf

    io = io or activations
    if len(representative) == 0 or not np.isfinite(representative).all():
        raise DataError("the representative data is empty or not finite; the converter would write a float model.")

    def samples() -> Iterator[list[Array]]:
        for sample in representative:
            yield [sample[np.newaxis].astype(np.float32)]

    try:
        with lifetime.temporary_folder() as saved:
            _save(model, saved)
            converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = samples
            converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, _OPS[activations])]
            converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io)
            converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel_dense
            converter._experimental_variable_quantization = True  # else a layer's state stays float
            content = converter.convert()
    except OSError:
        raise
    except Exception as error:  # the converter raises whatever its parts do
        words = " ".join(str(error).split())[:400] or type(error).__name__
        raise ModelError(
            f"TensorFlow cannot convert the model to {activations}: {words}",
            hint="recurrent layers need a fixed batch: Input(.., batch_size=1)."
            if "TensorListReserve" in str(error)
            else f"replace the layer it names by one that TensorFlow Lite has an {activations} op for.",
        ) from error
    path.write_bytes(content)
    graph = tflite.parse(content, Path(path.name))  # the folder is a temporary one
    try:
        require_int8(graph)
    except ModelError as error:
        names = sorted({op.name for op in graph.ops if _is_float(graph, op)} - {"QUANTIZE", "DEQUANTIZE"})
        ops = f" ({', '.join(names)} stayed float)" if names else ""
        raise type(error)(
            f"the converter's result is not {activations}{ops}: {error.message}", hint=_LEFT_FLOAT
        ) from error
    _require_asked(graph, activations, io, per_channel_dense)
    return graph


def _save(model: Any, folder: Path) -> None:
    """A SavedModel of the one function that is converted. Keras saves several of every layer, for which most of the
    time of a conversion would go: half of it for a convolutional network, nine tenths for a recurrent one.
    """
    import tensorflow as tf

    def serve(*inputs: Any) -> dict[str, Any]:
        return dict(zip(model.output_names, tf.nest.flatten(model(list(inputs), training=False)), strict=True))

    named = zip(model.inputs, model.input_names, strict=True)
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for tensor, name in named]
    module = tf.Module()
    module.parts = list(model.variables)
    tf.saved_model.save(
        module,
        str(folder),
        signatures=tf.function(serve, input_signature=signature).get_concrete_function(),
        options=tf.saved_model.SaveOptions(save_debug_info=True),  # by it an error of the converter names the layer
    )


def _require_asked(graph: tflite.Graph, activations: str, io: str, per_channel_dense: bool) -> None:
    """The converter has to have done what it was told; it has been seen to ignore what it does not know."""
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensor(index)
        if tensor.dtype != io:
            raise ModelError(
                f"{graph.path}: {tensor.name} is {tensor.dtype}, {io} was asked for.",
                hint=f"`convert: {{io: {activations}}}`.",
            )
    for op in graph.ops:
        made = {graph.tensor(index).dtype for index in op.outputs} & set(_OPS) - {activations}
        if made:
            raise ModelError(
                f"{graph.path}: {op.where()} gives {made.pop()}, {activations} was asked for.",
                hint="replace the layer, or leave `activations` out.",
            )
        if op.name == "FULLY_CONNECTED" and not per_channel_dense and graph.tensor(op.inputs[1]).scales.size > 1:
            raise ModelError(
                f"{graph.path}: {op.where()} has a weight scale for each output, one was asked for.",
                hint="the runtime aot computes it right (`convert: {per_channel_dense: true}`).",
            )


_OPS = {"int8": "TFLITE_BUILTINS_INT8", "int16": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"}

_LEFT_FLOAT = (
    "the layer it names has no such form, or could not be prepared: put BatchNormalization right after a convolution "
    "that has no activation of its own, activations like swish in a layer of their own, and none after Dense."
)


def _is_float(graph: tflite.Graph, op: tflite.Op) -> bool:
    return any(i >= 0 and graph.tensor(i).dtype.startswith("float") for i in (*op.inputs, *op.outputs))
