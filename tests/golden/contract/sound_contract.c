/* What goes into sound and what comes out of it. Written by tensorflash 0.1.0. Do not edit. */
#include "sound_contract.h"

#include "kernels/preprocess_affine.h"

static const float scale[] = {3.0517578e-05f};
static const float offset[] = {0.0e+00f};

static const struct tflash_preprocess_affine_params params = {
    .places = 4,
    .channels = 1,
    .place_stride = 1,
    .channel_stride = 1,
    .raw_type = TFLASH_PREPROCESS_S16,
    .output_type = TFLASH_PREPROCESS_F32,
    .scale = scale,
    .offset = offset,
    .input_scale = 1.0e+00f,
    .zero_point = 0,
};

void sound_preprocess(const int16_t *raw, float *input) {
  tflash_preprocess_affine(&params, raw, input);
}

const char *const sound_labels[SOUND_LABELS] = {
    "one",
    "quote\042",
    "back\134slash",
    "\303\274\077",
};
