/* Filters on one window of int8 codes: what CONV_2D and FULLY_CONNECTED have in common.
 *   output[o - begin] = clamp(requant(bias[o] + sum (input[i] + input_offset) * weights[o * size + w]) + output_offset)
 *   for o in begin..end - 1, over all plane, run and k:
 *   i = plane * plane_input_step + run * run_input_step + k, w = first + plane * plane_filter_step + .., k likewise
 *   weights  int8, symmetric
 * Overflow: the callers' proof.
 * Scratch: none. The window is read for 16 outputs before they are written.
 *
 * Four filters share each code: its load, the addition of the offset, four loads of weights, four products. Unrolled by
 * four, a product takes 2.7 instructions on Armv7-M, whose MLA adds it and whose loads move the pointers, 3.9 on RV32IM
 * and, by hand, 4 on Armv6-M; in C an offset of 0 saves a quarter of one. One filter at a time would take 6, 8 and 7.
 * More than four find no registers on Arm. */
#include "filters_s8.h"

#define TFLASH_INT4_WEIGHTS 0
#define TFLASH_BODY void tflash_filters_s8
#include "filters_body.h"
