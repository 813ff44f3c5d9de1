/* One inference on toy. */
#include <stdio.h>
#include <string.h>

#include "toy.h"

int main(void) {
  const struct tflash_model *model = &toy_model;
  if (model->init() != TFLASH_OK) {
    return 1;
  }
  /* in: int8 1x16, real = 0.5 * (code - 3) */
  memset(model->input(0), 3, 16u);
  if (model->invoke() != TFLASH_OK) {
    return 1;
  }
  /* out: int8 1x16, real = 0.5 * (code - 0) */
  const int8_t *scores = (const int8_t *)model->output(0);
  uint32_t top = 0;
  for (uint32_t i = 1; i < 16u; i++) {
    if (scores[i] > scores[top]) {
      top = i;
    }
  }
  printf("top-1: output %lu of 16\n", (unsigned long)top);
  return 0;
}
