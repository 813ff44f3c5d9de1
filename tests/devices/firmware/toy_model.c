#include "toy_model.h"

#include <string.h>

#ifndef TOY_SHA256_BYTE
#define TOY_SHA256_BYTE 0xab
#endif
#ifndef TOY_INPUTS
#define TOY_INPUTS 2
#endif
#ifndef TOY_INIT
#define TOY_INIT TFLASH_OK
#endif
#ifndef TOY_INVOKE
#define TOY_INVOKE TFLASH_OK
#endif

#define SIZE 600

/* Of exactly the tensors' sizes, so that a sanitizer sees a byte too far. */
static int8_t signal[SIZE];
static int32_t gain[2];
static int8_t doubled[SIZE];
static int8_t amplified[SIZE];
static int32_t runs[1];
static uint8_t flag[1];

static const struct tflash_tensor inputs[] = {
    {"signal", TFLASH_INT8, 3, {1, 30, 20}, SIZE, 0.5f, -3},
    {"gain", TFLASH_INT32, 1, {2}, 8, 0.0f, 0},
};
static const struct tflash_tensor outputs[] = {
    {"amplified", TFLASH_INT8, 2, {1, SIZE}, SIZE, 0.25f, 7},
    {"runs", TFLASH_INT32, 0, {0}, 4, 0.0f, 0},
    {"a name that is longer than what is left of a frame, so that the device has to cut it, as names of tensors in real "
     "models often are, which are made of the scopes of all the layers and functions that a tensor came through, for "
     "instance StatefulPartitionedCall/model/StatefulPartitionedCall",
     TFLASH_BOOL, 1, {1}, 1, 0.0f, 0},
};

static int init(void) {
  memset(signal, 0, sizeof signal);
  memset(gain, 0, sizeof gain);
  runs[0] = 0;
  return TOY_INIT;
}

static int invoke(void) {
  for (int i = 0; i < SIZE; i++) doubled[i] = (int8_t)((uint8_t)signal[i] * 2u);
  TFLASH_LAYER(0, doubled, sizeof doubled);
  for (int i = 0; i < SIZE; i++) {
    amplified[i] = (int8_t)(uint8_t)((uint32_t)doubled[i] * (uint32_t)gain[0] + (uint32_t)gain[1]);
  }
  TFLASH_LAYER(1, amplified, sizeof amplified);
  runs[0]++;
  flag[0] = runs[0] % 2 == 1;
  TFLASH_LAYER(2, runs, sizeof runs);
  memset(signal, 0x55, sizeof signal);
  return TOY_INVOKE;
}

static void *input(uint8_t index) { return index == 0 ? (void *)signal : (void *)gain; }

static const void *output(uint8_t index) {
  const void *const all[] = {amplified, runs, flag};
  return all[index];
}

static uint32_t arena_used_bytes(void) { return 1234; }

const struct tflash_model toy_model = {
    .name = "toy",
    .runtime = "aot",
    .sha256 = {TOY_SHA256_BYTE, 1, 0, 0xff},
    .arena_bytes = 4096,
    .layer_count = 3,
    .input_count = TOY_INPUTS,
    .output_count = 3,
    .inputs = inputs,
    .outputs = outputs,
    .init = init,
    .invoke = invoke,
    .input = input,
    .output = output,
    .arena_used_bytes = arena_used_bytes,
};
