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

/* The arena: 1088 bytes; 1056 are in use at once at the least.
 * An op may write over what it reads for the last time.
 *   offset    bytes  in use by ops
 *        0       64     0..0    serving_default_image:0
 *       64     1024     0..1    digits/quant_stem/Conv2D1
 *        0      256     1..2    digits/quant_down_depthwise/depthwise1
 *      576      512     2..7    digits/quant_down_pointwise/Conv2D1
 *       64      512     3..4    digits/quant_residual_depthwise/depthwise1
 *       32      512     4..5    digits/quant_residual_pointwise/Conv2D1
 *        0      512     5..6    digits/quant_project/Conv2D1
 *       16       32     7..8    digits/quant_pool/Mean
 *        0       10     8..9    digits/quant_dense/BiasAdd */
static _Alignas(16) uint8_t arena[DIGITS_ARENA_BYTES];

/* op 0, CONV_2D, 1x8x8x1 -> 1x8x8x16: digits/quant_stem/Conv2D1 */
static void run_quant_stem(void) {
  static const struct tflash_conv_2d_s8_params params = {
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
      .weights = digits_quant_stem_weights,
      .bias = digits_quant_stem_bias,
      .multipliers = digits_quant_stem_multipliers,
      .shifts = digits_quant_stem_shifts,
  };
  tflash_conv_2d_s8(&params, (const int8_t *)(arena + 0), (int8_t *)(arena + 64));
}

/* op 1, DEPTHWISE_CONV_2D, 1x8x8x16 -> 1x4x4x16: digits/quant_down_depthwise/depthwise1 */
static void run_quant_down_depthwise(void) {
  static const struct tflash_depthwise_conv_2d_s8_params params = {
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
      .weights = digits_quant_down_depthwise_weights,
      .bias = digits_quant_down_depthwise_bias,
      .multipliers = digits_quant_down_depthwise_multipliers,
      .shifts = digits_quant_down_depthwise_shifts,
  };
  tflash_depthwise_conv_2d_s8(&params, (const int8_t *)(arena + 64), (int8_t *)(arena + 0));
}

/* op 2, CONV_2D, 1x4x4x16 -> 1x4x4x32: digits/quant_down_pointwise/Conv2D1 */
static void run_quant_down_pointwise(void) {
  static const struct tflash_conv_2d_s8_params params = {
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
      .input_offset = 0,
      .output_offset = -27,
      .activation_min = -27,
      .activation_max = 127,
      .per_channel = 1,
      .weights = digits_quant_down_pointwise_weights,
      .bias = digits_quant_down_pointwise_bias,
      .multipliers = digits_quant_down_pointwise_multipliers,
      .shifts = digits_quant_down_pointwise_shifts,
  };
  tflash_conv_2d_s8(&params, (const int8_t *)(arena + 0), (int8_t *)(arena + 576));
}

/* op 3, DEPTHWISE_CONV_2D, 1x4x4x32 -> 1x4x4x32: digits/quant_residual_depthwise/depthwise1 */
static void run_quant_residual_depthwise(void) {
  static const struct tflash_depthwise_conv_2d_s8_params params = {
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
      .weights = digits_quant_residual_depthwise_weights,
      .bias = digits_quant_residual_depthwise_bias,
      .multipliers = digits_quant_residual_depthwise_multipliers,
      .shifts = digits_quant_residual_depthwise_shifts,
  };
  tflash_depthwise_conv_2d_s8(&params, (const int8_t *)(arena + 576), (int8_t *)(arena + 64));
}

/* op 4, CONV_2D, 1x4x4x32 -> 1x4x4x32: digits/quant_residual_pointwise/Conv2D1 */
static void run_quant_residual_pointwise(void) {
  static const struct tflash_conv_2d_s8_params params = {
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
      .input_offset = 0,
      .output_offset = -22,
      .activation_min = -22,
      .activation_max = 127,
      .per_channel = 1,
      .weights = digits_quant_residual_pointwise_weights,
      .bias = digits_quant_residual_pointwise_bias,
      .multipliers = digits_quant_residual_pointwise_multipliers,
      .shifts = digits_quant_residual_pointwise_shifts,
  };
  tflash_conv_2d_s8(&params, (const int8_t *)(arena + 64), (int8_t *)(arena + 32));
}

