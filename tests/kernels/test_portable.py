"""Every portable kernel against TFLM, byte for byte, on 1,000 layers of each op that has it, on a Cortex-M3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.aot import PORTABLE
from pipeline.aot.ops import LOWERINGS
from tests.kernels import test_copies, test_dsp, test_mve
from tests.kernels.batch import CORTEX_M3, FIRMWARE, Case, cases_with, check_many
from tests.kernels.test_activations_s8 import LOOKUPS, activation_case, wide_activation_case
from tests.kernels.test_batch_matmul_s8 import batch_matmul_case
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_data_movement import concatenation_case, pad_case
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case
from tests.kernels.test_quantize import RESCALES, dequantize_case, quantize_case
from tests.kernels.test_reduce_s8 import arg_max_case, l2_normalization_case, reduce_case
from tests.kernels.test_resize_s8 import resize_case
from tests.kernels.test_softmax_s8 import softmax_case, wide_softmax_case
from tests.kernels.test_stateful import lstm_case, svdf_case, variable_case
from tests.kernels.test_transpose_conv_s8 import transpose_conv_case

WEIGHTED: dict[str, Callable[..., Case]] = {
    "CONV_2D": conv_2d_case,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d_case,
    "FULLY_CONNECTED": fully_connected_case,
}
COPIES = {
    "BATCH_TO_SPACE_ND": "batch_to_space_nd",
    "CAST": "cast",
    "GATHER": "gather",
    "PACK": "concatenation",
    "SPLIT": "split",
    "SPLIT_V": "split",
    "UNPACK": "split",
}

# op, its kernel, a layer of it by number
CASES: list[tuple[str, str, Callable[[int], Case]]] = [
    ("ADD", "add_s8", partial(elementwise_case, "ADD")),
    ("ARG_MAX", "arg_max_s8", partial(arg_max_case, "ARG_MAX")),
    ("AVERAGE_POOL_2D", "average_pool_2d_s8", partial(pool_2d_case, "AVERAGE_POOL_2D")),
    ("BATCH_MATMUL", "batch_matmul_s8", batch_matmul_case),
    ("CONCATENATION", "concatenation", concatenation_case),
    ("CONV_2D", "conv_2d_s8", lambda number: (conv_2d_case, test_mve.wide_conv_2d_case)[number % 2](number // 2)),
    ("CONV_2D", "conv_2d_s8_w4", partial(conv_2d_case, int4=True)),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_s8", depthwise_conv_2d_case),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_s8_w4", partial(depthwise_conv_2d_case, int4=True)),
    *(("DEQUANTIZE", f"dequantize_{dtype}", dequantize_case) for dtype in ("s16", "s8", "u8")),
    ("FULLY_CONNECTED", "fully_connected_s8", fully_connected_case),
    ("FULLY_CONNECTED", "fully_connected_s8_w4", partial(fully_connected_case, int4=True)),
    *((op, f"{op.lower()}_s16", partial(case, dtype="int16")) for op, case in WEIGHTED.items()),
    ("L2_NORMALIZATION", "l2_normalization_s8", partial(l2_normalization_case, "L2_NORMALIZATION")),
    ("MAXIMUM", "maximum_minimum_s8", partial(elementwise_case, "MAXIMUM")),
    ("MAX_POOL_2D", "max_pool_2d_s8", partial(pool_2d_case, "MAX_POOL_2D")),
    ("MEAN", "mean_s8", partial(reduce_case, "MEAN")),
    ("MINIMUM", "maximum_minimum_s8", partial(elementwise_case, "MINIMUM")),
    ("MUL", "mul_s8", partial(elementwise_case, "MUL")),
    ("PAD", "pad_s8", partial(pad_case, "PAD")),
    ("PADV2", "pad_s8", partial(pad_case, "PADV2")),
    ("PRELU", "prelu_s8", partial(elementwise_case, "PRELU")),
    ("QUANTIZE", "quantize_f32_s16", partial(quantize_case, "float32", "int16")),
    ("QUANTIZE", "quantize_f32_s8", partial(quantize_case, "float32", "int8")),
    ("QUANTIZE", "quantize_rescale", lambda number: quantize_case(*RESCALES[number % len(RESCALES)], number)),
    ("READ_VARIABLE", "copy", variable_case),  # and ASSIGN_VARIABLE
    ("REDUCE_MAX", "reduce_max_s8", partial(reduce_case, "REDUCE_MAX")),
    ("RELU", "relu_s8", partial(activation_case, "RELU")),
    ("RELU6", "relu6_s8", partial(activation_case, "RELU6")),
    ("RESIZE_BILINEAR", "resize_bilinear_s8", partial(resize_case, "RESIZE_BILINEAR")),
    (
        "RESIZE_NEAREST_NEIGHBOR",
        "resize_nearest_neighbor_s8",
        partial(resize_case, "RESIZE_NEAREST_NEIGHBOR"),
    ),
    ("SOFTMAX", "softmax_s16", wide_softmax_case),
    ("ADD", "add_sub_s16", partial(elementwise_case, "ADD", dtype="int16")),
    ("SUB", "add_sub_s16", partial(elementwise_case, "SUB", dtype="int16")),
    ("MUL", "mul_s16", partial(elementwise_case, "MUL", dtype="int16")),
    ("MAXIMUM", "maximum_minimum_s16", partial(elementwise_case, "MAXIMUM", dtype="int16")),
    ("MINIMUM", "maximum_minimum_s16", partial(elementwise_case, "MINIMUM", dtype="int16")),
    ("AVERAGE_POOL_2D", "average_pool_2d_s16", partial(pool_2d_case, "AVERAGE_POOL_2D", dtype="int16")),
    ("MAX_POOL_2D", "max_pool_2d_s16", partial(pool_2d_case, "MAX_POOL_2D", dtype="int16")),
    ("MEAN", "mean_s16", partial(reduce_case, "MEAN", dtype="int16")),
    ("SUM", "mean_s16", partial(reduce_case, "SUM", dtype="int16")),
    ("PAD", "pad_s16", partial(pad_case, "PAD", dtype="int16")),
    ("PADV2", "pad_s16", partial(pad_case, "PADV2", dtype="int16")),
    *((op, "rectify_s16", partial(wide_activation_case, op)) for op in ("RELU", "RELU6", "LEAKY_RELU")),
    *((op, "logistic_tanh_s16", partial(wide_activation_case, op)) for op in ("LOGISTIC", "TANH")),
    ("SOFTMAX", "softmax_s8", softmax_case),
    ("SOFTMAX", "softmax_s8_table", partial(softmax_case, rows=24)),
    ("SQUARED_DIFFERENCE", "squared_difference_s8", partial(elementwise_case, "SQUARED_DIFFERENCE")),
    ("SUB", "add_s8", partial(elementwise_case, "SUB")),
    ("SUM", "mean_s8", partial(reduce_case, "SUM")),
    ("SVDF", "svdf_s8", svdf_case),
    ("TRANSPOSE_CONV", "transpose_conv_s8", transpose_conv_case),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "unidirectional_sequence_lstm_s8", lstm_case),
    *((op, "lookup_s8", partial(activation_case, op)) for op in LOOKUPS),
    *((op, COPIES.get(op, "strided_copy"), partial(case, op)) for op, case in test_copies.CASES.items()),
]


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize(("op", "kernel", "case"), [pytest.param(*row, id="-".join(row[:2])) for row in CASES])
def test_a_portable_kernel_gives_the_bytes_of_tflm(
    op: str, kernel: str, case: Callable[[int], Case], tmp_path: Path
) -> None:
    check_many(cases_with(kernel, [case], PORTABLE, 1000), CORTEX_M3, tmp_path, at_once=500)


def test_every_kernel_and_op_is_tested_on_a_thousand_layers() -> None:
    tested = {kernel for _, kernel, _ in CASES} | set(test_dsp.CASES) | set(test_mve.CASES)
    kernels = {path.stem for path in (FIRMWARE / "kernels").glob("*.c")}
    assert kernels - tested == {"preprocess_affine", "preprocess_table", "filters_s8", "filters_s8_w4"}  # no ops
    nothing_to_run = {"CALL_ONCE", "EXPAND_DIMS", "RESHAPE", "SQUEEZE", "VAR_HANDLE"}
    assert {op for op, _, _ in CASES} == set(LOWERINGS) - nothing_to_run - {"ASSIGN_VARIABLE", "NEG"}
