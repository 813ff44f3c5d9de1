"""Writes one int8 .tflite file for each function, as the converter makes it. A process of its own, for TensorFlow.

python converter_worker.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

SHAPE = (1, 4, 4, 4)
SLOPES = tf.constant([0.1, 0.2, 0.3, 0.4])


def layer_norm(x: Any) -> Any:
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 0.01)


FUNCTIONS = {
    "abs": lambda x: tf.abs(x),
    "arg_max": lambda x: tf.argmax(x, -1, output_type=tf.int32),
    "batch_to_space": lambda x: tf.batch_to_space(
        tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), [2, 2], [[0, 0], [1, 0]]
    ),
    "channels_first": lambda x: tf.transpose(x, (0, 3, 1, 2)),
    "depth_to_space": lambda x: tf.nn.depth_to_space(x, 2),
    "gather": lambda x: tf.gather(x, [2, 0], axis=3),
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6.0),
    "l2_normalize": lambda x: tf.math.l2_normalize(x, -1),
    "last_row": lambda x: x[:, -1],
    "layer_norm": layer_norm,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.1),
    "maximum": lambda x: tf.maximum(x, SLOPES),
    "reduce_max": lambda x: tf.reduce_max(x, (1, 2)),
    "reduce_sum": lambda x: tf.reduce_sum(x, (1, 2)),
    "reversed": lambda x: x[:, ::-1],
    "space_to_depth": lambda x: tf.nn.space_to_depth(x, 2),
    "split": lambda x: tf.concat(tf.split(x, 2, 3)[::-1], 3),
    "split_v": lambda x: tf.concat(tf.split(x, [1, 3], 3)[::-1], 3),
    "squared_difference": lambda x: tf.math.squared_difference(x, SLOPES),
    "stack": lambda x: tf.stack([x, tf.nn.relu(x)], 1),
    "strided": lambda x: x[:, 0, ..., 1:],
    "tanh": lambda x: tf.tanh(x),
}


def convert(function: Any) -> bytes:
    random = np.random.default_rng(0)
    traced = tf.function(function, input_signature=[tf.TensorSpec(SHAPE, tf.float32)], autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([random.normal(size=SHAPE).astype(np.float32)] for _ in range(20))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main(folder: Path) -> None:
    for name, function in FUNCTIONS.items():
        (folder / f"{name}.tflite").write_bytes(convert(function))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