/* op 5, CONV_2D, 1x4x4x32 -> 1x4x4x32: digits/quant_project/Conv2D1 */
static void run_quant_project(void) {
  static const struct tflash_conv_2d_s8_params params = {
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
      .input_offset = 0,
      .output_offset = -10,
      .activation_min = -128,
      .activation_max = 127,
      .per_channel = 1,
      .weights = digits_quant_project_weights,
      .bias = digits_quant_project_bias,
      .multipliers = digits_quant_project_multipliers,
      .shifts = digits_quant_project_shifts,
  };
  tflash_conv_2d_s8(&params, (const int8_t *)(arena + 32), (int8_t *)(arena + 0));
}

/* op 6, ADD, 1x4x4x32 -> 1x4x4x32: digits/quant_add/add */
static void run_quant_add(void) {
  static const struct tflash_add_s8_params params = {
      .shape = {1, 1, 1, 512},
      .coarse_strides = {0, 0, 0, 1},
      .fine_strides = {0, 0, 0, 1},
      .coarse_factor = 524288,
      .coarse_offset = 5242880,
      .fine_offset = 27,
      .fine_high = 772839,
      .fine_low = 1594,
      .fine_right = 0,
      .fine_factor = 1,
      .multiplier = 1209648555,
      .shift = -18,
      .output_offset = -44,
      .activation_min = -44,
      .activation_max = 127,
  };
  tflash_add_s8(&params, (const int8_t *)(arena + 0), (const int8_t *)(arena + 576), (int8_t *)(arena + 576));
}

/* op 7, MEAN, 1x4x4x32 -> 1x32: digits/quant_pool/Mean */
static void run_quant_pool(void) {
  static const struct tflash_mean_s8_params params = {
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
  tflash_mean_s8(&params, (const int8_t *)(arena + 576), (int8_t *)(arena + 16));
}

/* op 8, FULLY_CONNECTED, 1x32 -> 1x10: digits/quant_dense/BiasAdd */
static void run_quant_dense(void) {
  static const struct tflash_fully_connected_s8_params params = {
      .batches = 1,
      .depth = 32,
      .outputs = 10,
      .input_offset = 0,
      .output_offset = 2,
      .activation_min = -128,
      .activation_max = 127,
      .per_channel = 0,
      .weights = digits_quant_dense_weights,
      .bias = digits_quant_dense_bias,
      .multipliers = digits_quant_dense_multipliers,
      .shifts = digits_quant_dense_shifts,
  };
  tflash_fully_connected_s8(&params, (const int8_t *)(arena + 16), (int8_t *)(arena + 0));
}

/* op 9, SOFTMAX, 1x10 -> 1x10: StatefulPartitionedCall:0 */
static void run_softmax(void) {
  static const struct tflash_softmax_s8_params params = {
      .rows = 1,
      .depth = 10,
      .multiplier = 1085088256,
      .shift = 23,
      .smallest = -248,
  };
  tflash_softmax_s8(&params, (const int8_t *)(arena + 0), (int8_t *)(arena + 0));
}

int digits_init(void) {
  return TFLASH_OK;
}

int digits_invoke(void) {
  run_quant_stem();
  TFLASH_LAYER(0, arena + 64, 1024u);
  run_quant_down_depthwise();
  TFLASH_LAYER(1, arena + 0, 256u);
  run_quant_down_pointwise();
  TFLASH_LAYER(2, arena + 576, 512u);
  run_quant_residual_depthwise();
  TFLASH_LAYER(3, arena + 64, 512u);
  run_quant_residual_pointwise();
  TFLASH_LAYER(4, arena + 32, 512u);
  run_quant_project();
  TFLASH_LAYER(5, arena + 0, 512u);
  run_quant_add();
  TFLASH_LAYER(6, arena + 576, 512u);
  run_quant_pool();
  TFLASH_LAYER(7, arena + 16, 32u);
  run_quant_dense();
  TFLASH_LAYER(8, arena + 0, 10u);
  run_softmax();
  TFLASH_LAYER(9, arena + 0, 10u);
  return TFLASH_OK;
}

void *digits_input(uint8_t index) {
  switch (index) {
    case 0:
      return arena + 0;
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
    .sha256 = {
        0x8b, 0xba, 0x6d, 0x8a, 0x1e, 0x5a, 0x5a, 0x8a, 0xec, 0x4f, 0xb2, 0x37, 0x63, 0xb8, 0xc8, 0x87,
        0x08, 0x4f, 0x09, 0xaf, 0x99, 0xa2, 0x81, 0x8c, 0x0f, 0xa9, 0xdf, 0x6a, 0xfc, 0xbd, 0x21, 0xfc,
    },
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
