"""The random cases notice a wrong kernel: each mutant is the real source with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.kernels.batch import HOST, Case, build, differing, run, sources, tflm_outputs
from tests.kernels.test_activations_s8 import activation_case
from tests.kernels.test_batch_matmul_s8 import batch_matmul_case
from tests.kernels.test_conv_2d_s8 import conv_2d_case
from tests.kernels.test_copies import CASES as COPIES
from tests.kernels.test_depthwise_conv_2d_s8 import depthwise_conv_2d_case
from tests.kernels.test_elementwise_s8 import MORE_OPS, elementwise_case
from tests.kernels.test_fully_connected_s8 import fully_connected_case, long_sum_case
from tests.kernels.test_multipliers import cancelling_sum_case
from tests.kernels.test_mve import wide_conv_2d_case
from tests.kernels.test_pool_2d_s8 import pool_2d_case
from tests.kernels.test_reduce_s8 import CASES as REDUCTIONS
from tests.kernels.test_reduce_s8 import reduce_case
from tests.kernels.test_resize_s8 import resize_case
from tests.kernels.test_softmax_s8 import softmax_case
from tests.kernels.test_stateful import lstm_case, svdf_case
from tests.kernels.test_transpose_conv_s8 import transpose_conv_case

CASE_COUNT = 40  # as a default run has, or a few more; a full run has more

CASES: dict[str, Callable[[int], Case]] = {
    "CONV_2D": conv_2d_case,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d_case,
    "DEPTHWISE_CONV_2D wide": partial(depthwise_conv_2d_case, many=True),
    "FULLY_CONNECTED": fully_connected_case,
    "MEAN": lambda number: reduce_case("MEAN", number),
    "AVERAGE_POOL_2D": lambda number: pool_2d_case("AVERAGE_POOL_2D", number),
    "MAX_POOL_2D": lambda number: pool_2d_case("MAX_POOL_2D", number),
    "TRANSPOSE_CONV": transpose_conv_case,
    "RESIZE_BILINEAR": lambda number: resize_case("RESIZE_BILINEAR", number),
    "BATCH_MATMUL": batch_matmul_case,
    "SOFTMAX table": partial(softmax_case, rows=24),
    "SVDF": svdf_case,
    "LSTM": lstm_case,
    "CONV_2D wide": wide_conv_2d_case,
    "CONV_2D int4": partial(conv_2d_case, int4=True),
    "CONV_2D int16": partial(conv_2d_case, dtype="int16"),
    "DEPTHWISE_CONV_2D int16": partial(depthwise_conv_2d_case, dtype="int16"),
    "FULLY_CONNECTED int16": long_sum_case,
    "ADD, SUB": cancelling_sum_case,
    "SUB int16": partial(elementwise_case, "SUB", dtype="int16"),
    "TANH": lambda number: activation_case("TANH", number),
    **{op: partial(elementwise_case, op) for op in MORE_OPS},
    **{op: partial(case, op) for op, case in (COPIES | REDUCTIONS).items()},
}

# Newer TFLite kernels round once, on the full product; some others break ties upward.
_TWICE = "return (((product + (product >> 31)) >> (-1 - shift)) + 1) >> 1;"
_ONCE = "return (int32_t)(((int64_t)value * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift)) + 0 * product;"
_TIES_UPWARD = ("(product + (product >> 31))", "product")

# op, file, what it says, what the mutant says
MUTANTS = [
    ("CONV_2D", "requant.h", _TWICE, _ONCE),
    ("DEPTHWISE_CONV_2D", "requant.h", _TWICE, _ONCE),
    ("FULLY_CONNECTED", "requant.h", _TWICE, _ONCE),
    ("MEAN", "requant.h", _TWICE, _ONCE),
    ("CONV_2D", "requant.h", *_TIES_UPWARD),
    ("MEAN", "requant.h", *_TIES_UPWARD),
    ("CONV_2D", "conv_2d_body.h", ".size = p->filter_height", ".size = p->filter_width"),
    ("CONV_2D", "filters_body.h", "end += run & 3", "end += run & 1"),
    ("CONV_2D", "filters_body.h", "f->per_channel != 0 ? -1 : 0", "0"),
    ("CONV_2D", "conv_2d_body.h", "group += p->filter_channels", "group += 0"),
    ("CONV_2D", "conv_2d_body.h", "p->dilation_width == 1 && ", ""),
    ("CONV_2D", "window.h", "dilation - 1 - origin", "-origin"),
    ("CONV_2D", "window.h", "end < taps ? end", "end > taps ? end"),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_body.h", "y * p->stride_height", "y * p->stride_width"),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_s8_body.h", "(p)->bias + (o)", "(p)->bias"),
    ("FULLY_CONNECTED", "fully_connected_body.h", "p->activation_max", "127"),
    ("FULLY_CONNECTED", "filters_body.h", "begin * f->size", "0"),
    ("AVERAGE_POOL_2D", "average_pool_2d_s8.c", "(acc) - (count) / 2", "(acc) + (count) / 2"),
    ("AVERAGE_POOL_2D", "pool_2d_body.h", "inside.rows * inside.columns", "p->filter_height * inside.columns"),
    ("MAX_POOL_2D", "max_pool_2d_s8.c", "START INT8_MIN", "START 0"),
    ("MAX_POOL_2D", "pool_2d_body.h", "c + 1 : c + 4", "c + 2 : c + 4"),
    ("MEAN", "mean_body.h", "i * p->run_stride", "i"),
    ("MEAN", "mean_body.h", "k, p->kept_sizes, p->kept_strides", "0, p->kept_sizes, p->kept_strides"),
    ("TRANSPOSE_CONV", "transpose_conv_s8.c", "(t.input - (size - 1)) * stride", "stride"),
    ("TRANSPOSE_CONV", "transpose_conv_s8.c", ".run_input_step = -depth", ".run_input_step = 0"),
    ("TRANSPOSE_CONV", "transpose_conv_s8.c", "filter <= position ? filter : position + 1", "filter"),
    ("RESIZE_BILINEAR", "resize_bilinear_s8.c", "sum > 0 ? half : -half", "half"),
    ("RESIZE_BILINEAR", "resize_bilinear_s8.c", "(at + 1023) / 1024", "at / 1024 + 1"),
    ("BATCH_MATMUL", "batch_matmul_s8.c", "r * p->left_row", "r * p->depth"),
    ("BATCH_MATMUL", "batch_matmul_s8.c", "row_sum * p->right_offset", "row_sum"),
    ("SOFTMAX table", "softmax_s8_table.c", "exps[-difference]", "exps[-difference / 2]"),
    ("SOFTMAX table", "softmax_s8_body.h", "exponent <= 31", "exponent <= 30"),
    ("SVDF", "svdf_s8.c", "state[m] * times[m]", "state[m] * times[0]"),
    ("SVDF", "svdf_s8.c", "sizeof(int16_t) * ((size_t)p->memory - 1u)", "(size_t)p->memory - 1u"),
    ("LSTM", "unidirectional_sequence_lstm_s8.c", "memcpy(hidden, now, (size_t)p->units)", "(void)now"),
    ("LSTM", "unidirectional_sequence_lstm_s8.c", "-p->cell_clip", "INT16_MIN"),
    ("LSTM", "sigmoid_s16.h", "table[at + 1u] - table[at]", "0"),
    ("TANH", "lookup_s8.c", "p->table + 128", "p->table + 127"),
    ("MINIMUM", "maximum_minimum_s8.c", "p->maximum != 0", "p->maximum == 0"),
    ("PRELU", "prelu_s8.c", "slope + p->offset2", "slope"),
    ("SQUARED_DIFFERENCE", "squared_difference_s8.c", "(x - y) * (x - y)", "(x - y) * (x + y)"),
    ("L2_NORMALIZATION", "inverse_sqrt.h", "i < 5", "i < 4"),
    ("REDUCE_MAX", "reduce_max_s8.c", "largest = INT8_MIN", "largest = 0"),
    ("ARG_MAX", "arg_max_s8.c", "] > input[", "] >= input["),
    ("TRANSPOSE", "strided_copy.c", "l * p->strides[3]", "l"),
    ("BATCH_TO_SPACE_ND", "batch_to_space_nd.c", "y / p->block_height", "(y - p->top) / p->block_height"),
    ("SPLIT_V", "split.c", "(size_t)row * bytes", "(size_t)row"),
    ("GATHER", "gather.c", "positions += p->positions", "positions += 0"),
    ("CAST", "cast.c", "value != 0", "(uint8_t)value"),
    ("CONV_2D int16", "requant.h", "(14 - shift)) + 1", "(14 - shift)) + 0"),
    ("CONV_2D int16", "dot_s16.h", "rounds_twice != 0", "rounds_twice == 0"),
    ("FULLY_CONNECTED int16", "dot_s16.h", "count < 508 ? count : 508", "count"),
    ("DEPTHWISE_CONV_2D int16", "depthwise_conv_2d_s16.c", "+ (int64_t)sums[k]", "+ sums[k] / 2 * 2"),
    ("SUB int16", "add_sub_s16.c", "p->subtract != 0", "p->subtract == 0"),
    ("CONV_2D int16", "dot_s16.h", "end += some & 3", "end += some & 1"),
    ("MAX_POOL_2D", "pool_2d_body.h", "acc2, input[2]", "acc2, input[1]"),
    ("ADD, SUB", "add_s8.c", "fine_low + low_offset", "fine_low + low_offset - 1024"),
    ("ADD, SUB", "add_s8.c", "(product + (product >> 31))", "product"),
    ("ADD, SUB", "add_s8.c", "scaled * fine_factor", "scaled * (fine_factor * fine_factor)"),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_s8_body.h", "(o + k) & mask", "o & mask"),
    ("DEPTHWISE_CONV_2D wide", "depthwise_conv_2d_body.h", "input[3 * next]", "input[3]"),
    ("DEPTHWISE_CONV_2D", "depthwise_conv_2d_body.h", "in += 1 - next", "in += 0"),
    ("CONV_2D", "conv_2d_body.h", "dense ? 1 : rows", "1"),
    ("CONV_2D", "conv_2d_body.h", ".runs = dense ? rows", ".runs = dense ? 1"),
    ("CONV_2D", "filters_body.h", "w += 4 * f->size", "w += f->size"),
    ("CONV_2D wide", "filters_body.h", "if (offset == 0)", "if (offset >= 0)"),
    ("CONV_2D int4", "filters_body.h", "((size) & 1) == 0 ?", "1 ?"),
    ("CONV_2D int4", "filters_body.h", "(w & 1) != 0", "0"),
    ("CONV_2D int4", "weights.h", "return pair >> 4", "return pair >> 4 & 15"),
]  # fmt: skip


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[list[tuple[bytes, ...]]]]:
    known: dict[str, list[list[tuple[bytes, ...]]]] = {}

    def answers(op: str) -> list[list[tuple[bytes, ...]]]:
        if op not in known:
            cases = [CASES[op](number) for number in range(CASE_COUNT)]
            known[op] = tflm_outputs(cases, tmp_path_factory.mktemp(op))
        return known[op]

    return answers


@pytest.mark.golden
@pytest.mark.parametrize(
    ("op", "file", "right", "wrong"),
    [
        pytest.param(
            *mutant, id=f"{mutant[0]}-{number}", marks=[] if number in (0, 2, 3, 7, 16) else [pytest.mark.slow]
        )
        for number, mutant in enumerate(MUTANTS)
    ],
)
def test_a_wrong_kernel_is_noticed(
    op: str,
    file: str,
    right: str,
    wrong: str,
    golden: Callable[[str], list[list[tuple[bytes, ...]]]],
    tmp_path: Path,
) -> None:
    cases = [CASES[op](number) for number in range(CASE_COUNT)]
    files = sources(cases)
    path = f"kernels/{file}"
    assert files[path].count(right.encode()) == 1, f"{path} no longer says {right}"
    files[path] = files[path].replace(right.encode(), wrong.encode())
    program = build(files, HOST, tmp_path)
    try:
        actual = run(program, cases, HOST, tmp_path)
    except AssertionError as error:
        # A sanitizer or a guard stopped it before its bytes could be compared.
        assert "ERROR: AddressSanitizer" in str(error) or "runtime error" in str(error) or "wrote b" in str(error)
        return
    assert differing(cases, golden(op), actual)
