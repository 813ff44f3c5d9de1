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

#define TOGETHER 4 /* columns that share each code of a row */

/* A row by all columns. The sum is that of the row by the codes themselves, and right_offset times the row's. */
static void multiply(const struct tflash_batch_matmul_s8_params *p, const int8_t *row, const int8_t *right,
                     int8_t *output) {
  const int32_t left_step = p->left_step;
  const int32_t right_step = p->right_step;
  const int32_t left_offset = p->left_offset;
  for (int32_t c = 0; c < p->columns; c += TOGETHER) {
    const int32_t last = p->columns - c - 1; /* columns behind it are computed as this one is */
    const int8_t *a = row;
    const int8_t *b0 = right + c * p->right_column;
    const int8_t *b1 = b0 + (last > 0 ? p->right_column : 0);
    const int8_t *b2 = b1 + (last > 1 ? p->right_column : 0);
    const int8_t *b3 = b2 + (last > 2 ? p->right_column : 0);
    int32_t sums[TOGETHER] = {0, 0, 0, 0};
    int32_t row_sum = 0;
    for (int32_t d = p->depth; d > 0; --d) {
      const int32_t x = *a + left_offset;
      row_sum += x;
      sums[0] += x * *b0;
      sums[1] += x * *b1;
      sums[2] += x * *b2;
      sums[3] += x * *b3;
      a += left_step;
      b0 += right_step;
      b1 += right_step;
      b2 += right_step;
      b3 += right_step;
    }
    for (int32_t k = 0; k < TOGETHER && k <= last; ++k) {
      const int32_t sum = sums[k] + row_sum * p->right_offset;
      const int32_t code = tflash_requantize(sum, p->multiplier, p->shift) + p->output_offset;
      *output++ = (int8_t)tflash_clamp(code, INT8_MIN, INT8_MAX);
    }
  }
}

void tflash_batch_matmul_s8(const struct tflash_batch_matmul_s8_params *p, const int8_t *left, const int8_t *right,
                            int8_t *output) {
  for (int32_t i = 0; i < p->batches[0]; ++i) {
    for (int32_t j = 0; j < p->batches[1]; ++j) {
      for (int32_t k = 0; k < p->batches[2]; ++k) {
        const int8_t *a = left + i * p->left_batches[0] + j * p->left_batches[1] + k * p->left_batches[2];
        const int8_t *b = right + i * p->right_batches[0] + j * p->right_batches[1] + k * p->right_batches[2];
        for (int32_t r = 0; r < p->rows; ++r) {
          multiply(p, a + r * p->left_row, b, output);
          output += p->columns;
        }
      }
    }
  }
}
