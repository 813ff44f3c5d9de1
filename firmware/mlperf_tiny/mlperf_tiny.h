/* The device's side of MLPerf Tiny's serial protocol, as mlcommons/tiny's runner speaks it (benchmark/api there, version
 * 1.x): commands that end in '%', answers that end in a line "m-ready". docs/hardware.md says how to run it. */
#ifndef TFLASH_MLPERF_TINY_H
#define TFLASH_MLPERF_TINY_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_mlperf_input {
  TFLASH_MLPERF_CODES = 0,   /* a byte an element: the model's int8 code */
  TFLASH_MLPERF_PIXELS = 1,  /* a byte an element, 0..255: the code is 128 less */
  TFLASH_MLPERF_FEATURES = 2 /* a float32 an element; the result is the mean squared error of the reconstruction */
};

/* One benchmark: kws01, vww01, ic01 or ad01, and where its input lies. */
struct tflash_mlperf_tiny {
  const char *benchmark;
  const char *board;
  enum tflash_mlperf_input input;
  uint8_t *data;       /* what the host sends */
  uint32_t data_bytes;
  int8_t *codes;       /* the model's whole input; `data` itself unless that is FEATURES */
};

/* Answers the runner until the port's stream ends (on a board: never), then returns 0. Call tflash_port_init() before,
 * and call this once: it has one static state of about 150 bytes, and calls model->init() itself. */
int tflash_mlperf_tiny_serve(const struct tflash_model *model, const struct tflash_mlperf_tiny *setup);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MLPERF_TINY_H */
