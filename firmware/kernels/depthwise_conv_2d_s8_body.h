/* What depthwise_conv_2d_s8.c and depthwise_conv_2d_s8_w4.c share of what depthwise_conv_2d_body.h needs. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_S8_BODY_H
#define TFLASH_DEPTHWISE_CONV_2D_S8_BODY_H

#include "depthwise_conv_2d_s8.h"

#include <stddef.h>

#include "plain_loops.h"

#include "requant.h"

__attribute__((noinline)) static void requantize(const struct tflash_depthwise_conv_2d_s8_params *p,
                                                 const int32_t *sums, int32_t o, int32_t count, int8_t *output) {
  const int32_t *const multipliers = p->multipliers;
  const int8_t *const shifts = p->shifts;
  const int32_t mask = -p->per_channel;
  const int32_t offset = p->output_offset;
  const int32_t low = p->activation_min;
  const int32_t high = p->activation_max;
  for (int32_t k = 0; k < count; ++k) {
    const int32_t q = (o + k) & mask;
    const int32_t code = tflash_requantize(sums[k], multipliers[q], shifts[q]) + offset;
    output[k] = (int8_t)tflash_clamp(code, low, high);
  }
}

#define TFLASH_CODE int8_t
#define TFLASH_INPUT_OFFSET(p) ((p)->input_offset)
#define TFLASH_START(p, o) ((p)->bias != NULL ? (p)->bias + (o) : NULL)

#endif /* TFLASH_DEPTHWISE_CONV_2D_S8_BODY_H */
