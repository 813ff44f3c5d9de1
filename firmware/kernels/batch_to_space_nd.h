/* An image from a batch of its strided parts, of any type. The contract is in batch_to_space_nd.c. */
#ifndef TFLASH_BATCH_TO_SPACE_ND_H
#define TFLASH_BATCH_TO_SPACE_ND_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_batch_to_space_nd_params {
  int32_t batches; /* of the output, as height and width */
  int32_t height;
  int32_t width;
  int32_t pixel_bytes;
  int32_t block_height;
  int32_t block_width;
  int32_t top;          /* rows that are cropped above */
  int32_t left;         /* columns that are cropped on the left */
  int32_t input_height; /* of one of the block_height * block_width parts of an image */
  int32_t input_width;
};

void tflash_batch_to_space_nd(const struct tflash_batch_to_space_nd_params *p, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_BATCH_TO_SPACE_ND_H */
