"""Lowerings: one module an op family, each a function `(graph, op, core) -> Step`."""

from __future__ import annotations

from pipeline.aot.ops.arg_max import lower_arg_max
from pipeline.aot.ops.batch_matmul import lower_batch_matmul
from pipeline.aot.ops.cast import lower_cast
from pipeline.aot.ops.concatenation import lower_concatenation, lower_pack
from pipeline.aot.ops.conv_2d import lower_conv_2d
from pipeline.aot.ops.depthwise_conv_2d import lower_depthwise_conv_2d
from pipeline.aot.ops.elementwise import (
    lower_add,
    lower_maximum,
    lower_minimum,
    lower_mul,
    lower_prelu,
    lower_squared_difference,
    lower_sub,
)
from pipeline.aot.ops.fully_connected import lower_fully_connected
from pipeline.aot.ops.gather import lower_gather
from pipeline.aot.ops.l2_normalization import lower_l2_normalization
from pipeline.aot.ops.lookup import (
    lower_abs,
    lower_elu,
    lower_hard_swish,
    lower_leaky_relu,
    lower_logistic,
    lower_neg,
    lower_rsqrt,
    lower_tanh,
)
from pipeline.aot.ops.pad import lower_pad
from pipeline.aot.ops.pool import lower_average_pool_2d, lower_max_pool_2d
from pipeline.aot.ops.quantize import lower_dequantize, lower_quantize
from pipeline.aot.ops.reduce import lower_mean, lower_reduce_max, lower_sum
from pipeline.aot.ops.relu import lower_relu, lower_relu6
from pipeline.aot.ops.resize import lower_resize_bilinear, lower_resize_nearest_neighbor
from pipeline.aot.ops.shape import lower_expand_dims, lower_reshape, lower_squeeze
from pipeline.aot.ops.softmax import lower_softmax
from pipeline.aot.ops.space_batch import lower_batch_to_space_nd, lower_space_to_batch_nd
from pipeline.aot.ops.split import lower_split, lower_split_v, lower_unpack
from pipeline.aot.ops.strided_copy import (
    lower_depth_to_space,
    lower_reverse_v2,
    lower_slice,
    lower_space_to_depth,
    lower_strided_slice,
    lower_transpose,
)
from pipeline.aot.ops.svdf import lower_svdf
from pipeline.aot.ops.transpose_conv import lower_transpose_conv
from pipeline.aot.ops.unidirectional_sequence_lstm import lower_unidirectional_sequence_lstm
from pipeline.aot.ops.variables import lower_assign_variable, lower_call_once, lower_read_variable, lower_var_handle
from pipeline.aot.steps import Lowering

LOWERINGS: dict[str, Lowering] = {
    "ABS": lower_abs,
    "ADD": lower_add,
    "ARG_MAX": lower_arg_max,
    "ASSIGN_VARIABLE": lower_assign_variable,
    "AVERAGE_POOL_2D": lower_average_pool_2d,
    "BATCH_MATMUL": lower_batch_matmul,
    "BATCH_TO_SPACE_ND": lower_batch_to_space_nd,
    "CALL_ONCE": lower_call_once,
    "CAST": lower_cast,
    "CONCATENATION": lower_concatenation,
    "CONV_2D": lower_conv_2d,
    "DEPTHWISE_CONV_2D": lower_depthwise_conv_2d,
    "DEPTH_TO_SPACE": lower_depth_to_space,
    "DEQUANTIZE": lower_dequantize,
    "ELU": lower_elu,
    "EXPAND_DIMS": lower_expand_dims,
    "FULLY_CONNECTED": lower_fully_connected,
    "GATHER": lower_gather,
    "HARD_SWISH": lower_hard_swish,
    "L2_NORMALIZATION": lower_l2_normalization,
    "LEAKY_RELU": lower_leaky_relu,
    "LOGISTIC": lower_logistic,
    "MAXIMUM": lower_maximum,
    "MAX_POOL_2D": lower_max_pool_2d,
    "MEAN": lower_mean,
    "MINIMUM": lower_minimum,
    "MUL": lower_mul,
    "NEG": lower_neg,
    "PACK": lower_pack,
    "PAD": lower_pad,
    "PADV2": lower_pad,
    "PRELU": lower_prelu,
    "QUANTIZE": lower_quantize,
    "READ_VARIABLE": lower_read_variable,
    "REDUCE_MAX": lower_reduce_max,
    "RELU": lower_relu,
    "RELU6": lower_relu6,
    "RESHAPE": lower_reshape,
    "RESIZE_BILINEAR": lower_resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": lower_resize_nearest_neighbor,
    "REVERSE_V2": lower_reverse_v2,
    "RSQRT": lower_rsqrt,
    "SLICE": lower_slice,
    "SOFTMAX": lower_softmax,
    "SPACE_TO_BATCH_ND": lower_space_to_batch_nd,
    "SPACE_TO_DEPTH": lower_space_to_depth,
    "SPLIT": lower_split,
    "SPLIT_V": lower_split_v,
    "SQUARED_DIFFERENCE": lower_squared_difference,
    "SQUEEZE": lower_squeeze,
    "STRIDED_SLICE": lower_strided_slice,
    "SUB": lower_sub,
    "SUM": lower_sum,
    "SVDF": lower_svdf,
    "TANH": lower_tanh,
    "TRANSPOSE": lower_transpose,
    "TRANSPOSE_CONV": lower_transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lower_unidirectional_sequence_lstm,
    "UNPACK": lower_unpack,
    "VAR_HANDLE": lower_var_handle,
}
