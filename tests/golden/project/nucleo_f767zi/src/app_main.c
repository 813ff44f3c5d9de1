/* What ships: one inference on toy, to be filled in. tensorflash never overwrites this file once it was changed. */
#include <string.h>

#include "port.h"
#include "toy.h"

static void print(const char *text) {
  tflash_port_write((const uint8_t *)text, strlen(text));
}

static void print_number(uint32_t number) {
  char text[11] = {0};
  char *digit = text + sizeof text - 1;
  do {
    *--digit = (char)('0' + number % 10u);
    number /= 10u;
  } while (number > 0);
  print(digit);
}

int tflash_main(void); /* the framework's start calls it */

int tflash_main(void) {
  const struct tflash_model *model = &toy_model;

  tflash_port_init();
  if (model->init() != TFLASH_OK) {
    print("init failed\n");
    return 1;
  }

  /* in: int8 1x16, real = 0.5 * (code - 3) */
  memset(model->input(0), 3, 16u);

  if (model->invoke() != TFLASH_OK) {
    print("invoke failed\n");
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
  print("top-1: output ");
  print_number(top);
  print(" of 16\n");
  return 0;
}
