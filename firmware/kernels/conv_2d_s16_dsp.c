/* 2-D convolution, int16 in, int16 out, for cores with SMLAD; any filter, stride, padding and dilation, no groups.
 * The formula, input and output are those of conv_2d_s16.c.
 *   weights  int8, depth = filter size rounded up to 4 with zeros; of two channels a word of four each in turn, the third
 *            of each four before the second; an odd last channel has one of zeros beside it
 *   bias, multipliers, shifts  [output_channels, made even], as tflash_requantize_narrow wants them (dsp.h); bias int32
 * Two pixels by two channels stay in registers: 8 SMLAD, 4 SXTB16 and 6 loads for 16 products. What a filter sees of the
 * input is gathered first, with zeros for the padding, but for a filter of 1 x 1, which reads it where it lies.
 * Bit-exact with: TFLM's CONV_2D reference kernel (one rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole is an int32.
 * Scratch: two patches of depth int16.
 * Two outputs at a time are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16_dsp.h"

#include "dsp.h"

__attribute__((noinline)) static void add_products(const int8_t *weights, const int16_t *const patches[2],
                                                   int32_t depth, int32_t sums[4]) {
  int32_t groups = depth / 4;
  const int16_t *first = patches[0];
  const int16_t *second = patches[1];
#ifdef TFLASH_DSP_ASM
  uint32_t even;
  uint32_t odd;
  uint32_t pair;
  uint32_t x;
  uint32_t y;
  __asm volatile(
      "1:\n"
      "ldr %[even], [%[weights]], #4\n"
      "ldr %[x], [%[first]], #4\n"
      "ldr %[y], [%[second]], #4\n"
      "ldr %[odd], [%[weights]], #4\n"
      "sxtb16 %[pair], %[even]\n"
      "smlad %[sum0], %[x], %[pair], %[sum0]\n"
      "smlad %[sum2], %[y], %[pair], %[sum2]\n"
      "sxtb16 %[pair], %[odd]\n"
      "smlad %[sum1], %[x], %[pair], %[sum1]\n"
      "ldr %[x], [%[first]], #4\n"
      "smlad %[sum3], %[y], %[pair], %[sum3]\n"
      "ldr %[y], [%[second]], #4\n"
      "sxtb16 %[even], %[even], ror #8\n"
      "sxtb16 %[odd], %[odd], ror #8\n"
      "subs %[groups], %[groups], #1\n"
      "smlad %[sum0], %[x], %[even], %[sum0]\n"
      "smlad %[sum2], %[y], %[even], %[sum2]\n"
      "smlad %[sum1], %[x], %[odd], %[sum1]\n"
      "smlad %[sum3], %[y], %[odd], %[sum3]\n"
      "bne 1b"
      : [weights] "+r"(weights), [first] "+r"(first), [second] "+r"(second), [groups] "+r"(groups),
        [sum0] "+r"(sums[0]), [sum1] "+r"(sums[1]), [sum2] "+r"(sums[2]), [sum3] "+r"(sums[3]), [even] "=&r"(even),
        [odd] "=&r"(odd), [pair] "=&r"(pair), [x] "=&r"(x), [y] "=&r"(y)
      :
      : "cc", "memory");
#else
  for (; groups > 0; --groups) {
    for (int32_t channel = 0; channel < 2; ++channel) {
      const uint32_t four = tflash_load_word(weights + 4 * channel);
      for (int32_t pixel = 0; pixel < 2; ++pixel) {
        const int16_t *codes = pixel == 0 ? first : second;
        int32_t *sum = &sums[2 * pixel + channel];
        *sum = tflash_smlad(tflash_load_word(codes), tflash_sxtb16(four), *sum);
        *sum = tflash_smlad(tflash_load_word(codes + 2), tflash_sxtb16_odd(four), *sum);
      }
    }
    weights += 8;
    first += 4;
    second += 4;
  }
#endif
}

#define TFLASH_STORED(weights) (((weights) + 3) / 4 * 4)
#include "conv_2d_s16_tiles_body.h"

void tflash_conv_2d_s16_dsp(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
