/* Sum or difference of two tensors for Helium (MVE), int8 in, int8 out, each repeated along the dimensions where the
 * other is longer, four elements at once.
 *   x = requant1((input1 + offset1) * 2^20), y = requant2((input2 + offset2) * 2^20)
 *   output = clamp(requant(x + sign2 * y) + output_offset)
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * On silicon (Cortex-M55, two beats a cycle) the multiplications of one operand overlap with the sums of the other.
 * Bit-exact with: TFLM's ADD and SUB (double rounding).
 * Overflow: none possible. Offset codes are within +-255 and the multipliers below 1/2, 1/2 and 1.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "add_s8_mve.h"

#include "mve.h"

/* value * multiplier * 2^shift; the shift is 0 or to the right. */
static inline int32x4_t scaled(int32x4_t value, int32_t multiplier, int32_t shift) {
  const int32x4_t high = vqrdmulhq_n_s32(value, multiplier);
  const int32x4_t fixup = vshrq_n_s32(vandq_s32(high, vdupq_n_s32(shift)), 31);
  return vrshlq_n_s32(vqaddq_s32(high, fixup), shift);
}

/* Up to four elements; all: there are four. */
static inline void add_four(const struct tflash_add_s8_mve_params *p, int32x4_t a, int32x4_t b, int8_t *output,
                            int32_t all, mve_pred16_t lanes) {
  const int32x4_t x = scaled(vshlq_n_s32(vaddq_n_s32(a, p->offset1), 20), p->multiplier1, p->shift1);
  const int32x4_t y = scaled(vshlq_n_s32(vaddq_n_s32(b, p->offset2), 20), p->multiplier2, p->shift2);
  int32x4_t codes = scaled(vmlaq_n_s32(x, y, p->sign2), p->output_multiplier, p->output_shift);
  codes = vaddq_n_s32(codes, p->output_offset);
  codes = vmaxq_s32(codes, vdupq_n_s32(p->activation_min));
  codes = vminq_s32(codes, vdupq_n_s32(p->activation_max));
  if (all) {
    vstrbq_s32(output, codes);
  } else {
    vstrbq_p_s32(output, codes, lanes);
  }
}

/* One run of the innermost loop. step: 1, or 0 where the operand repeats. The parameters are copied, since the compiler
 * has to assume that storing codes could change them. */
static void add_run(const struct tflash_add_s8_mve_params *params, const int8_t *a, int32_t step1, const int8_t *b,
                    int32_t step2, int8_t *output) {
  const struct tflash_add_s8_mve_params p = *params;
  const int32x4_t repeated1 = vdupq_n_s32(a[0]);
  const int32x4_t repeated2 = vdupq_n_s32(b[0]);
  int32_t left = p.shape[3];
  if (step1 != 0 && step2 != 0) {
    for (; left >= 4; left -= 4) {
      add_four(&p, vldrbq_s32(a), vldrbq_s32(b), output, 1, 0);
      a += 4;
      b += 4;
      output += 4;
    }
  }
  for (; left > 0; left -= 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)left);
    add_four(&p, step1 != 0 ? vldrbq_z_s32(a, lanes) : repeated1, step2 != 0 ? vldrbq_z_s32(b, lanes) : repeated2,
             output, 0, lanes);
    a += 4 * step1;
    b += 4 * step2;
    output += 4;
  }
}

void tflash_add_s8_mve(const struct tflash_add_s8_mve_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *const a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *const b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        add_run(p, a, p->strides1[3], b, p->strides2[3], output);
        output += p->shape[3];
      }
    }
  }
}
