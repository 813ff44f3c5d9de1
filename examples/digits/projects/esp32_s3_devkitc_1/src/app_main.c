/* What ships: one inference on digits, to be filled in. tensorflash never overwrites this file once it was changed. */
#include <string.h>

#include "port.h"
#include "digits_contract.h"

static void print(const char *text) {
  tflash_port_write((const uint8_t *)text, strlen(text));
}

int tflash_main(void); /* the framework's start calls it */

int tflash_main(void) {
  const struct tflash_model *model = &digits_model;

  tflash_port_init();
  if (model->init() != TFLASH_OK) {
    print("init failed\n");
    return 1;
  }

  /* Raw values as the sensor gives them, here zeros, become serving_default_image:0: int8 1x8x8x1. */
  uint8_t *raw = (uint8_t *)model->input(0);
  memset(raw, 0, DIGITS_RAW_ELEMENTS * sizeof *raw);
  digits_preprocess(raw, (int8_t *)model->input(0));

  if (model->invoke() != TFLASH_OK) {
    print("invoke failed\n");
    return 1;
  }

  /* StatefulPartitionedCall:0: int8 1x10, real = 0.00390625 * (code - -128) */
  const int8_t *scores = (const int8_t *)model->output(0);
  uint32_t top = 0;
  for (uint32_t i = 1; i < 10u; i++) {
    if (scores[i] > scores[top]) {
      top = i;
    }
  }
  print("top-1: ");
  print(digits_labels[top]);
  print("\n");
  return 0;
}
