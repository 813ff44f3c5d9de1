/* digits.tflite, compiled by tensorflash. Do not edit.
 * sha256 8bba6d8a1e5a5a8aec4fb23763b8c887084f09af99a2818c0fa9df6afcbd21fc */
#include "digits_model.h"

#include "digits_constants.h"
#include "kernels/add_s8_dsp.h"
#include "kernels/conv_2d_s8_dsp.h"
#include "kernels/depthwise_conv_2d_s8_dsp.h"
#include "kernels/fully_connected_s8_dsp.h"
#include "kernels/mean_s8.h"
#include "kernels/softmax_s8.h"

/* The arena: 1728 bytes; 1728 are in use at once at the least.
 *   offset    bytes  in use by steps
 *     1112       64     0..0    serving_default_image:0
 *        0     1024     0..2    its/quant_stem_bn/FusedBatchNormV3;digits/quant_stem/Conv2D1
 *     1024       88     0..0    scratch_of_op_0
 *     1024      388     1..1    scratch_of_op_1
 *     1024      512     2..7    wise_bn/FusedBatchNormV3;digits/quant_down_pointwise/Conv2D1
 *     1536       96     2..2    scratch_of_op_2
 *        0      512     3..4    /FusedBatchNormV3;digits/quant_residual_depthwise/depthwise1
 *      512      220     3..3    scratch_of_op_3
 *      512      512     4..5    _bn/FusedBatchNormV3;digits/quant_residual_pointwise/Conv2D1
 *     1536      192     4..4    scratch_of_op_4
 *        0      512     5..6    ant_project_bn/FusedBatchNormV3;digits/quant_project/Conv2D1
 *     1536      192     5..5    scratch_of_op_5
 *        0       32     7..8    digits/quant_pool/Mean
 *       32       10     8..9    digits/quant_dense/MatMul;digits/quant_dense/BiasAdd */
static _Alignas(16) uint8_t arena[DIGITS_ARENA_BYTES];

static const struct tflash_conv_2d_s8_dsp_params params_0 = {
    .batches = 1,
    .input_height = 8,
    .input_width = 8,
    .input_channels = 1,
    .output_height = 8,
    .output_width = 8,
    .output_channels = 16,
    .filter_height = 3,
    .filter_width = 3,
    .stride_height = 1,
    .stride_width = 1,
    .pad_top = 1,
    .pad_left = 1,
    .doubled_zero = -41,
    .pad_code = -128,
    .code_base = 7,
    .activation_min = -21,
    .activation_max = 127,
    .weights = digits_0_weights,
    .bias = digits_0_bias,
    .multipliers = digits_0_multipliers,
    .codes = digits_0_codes,
    .scratch = (void *)(arena + 1024),
};

static const struct tflash_depthwise_conv_2d_s8_dsp_params params_1 = {
    .batches = 1,
    .input_channels = 16,
    .depth_multiplier = 1,
    .input_lines = 8,
    .input_positions = 8,
    .output_lines = 4,
    .output_positions = 4,
    .filter_lines = 3,
    .filter_positions = 3,
    .line_stride = 2,
    .position_stride = 2,
    .pad_before_lines = 0,
    .pad_before_positions = 0,
    .plane_lines = 9,
    .plane_positions = 10,
    .doubled_zero = -41,
    .pad_code = -21,
    .code_base = 5,
    .activation_min = -21,
    .activation_max = 127,
    .input_line_step = 128,
    .input_position_step = 16,
    .output_line_step = 64,
    .output_position_step = 16,
    .weights = digits_1_weights,
    .bias = digits_1_bias,
    .multipliers = digits_1_multipliers,
    .codes = digits_1_codes,
    .scratch = (void *)(arena + 1024),
};

static const struct tflash_conv_2d_s8_dsp_params params_2 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 16,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .stride_height = 1,
    .stride_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .doubled_zero = -53,
    .pad_code = -21,
    .code_base = 5,
    .activation_min = -27,
    .activation_max = 127,
    .weights = digits_2_weights,
    .bias = digits_2_bias,
    .multipliers = digits_2_multipliers,
    .codes = digits_2_codes,
    .scratch = (void *)(arena + 1536),
};

