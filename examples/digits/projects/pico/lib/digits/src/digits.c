/* digits.tflite, compiled by tensorflash. Do not edit.
 * sha256 8bba6d8a1e5a5a8aec4fb23763b8c887084f09af99a2818c0fa9df6afcbd21fc */
#include "digits_model.h"

#include "digits_constants.h"
#include "kernels/add_s8.h"
#include "kernels/conv_2d_s8.h"
#include "kernels/depthwise_conv_2d_s8.h"
#include "kernels/fully_connected_s8.h"
#include "kernels/mean_s8.h"
#include "kernels/softmax_s8.h"

/* The arena: 1536 bytes; 1536 are in use at once at the least.
 *   offset    bytes  in use by steps
 *     1024       64     0..0    serving_default_image:0
 *        0     1024     0..1    its/quant_stem_bn/FusedBatchNormV3;digits/quant_stem/Conv2D1
 *     1024      256     1..2    e_bn/FusedBatchNormV3;digits/quant_down_depthwise/depthwise1
 *        0      512     2..7    wise_bn/FusedBatchNormV3;digits/quant_down_pointwise/Conv2D1
 *      512      512     3..4    /FusedBatchNormV3;digits/quant_residual_depthwise/depthwise1
 *     1024      512     4..5    _bn/FusedBatchNormV3;digits/quant_residual_pointwise/Conv2D1
 *      512      512     5..6    ant_project_bn/FusedBatchNormV3;digits/quant_project/Conv2D1
 *      512       32     7..8    digits/quant_pool/Mean
 *        0       10     8..9    digits/quant_dense/MatMul;digits/quant_dense/BiasAdd */
static _Alignas(16) uint8_t arena[DIGITS_ARENA_BYTES];

static const struct tflash_conv_2d_s8_params params_0 = {
    .batches = 1,
    .input_height = 8,
    .input_width = 8,
    .input_channels = 1,
    .output_height = 8,
    .output_width = 8,
    .output_channels = 16,
    .filter_height = 3,
    .filter_width = 3,
    .filter_channels = 1,
    .filters_per_group = 16,
    .stride_height = 1,
    .stride_width = 1,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 1,
    .pad_left = 1,
    .input_offset = 128,
    .output_offset = -21,
    .activation_min = -21,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_0_weights,
    .bias = digits_0_bias,
    .multipliers = digits_0_multipliers,
    .shifts = digits_0_shifts,
};

static const struct tflash_depthwise_conv_2d_s8_params params_1 = {
    .batches = 1,
    .input_height = 8,
    .input_width = 8,
    .input_channels = 16,
    .output_height = 4,
    .output_width = 4,
    .depth_multiplier = 1,
    .filter_height = 3,
    .filter_width = 3,
    .stride_height = 2,
    .stride_width = 2,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .input_offset = 21,
    .output_offset = -21,
    .activation_min = -21,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_1_weights,
    .bias = digits_1_bias,
    .multipliers = digits_1_multipliers,
    .shifts = digits_1_shifts,
};

static const struct tflash_conv_2d_s8_params params_2 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 16,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .filter_channels = 16,
    .filters_per_group = 32,
    .stride_height = 1,
    .stride_width = 1,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .input_offset = 21,
    .output_offset = -27,
    .activation_min = -27,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_2_weights,
    .bias = digits_2_bias,
    .multipliers = digits_2_multipliers,
    .shifts = digits_2_shifts,
};

static const struct tflash_depthwise_conv_2d_s8_params params_3 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 32,
    .output_height = 4,
    .output_width = 4,
    .depth_multiplier = 1,
    .filter_height = 3,
    .filter_width = 3,
    .stride_height = 1,
    .stride_width = 1,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 1,
    .pad_left = 1,
    .input_offset = 27,
    .output_offset = -24,
    .activation_min = -24,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_3_weights,
    .bias = digits_3_bias,
    .multipliers = digits_3_multipliers,
    .shifts = digits_3_shifts,
};

static const struct tflash_conv_2d_s8_params params_4 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 32,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .filter_channels = 32,
    .filters_per_group = 32,
    .stride_height = 1,
    .stride_width = 1,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .input_offset = 24,
    .output_offset = -22,
    .activation_min = -22,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_4_weights,
    .bias = digits_4_bias,
    .multipliers = digits_4_multipliers,
    .shifts = digits_4_shifts,
};

