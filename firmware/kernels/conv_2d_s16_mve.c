/* 2-D convolution for Helium (MVE), int16 in, int16 out; any filter, stride, padding and dilation, no groups.
 * The formula, input and output are those of conv_2d_s16.c.
 *   weights  [output_channels, made even][filter_height][filter_width][input_channels]  int8
 *   bias, multipliers, shifts  [output_channels, made even], as tflash_requantize_narrow wants them (dsp.h); bias int32
 * Two pixels by two channels stay in registers: 4 VMLADAVA of 8 products to 4 loads. What a filter sees of the input is
 * gathered first, with zeros for the padding, but for a filter of 1 x 1, which reads it where it lies.
 * Bit-exact with: TFLM's CONV_2D reference kernel (one rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole is an int32.
 * Scratch: two patches of filter_height * filter_width * input_channels int16, none for 1 x 1.
 * Two outputs at a time are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16_mve.h"

static inline void add_products(const int8_t *weights, const int16_t *const patches[2], int32_t depth,
                                int32_t sums[4]) {
  const int8_t *w0 = weights;
  const int8_t *w1 = weights + depth;
  const int16_t *first = patches[0];
  const int16_t *second = patches[1];
  __asm volatile(
      "dlstp.16 lr, %[depth]\n"
      "1:\n"
      "vldrb.s16 q0, [%[w0]], #8\n"
      "vldrh.16 q2, [%[first]], #16\n"
      "vmladava.s16 %[sum0], q2, q0\n"
      "vldrb.s16 q1, [%[w1]], #8\n"
      "vmladava.s16 %[sum1], q2, q1\n"
      "vldrh.16 q3, [%[second]], #16\n"
      "vmladava.s16 %[sum2], q3, q0\n"
      "vmladava.s16 %[sum3], q3, q1\n"
      "letp lr, 1b\n"
      : [w0] "+l"(w0), [w1] "+l"(w1), [first] "+r"(first), [second] "+r"(second), [sum0] "+Te"(sums[0]),
        [sum1] "+Te"(sums[1]), [sum2] "+Te"(sums[2]), [sum3] "+Te"(sums[3])
      : [depth] "r"(depth)
      : "q0", "q1", "q2", "q3", "lr", "memory");
}

#define TFLASH_STORED(weights) (weights)
#include "conv_2d_s16_tiles_body.h"

void tflash_conv_2d_s16_mve(const struct tflash_conv_2d_s16_mve_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
