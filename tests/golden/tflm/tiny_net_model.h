/* tiny_net.tflite for TensorFlow Lite Micro, by tensorflash 0.1.0. Do not edit.
 * sha256 5fc3a7ef2954d17ad1ca22e9ffbd783d327f00eb6e111e52a28a795f20c43c14
 * made by made for a test */
#ifndef TINY_NET_MODEL_H
#define TINY_NET_MODEL_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* left: int8 [1, 4] */
#define TINY_NET_INPUT_0_ELEMENTS 4u
#define TINY_NET_INPUT_0_BYTES 4u
#define TINY_NET_INPUT_0_SCALE 1.0e-01f
#define TINY_NET_INPUT_0_ZERO_POINT (-3)

/* right: int8 [1, 4] */
#define TINY_NET_INPUT_1_ELEMENTS 4u
#define TINY_NET_INPUT_1_BYTES 4u
#define TINY_NET_INPUT_1_SCALE 2.0e-01f
#define TINY_NET_INPUT_1_ZERO_POINT (0)

/* first: int8 [1, 3] */
#define TINY_NET_OUTPUT_0_ELEMENTS 3u
#define TINY_NET_OUTPUT_0_BYTES 3u
#define TINY_NET_OUTPUT_0_SCALE 3.0e-01f
#define TINY_NET_OUTPUT_0_ZERO_POINT (-4)

/* second: int8 [1, 3] */
#define TINY_NET_OUTPUT_1_ELEMENTS 3u
#define TINY_NET_OUTPUT_1_BYTES 3u
#define TINY_NET_OUTPUT_1_SCALE 3.0e-01f
#define TINY_NET_OUTPUT_1_ZERO_POINT (-4)

extern const struct tflash_model tiny_net_model;

int tiny_net_init(void);
int tiny_net_invoke(void);
void *tiny_net_input(uint8_t index);
const void *tiny_net_output(uint8_t index);

#ifdef __cplusplus
}
#endif

#endif /* TINY_NET_MODEL_H */