static const struct tflash_depthwise_conv_2d_s8_dsp_params params_3 = {
    .batches = 1,
    .input_channels = 32,
    .depth_multiplier = 1,
    .input_lines = 4,
    .input_positions = 4,
    .output_lines = 4,
    .output_positions = 4,
    .filter_lines = 3,
    .filter_positions = 3,
    .line_stride = 1,
    .position_stride = 1,
    .pad_before_lines = 1,
    .pad_before_positions = 1,
    .plane_lines = 6,
    .plane_positions = 8,
    .doubled_zero = -47,
    .pad_code = -27,
    .code_base = 5,
    .activation_min = -24,
    .activation_max = 127,
    .input_line_step = 128,
    .input_position_step = 32,
    .output_line_step = 128,
    .output_position_step = 32,
    .weights = digits_3_weights,
    .bias = digits_3_bias,
    .multipliers = digits_3_multipliers,
    .codes = digits_3_codes,
    .scratch = (void *)(arena + 512),
};

static const struct tflash_conv_2d_s8_dsp_params params_4 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 32,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .stride_height = 1,
    .stride_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .doubled_zero = -43,
    .pad_code = -24,
    .code_base = 6,
    .activation_min = -22,
    .activation_max = 127,
    .weights = digits_4_weights,
    .bias = digits_4_bias,
    .multipliers = digits_4_multipliers,
    .codes = digits_4_codes,
    .scratch = (void *)(arena + 1536),
};

static const struct tflash_conv_2d_s8_dsp_params params_5 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 32,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .stride_height = 1,
    .stride_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .doubled_zero = -19,
    .pad_code = -22,
    .code_base = 5,
    .activation_min = -128,
    .activation_max = 127,
    .weights = digits_5_weights,
    .bias = digits_5_bias,
    .multipliers = digits_5_multipliers,
    .codes = digits_5_codes,
    .scratch = (void *)(arena + 1536),
};

static const struct tflash_add_s8_dsp_params params_6 = {
    .count = 512,
    .offset = 10485760,
    .fine_offset = 56623104,
    .fine_multiplier = 1582775866,
    .multiplier = 1209648555,
    .doubled_zero = -87,
    .fine_left = 21,
    .fine_right = 1,
    .code = 17,
    .activation_min = -44,
    .activation_max = 127,
};

static const struct tflash_mean_s8_params params_7 = {
    .outputs = 32,
    .reductions = 1,
    .run = 16,
    .run_stride = 32,
    .kept_sizes = {1, 1, 1, 32},
    .kept_strides = {0, 0, 0, 1},
    .reduced_sizes = {1, 1, 1, 1},
    .reduced_strides = {0, 0, 0, 0},
    .sum_offset = 704,
    .output_offset = -21,
    .multiplier = 1372612700,
    .shift = -3,
};

static const struct tflash_fully_connected_s8_dsp_params params_8 = {
    .batches = 1,
    .depth = 32,
    .outputs = 10,
    .doubled_zero = 5,
    .per_channel = 0,
    .activation_min = -128,
    .activation_max = 127,
    .weights = digits_8_weights,
    .bias = digits_8_bias,
    .multipliers = digits_8_multipliers,
    .codes = digits_8_codes,
    .scratch = NULL,
};

static const struct tflash_softmax_s8_params params_9 = {
    .rows = 1,
    .depth = 10,
    .multiplier = 1085088256,
    .shift = 23,
    .smallest = -248,
};

int digits_init(void) {
  return TFLASH_OK;
}

