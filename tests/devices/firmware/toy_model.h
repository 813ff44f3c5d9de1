/* A model that is small enough to be computed by a test, with what makes a protocol stumble: two inputs and three
 * outputs of several frames, an input that is overwritten by invoke(), a state that counts how often it was run. */
#ifndef TOY_MODEL_H
#define TOY_MODEL_H

#include "model.h"

extern const struct tflash_model toy_model;

#endif /* TOY_MODEL_H */
