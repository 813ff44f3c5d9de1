/* Bilinear resizing of height and width, int8 in, int8 out.
 *   v = start_y + y * step_y, u = start_x + x * step_x           in 1/1024 of an input position
 *   output[b][y][x][c] = round(bilinear interpolation of input[b][..][..][c] at v / 1024, u / 1024), ties away from 0
 *   input    [batches][input_height][input_width][channels]      int8
 *   output   [batches][output_height][output_width][channels]    int8, quantized as the input
 * Bit-exact with: TFLM's RESIZE_BILINEAR reference kernel for integers.
 * Overflow: the weights of the four neighbours add up to 2^20; each is below 2.25 * 2^20, so 128 times that fits int32.
 *   aot/ops/resize.py proves that v and u fit and stay inside the input.
 * Scratch: none. Input and output must not overlap. */
#include "resize_bilinear_s8.h"

/* The positions before and after, and how far behind the first it lies, in 1/1024. */
struct between {
  int32_t first;
  int32_t second;
  int32_t far;
};

static struct between between_of(int32_t at, int32_t size) {
  struct between r;
  r.first = at / 1024; /* 0 also where it lies before the first */
  r.second = (at + 1023) / 1024;
  if (r.second > size - 1) {
    r.second = size - 1;
  }
  r.far = at - r.first * 1024;
  return r;
}

void tflash_resize_bilinear_s8(const struct tflash_resize_bilinear_s8_params *p, const int8_t *input, int8_t *output) {
  const int32_t input_row = p->input_width * p->channels;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const struct between v = between_of(p->start_y + y * p->step_y, p->input_height);
      const int8_t *upper = input + v.first * input_row;
      const int8_t *lower = input + v.second * input_row;
      for (int32_t x = 0; x < p->output_width; ++x) {
        const struct between u = between_of(p->start_x + x * p->step_x, p->input_width);
        const int32_t left = u.first * p->channels;
        const int32_t right = u.second * p->channels;
        const int32_t upper_left = (1024 - v.far) * (1024 - u.far);
        const int32_t lower_left = v.far * (1024 - u.far);
        const int32_t upper_right = (1024 - v.far) * u.far;
        const int32_t lower_right = v.far * u.far;
        for (int32_t c = 0; c < p->channels; ++c) {
          const int32_t sum = upper[left + c] * upper_left + lower[left + c] * lower_left +
                              upper[right + c] * upper_right + lower[right + c] * lower_right;
          const int32_t half = INT32_C(1) << 19;
          *output++ = (int8_t)((sum + (sum > 0 ? half : -half)) / (INT32_C(1) << 20));
        }
      }
    }
    input += p->input_height * input_row;
  }
}