int digits_invoke(void) {
  /* op 0, CONV_2D, 1x8x8x1 -> 1x8x8x16: its/quant_stem_bn/FusedBatchNormV3;digits/quant_stem/Conv2D1 */
  tflash_conv_2d_s8_dsp(&params_0, (const int8_t *)(void *)(arena + 1112), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(0, arena + 0, 1024u);
  /* op 1, DEPTHWISE_CONV_2D, 1x8x8x16 -> 1x4x4x16: e_bn/FusedBatchNormV3;digits/quant_down_depthwise/depthwise1 */
  tflash_depthwise_conv_2d_s8_dsp(&params_1, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(1, arena + 0, 256u);
  /* op 2, CONV_2D, 1x4x4x16 -> 1x4x4x32: wise_bn/FusedBatchNormV3;digits/quant_down_pointwise/Conv2D1 */
  tflash_conv_2d_s8_dsp(&params_2, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 1024));
  TFLASH_LAYER(2, arena + 1024, 512u);
  /* op 3, DEPTHWISE_CONV_2D, 1x4x4x32 -> 1x4x4x32: /FusedBatchNormV3;digits/quant_residual_depthwise/depthwise1 */
  tflash_depthwise_conv_2d_s8_dsp(&params_3, (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(3, arena + 0, 512u);
  /* op 4, CONV_2D, 1x4x4x32 -> 1x4x4x32: _bn/FusedBatchNormV3;digits/quant_residual_pointwise/Conv2D1 */
  tflash_conv_2d_s8_dsp(&params_4, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 512));
  TFLASH_LAYER(4, arena + 512, 512u);
  /* op 5, CONV_2D, 1x4x4x32 -> 1x4x4x32: ant_project_bn/FusedBatchNormV3;digits/quant_project/Conv2D1 */
  tflash_conv_2d_s8_dsp(&params_5, (const int8_t *)(void *)(arena + 512), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(5, arena + 0, 512u);
  /* op 6, ADD, 1x4x4x32 -> 1x4x4x32: digits/quant_add_relu/Relu;digits/quant_add/add */
  tflash_add_s8_dsp(&params_6, (const int8_t *)(void *)(arena + 0), (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 1024));
  TFLASH_LAYER(6, arena + 1024, 512u);
  /* op 7, MEAN, 1x4x4x32 -> 1x32: digits/quant_pool/Mean */
  tflash_mean_s8(&params_7, (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(7, arena + 0, 32u);
  /* op 8, FULLY_CONNECTED, 1x32 -> 1x10: digits/quant_dense/MatMul;digits/quant_dense/BiasAdd */
  tflash_fully_connected_s8_dsp(&params_8, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 32));
  TFLASH_LAYER(8, arena + 32, 10u);
  /* op 9, SOFTMAX, 1x10 -> 1x10: StatefulPartitionedCall:0 */
  tflash_softmax_s8(&params_9, (const int8_t *)(void *)(arena + 32), (int8_t *)(void *)(arena + 32));
  TFLASH_LAYER(9, arena + 32, 10u);
  return TFLASH_OK;
}

void *digits_input(uint8_t index) {
  switch (index) {
    case 0:
      return arena + 1112;
    default:
      return NULL;
  }
}

const void *digits_output(uint8_t index) {
  switch (index) {
    case 0:
      return arena + 32;
    default:
      return NULL;
  }
}

static uint32_t arena_used_bytes(void) {
  return DIGITS_ARENA_BYTES;
}

static const struct tflash_tensor inputs[] = {
    {"serving_default_image:0", TFLASH_INT8, 4, {1, 8, 8, 1}, 64u, 3.921569e-03f, -128},
};

static const struct tflash_tensor outputs[] = {
    {"StatefulPartitionedCall:0", TFLASH_INT8, 2, {1, 10}, 10u, 3.90625e-03f, -128},
};

const struct tflash_model digits_model = {
    .name = "digits",
    .runtime = "aot",
    .sha256 = {0x8b, 0xba, 0x6d, 0x8a, 0x1e, 0x5a, 0x5a, 0x8a, 0xec, 0x4f, 0xb2, 0x37, 0x63, 0xb8, 0xc8, 0x87, 0x08, 0x4f, 0x09, 0xaf, 0x99, 0xa2, 0x81, 0x8c, 0x0f, 0xa9, 0xdf, 0x6a, 0xfc, 0xbd, 0x21, 0xfc},
    .arena_bytes = DIGITS_ARENA_BYTES,
    .layer_count = 10,
    .input_count = 1,
    .output_count = 1,
    .inputs = inputs,
    .outputs = outputs,
    .init = digits_init,
    .invoke = digits_invoke,
    .input = digits_input,
    .output = digits_output,
    .arena_used_bytes = arena_used_bytes,
};
