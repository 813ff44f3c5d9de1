/* Product of two tensors for Helium (MVE), int8 in, int8 out, each repeated along the dimensions where the other is
 * longer. The formula and shapes of mul_s8.c, eight elements at once.
 * Bit-exact with: mul_s8.c.
 * Overflow: none possible. Offset codes are within +-255, their products below 2^16.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap.
 * On silicon the loads of the next eight elements overlap with these. */
#include "mul_s8_mve.h"

#include "mve.h"

/* One run of the innermost loop. step: 1, or 0 where the operand repeats. The parameters are copied, since the compiler
 * has to assume that storing codes could change them. */
static void mul_run(const struct tflash_mul_s8_mve_params *params, const int8_t *a, int32_t step1, const int8_t *b,
                    int32_t step2, int8_t *output) {
  const struct tflash_mul_s8_mve_params p = *params;
  const int16x8_t repeated1 = vdupq_n_s16(a[0]);
  const int16x8_t repeated2 = vdupq_n_s16(b[0]);
  const int32x4_t multiplier = vdupq_n_s32(p.multiplier);
  const int32x4_t shift = vdupq_n_s32(p.shift);
  for (int32_t left = p.shape[3]; left > 0; left -= 8) {
    const mve_pred16_t lanes = vctp16q((uint32_t)left);
    const int16x8_t x = vaddq_n_s16(step1 != 0 ? vldrbq_z_s16(a, lanes) : repeated1, (int16_t)p.offset1);
    const int16x8_t y = vaddq_n_s16(step2 != 0 ? vldrbq_z_s16(b, lanes) : repeated2, (int16_t)p.offset2);
    int16x8_t codes = vdupq_n_s16(0);
    codes = vqmovnbq_s32(codes, tflash_mve_requantize(vmullbq_int_s16(x, y), multiplier, shift));
    codes = vqmovntq_s32(codes, tflash_mve_requantize(vmulltq_int_s16(x, y), multiplier, shift));
    codes = vqaddq_n_s16(codes, (int16_t)p.output_offset);
    codes = vmaxq_s16(codes, vdupq_n_s16((int16_t)p.activation_min));
    codes = vminq_s16(codes, vdupq_n_s16((int16_t)p.activation_max));
    vstrbq_p_s16(output, codes, lanes);
    a += 8 * step1;
    b += 8 * step2;
    output += 8;
  }
}

void tflash_mul_s8_mve(const struct tflash_mul_s8_mve_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *const a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *const b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        mul_run(p, a, p->strides1[3], b, p->strides2[3], output);
        output += p->shape[3];
      }
    }
  }
}
