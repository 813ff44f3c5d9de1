/* A neural network, whatever runtime carries it: the one interface between a model and the firmware around it.
 *
 * A generated library defines one `const struct tflash_model`. Its functions use one static arena: one inference
 * at a time, from one thread. Pointers from input() and output() stay valid for the life of the program; after
 * invoke() the inputs may have been overwritten, write all of them before the next one. */
#ifndef TFLASH_MODEL_H
#define TFLASH_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_dtype {
  TFLASH_INT8 = 0,
  TFLASH_UINT8 = 1,
  TFLASH_INT16 = 2,
  TFLASH_INT32 = 3,
  TFLASH_FLOAT32 = 4,
  TFLASH_BOOL = 5,
  TFLASH_INT64 = 6
};

#define TFLASH_MAX_RANK 8

/* A model input or output: real = scale * (code - zero_point); scale is 0 where there is no quantization. */
struct tflash_tensor {
  const char *name;
  uint8_t dtype; /* enum tflash_dtype */
  uint8_t rank;
  uint32_t shape[TFLASH_MAX_RANK];
  uint32_t bytes;
  float scale;
  int32_t zero_point;
};

enum tflash_status {
  TFLASH_OK = 0,
  TFLASH_ERROR_INIT = 1,
  TFLASH_ERROR_INVOKE = 2
};

struct tflash_model {
  const char *name;
  const char *runtime;   /* "aot" or "tflm" */
  uint8_t sha256[32];    /* of the .tflite file */
  uint32_t arena_bytes;  /* reserved */
  uint16_t layer_count;  /* layers that a trace build shows */
  uint8_t input_count;
  uint8_t output_count;
  const struct tflash_tensor *inputs;
  const struct tflash_tensor *outputs;
  /* Makes the model ready, and forgets all state. Returns enum tflash_status. */
  int (*init)(void);
  /* Runs one inference. Returns enum tflash_status. */
  int (*invoke)(void);
  void *(*input)(uint8_t index);
  const void *(*output)(uint8_t index);
  /* Bytes of the arena in use after init(); equal to arena_bytes where the plan is made at compile time. */
  uint32_t (*arena_used_bytes)(void);
};

#ifdef TFLASH_TRACE
/* Defined by the firmware of a trace build; called with each layer's output just after it was computed.
 * layer counts from 0 in the order of computation, and the bytes are valid only during the call. */
void tflash_layer(uint16_t layer, const void *data, uint32_t bytes);
#define TFLASH_LAYER(layer, data, bytes) tflash_layer((layer), (data), (bytes))
#else
#define TFLASH_LAYER(layer, data, bytes) ((void)0)
#endif

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MODEL_H */
