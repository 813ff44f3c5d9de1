/* Fully connected layer for Helium (MVE), int8 in, int8 out.
 *   the formula and shapes of fully_connected_s8.c, with
 *   bias     [outputs]  int32  the model's - input zero point * sum of the output's weights, modulo 2^32
 * One sample: 4 outputs at once, 4 VMLADAVA of 16 products to 5 loads. Weights are read once from flash, which is what
 * a real board waits for. More samples: three at once, as the pixels of conv_2d_s8_mve.c.
 * Bit-exact with: fully_connected_s8.c.
 * Overflow: sums wrap; aot/requantization.py proves for each layer that what they stand for fits int32.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s8_mve.h"

#include "mve_rows.h"

void tflash_fully_connected_s8_mve(const struct tflash_fully_connected_s8_mve_params *p, const int8_t *input,
                                   int8_t *output) {
  const struct tflash_mve_filters filters = {
      .weights = p->weights,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .shifts = p->shifts,
      .per_channel = p->per_channel,
      .depth = p->depth,
      .channels = p->outputs,
      .output_offset = p->output_offset,
      .activation_min = p->activation_min,
      .activation_max = p->activation_max,
  };
  for (int32_t left = p->batches; left > 0;) {
    const int32_t rows = left < 3 ? left : 3;
    const int8_t *const row[3] = {
        input,
        rows > 1 ? input + p->depth : input,
        rows > 2 ? input + 2 * p->depth : input,
    };
    tflash_mve_rows(&filters, row, rows, output);
    input += rows * p->depth;
    output += rows * p->outputs;
    left -= rows;
  }
}
