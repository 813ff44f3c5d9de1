/* Runs every model of a batch on every sample. Reads inputs.bin, writes outputs.bin, both in the working folder.
 *   inputs.bin:  for each model a uint32 count of samples, then for each sample the bytes of all inputs
 *   outputs.bin: for each model and sample the bytes of all outputs; at the end the four bytes "done"
 * Around each input and output of a model that has guard_bytes lie GUARD_BYTES that nobody may change. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"

#define MAX_TENSORS 16

static uint8_t before[MAX_TENSORS][2 * GUARD_BYTES];

static int fail(const struct tflash_model *model, const char *what) {
  fprintf(stderr, "%s: %s\n", model->name, what);
  return 1;
}

/* The bytes around tensor `index`, inputs first. */
static uint8_t *guard(const struct tflash_model *model, uint8_t index, int side) {
  const int is_input = index < model->input_count;
  const uint8_t i = (uint8_t)(is_input ? index : index - model->input_count);
  uint8_t *tensor = is_input ? model->input(i) : (uint8_t *)(uintptr_t)model->output(i);
  const uint32_t bytes = is_input ? model->inputs[i].bytes : model->outputs[i].bytes;
  return side == 0 ? tensor - GUARD_BYTES : tensor + bytes;
}

static int run_sample(const struct tflash_model *model, int has_guards, FILE *in, FILE *out) {
  const uint8_t tensors = (uint8_t)(model->input_count + model->output_count);
  const int guarded = has_guards && tensors <= MAX_TENSORS;
  for (uint8_t t = 0; guarded && t < tensors; ++t) {
    memset(guard(model, t, 0), 0x7f, GUARD_BYTES);
    memset(guard(model, t, 1), 0x80, GUARD_BYTES);
  }
  for (uint8_t i = 0; i < model->output_count; ++i) {
    memset((void *)(uintptr_t)model->output(i), 0x55, model->outputs[i].bytes);
  }
  for (uint8_t i = 0; i < model->input_count; ++i) {
    if (fread(model->input(i), 1, model->inputs[i].bytes, in) != model->inputs[i].bytes) {
      return fail(model, "inputs.bin is too short");
    }
  }
  for (uint8_t t = 0; guarded && t < tensors; ++t) {
    memcpy(before[t], guard(model, t, 0), GUARD_BYTES);
    memcpy(before[t] + GUARD_BYTES, guard(model, t, 1), GUARD_BYTES);
  }
  if (model->invoke() != TFLASH_OK) {
    return fail(model, "invoke failed");
  }
  for (uint8_t t = 0; guarded && t < tensors; ++t) {
    if (memcmp(before[t], guard(model, t, 0), GUARD_BYTES) != 0) {
      return fail(model, "wrote before a tensor");
    }
    if (memcmp(before[t] + GUARD_BYTES, guard(model, t, 1), GUARD_BYTES) != 0) {
      return fail(model, "wrote behind a tensor");
    }
  }
  for (uint8_t i = 0; i < model->output_count; ++i) {
    if (fwrite(model->output(i), 1, model->outputs[i].bytes, out) != model->outputs[i].bytes) {
      return fail(model, "outputs.bin cannot be written");
    }
  }
  return 0;
}

int main(void) {
  FILE *in = fopen("inputs.bin", "rb");
  FILE *out = fopen("outputs.bin", "wb");
  if (in == NULL || out == NULL) {
    return 2;
  }
  for (uint32_t m = 0; m < batch_size; ++m) {
    uint32_t samples = 0;
    if (fread(&samples, 1, sizeof samples, in) != sizeof samples || batch[m]->init() != TFLASH_OK) {
      return fail(batch[m], "no sample count, or init failed");
    }
    for (uint32_t s = 0; s < samples; ++s) {
      if (run_sample(batch[m], guard_bytes[m] != 0, in, out) != 0) {
        return 1;
      }
    }
  }
  if (fwrite("done", 1, 4, out) != 4 || fclose(out) != 0) {
    return 2;
  }
  return 0;
}