static const struct tflash_conv_2d_s8_params params_5 = {
    .batches = 1,
    .input_height = 4,
    .input_width = 4,
    .input_channels = 32,
    .output_height = 4,
    .output_width = 4,
    .output_channels = 32,
    .filter_height = 1,
    .filter_width = 1,
    .filter_channels = 32,
    .filters_per_group = 32,
    .stride_height = 1,
    .stride_width = 1,
    .dilation_height = 1,
    .dilation_width = 1,
    .pad_top = 0,
    .pad_left = 0,
    .input_offset = 22,
    .output_offset = -10,
    .activation_min = -128,
    .activation_max = 127,
    .per_channel = 1,
    .weights = digits_5_weights,
    .bias = digits_5_bias,
    .multipliers = digits_5_multipliers,
    .shifts = digits_5_shifts,
};

static const struct tflash_add_s8_params params_6 = {
    .shape = {1, 1, 1, 512},
    .strides1 = {0, 0, 0, 1},
    .strides2 = {0, 0, 0, 1},
    .offset1 = 27,
    .offset2 = 10,
    .multiplier1 = 1582775866,
    .shift1 = -1,
    .multiplier2 = 1073741824,
    .shift2 = 0,
    .output_multiplier = 1209648555,
    .output_shift = -18,
    .output_offset = -44,
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

static const struct tflash_fully_connected_s8_params params_8 = {
    .batches = 1,
    .depth = 32,
    .outputs = 10,
    .input_offset = 21,
    .output_offset = 2,
    .activation_min = -128,
    .activation_max = 127,
    .per_channel = 0,
    .weights = digits_8_weights,
    .bias = digits_8_bias,
    .multipliers = digits_8_multipliers,
    .shifts = digits_8_shifts,
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
  tflash_conv_2d_s8(&params_0, (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(0, arena + 0, 1024u);
  /* op 1, DEPTHWISE_CONV_2D, 1x8x8x16 -> 1x4x4x16: e_bn/FusedBatchNormV3;digits/quant_down_depthwise/depthwise1 */
  tflash_depthwise_conv_2d_s8(&params_1, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 1024));
  TFLASH_LAYER(1, arena + 1024, 256u);
  /* op 2, CONV_2D, 1x4x4x16 -> 1x4x4x32: wise_bn/FusedBatchNormV3;digits/quant_down_pointwise/Conv2D1 */
  tflash_conv_2d_s8(&params_2, (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(2, arena + 0, 512u);
  /* op 3, DEPTHWISE_CONV_2D, 1x4x4x32 -> 1x4x4x32: /FusedBatchNormV3;digits/quant_residual_depthwise/depthwise1 */
  tflash_depthwise_conv_2d_s8(&params_3, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 512));
  TFLASH_LAYER(3, arena + 512, 512u);
  /* op 4, CONV_2D, 1x4x4x32 -> 1x4x4x32: _bn/FusedBatchNormV3;digits/quant_residual_pointwise/Conv2D1 */
  tflash_conv_2d_s8(&params_4, (const int8_t *)(void *)(arena + 512), (int8_t *)(void *)(arena + 1024));
  TFLASH_LAYER(4, arena + 1024, 512u);
  /* op 5, CONV_2D, 1x4x4x32 -> 1x4x4x32: ant_project_bn/FusedBatchNormV3;digits/quant_project/Conv2D1 */
  tflash_conv_2d_s8(&params_5, (const int8_t *)(void *)(arena + 1024), (int8_t *)(void *)(arena + 512));
  TFLASH_LAYER(5, arena + 512, 512u);
  /* op 6, ADD, 1x4x4x32 -> 1x4x4x32: digits/quant_add_relu/Relu;digits/quant_add/add */
  tflash_add_s8(&params_6, (const int8_t *)(void *)(arena + 0), (const int8_t *)(void *)(arena + 512), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(6, arena + 0, 512u);
  /* op 7, MEAN, 1x4x4x32 -> 1x32: digits/quant_pool/Mean */
  tflash_mean_s8(&params_7, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 512));
  TFLASH_LAYER(7, arena + 512, 32u);
  /* op 8, FULLY_CONNECTED, 1x32 -> 1x10: digits/quant_dense/MatMul;digits/quant_dense/BiasAdd */
  tflash_fully_connected_s8(&params_8, (const int8_t *)(void *)(arena + 512), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(8, arena + 0, 10u);
  /* op 9, SOFTMAX, 1x10 -> 1x10: StatefulPartitionedCall:0 */
  tflash_softmax_s8(&params_9, (const int8_t *)(void *)(arena + 0), (int8_t *)(void *)(arena + 0));
  TFLASH_LAYER(9, arena + 0, 10u);
  return TFLASH_OK;
}

void *digits_input(uint8_t index) {
  switch (index) {
    case 0:
      return arena + 1024;
    default:
      return NULL;
  }
}

const void *digits_output(uint8_t index) {
  switch (index) {
    case 0:
      return arena + 0;
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
