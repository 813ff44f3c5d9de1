/* Product of matrices, int8 in, int8 out, over up to three batch dimensions; either side may be transposed or repeat.
 *   output[..][r][c] = clamp(requant(sum_d (left[..][r][d] + left_offset) * (right[..][d][c] + right_offset))
 *                            + output_offset)
 *   left     [batches..][rows][depth]     int8, or [depth][rows]: the strides say which
 *   right    [batches..][depth][columns]  int8, or [columns][depth]
 *   output   [batches..][rows][columns]   int8
 * Bit-exact with: TFLM's BATCH_MATMUL reference kernel (double rounding), which copies what it transposes.
 * Overflow: aot/ops/batch_matmul.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Inputs and output must not overlap. */
#include "batch_matmul_s8.h"

#include "requant.h"

static int8_t *multiply(const struct tflash_batch_matmul_s8_params *p, const int8_t *left, const int8_t *right,
                        int8_t *output) {
  for (int32_t r = 0; r < p->rows; ++r) {
    for (int32_t c = 0; c < p->columns; ++c) {
      const int8_t *a = left + r * p->left_row;
      const int8_t *b = right + c * p->right_column;
      int32_t acc = 0;
      for (int32_t d = 0; d < p->depth; ++d) {
        acc += (a[d * p->left_step] + p->left_offset) * (b[d * p->right_step] + p->right_offset);
      }
      acc = tflash_requantize(acc, p->multiplier, p->shift) + p->output_offset;
      *output++ = (int8_t)tflash_clamp(acc, INT8_MIN, INT8_MAX);
    }
  }
  return output;
}

void tflash_batch_matmul_s8(const struct tflash_batch_matmul_s8_params *p, const int8_t *left, const int8_t *right,
                            int8_t *output) {
  for (int32_t i = 0; i < p->batches[0]; ++i) {
    for (int32_t j = 0; j < p->batches[1]; ++j) {
      for (int32_t k = 0; k < p->batches[2]; ++k) {
        const int8_t *a = left + i * p->left_batches[0] + j * p->left_batches[1] + k * p->left_batches[2];
        const int8_t *b = right + i * p->right_batches[0] + j * p->right_batches[1] + k * p->right_batches[2];
        output = multiply(p, a, b, output);
      }
    }
  }
}
