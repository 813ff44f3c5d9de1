/* digits.tflite, compiled by tensorflash. Do not edit.
 * sha256 8bba6d8a1e5a5a8aec4fb23763b8c887084f09af99a2818c0fa9df6afcbd21fc */
#ifndef DIGITS_CONSTANTS_H
#define DIGITS_CONSTANTS_H

#include <stdint.h>

extern const int8_t digits_quant_stem_weights[144];
extern const int32_t digits_quant_stem_multipliers[16];
extern const int8_t digits_quant_stem_shifts[16];
extern const int32_t digits_quant_stem_bias[16];
extern const int8_t digits_quant_down_depthwise_weights[144];
extern const int32_t digits_quant_down_depthwise_multipliers[16];
extern const int8_t digits_quant_down_depthwise_shifts[16];
extern const int32_t digits_quant_down_depthwise_bias[16];
extern const int8_t digits_quant_down_pointwise_weights[512];
extern const int32_t digits_quant_down_pointwise_multipliers[32];
extern const int8_t digits_quant_down_pointwise_shifts[32];
extern const int32_t digits_quant_down_pointwise_bias[32];
extern const int8_t digits_quant_residual_depthwise_weights[288];
extern const int32_t digits_quant_residual_depthwise_multipliers[32];
extern const int8_t digits_quant_residual_depthwise_shifts[32];
extern const int32_t digits_quant_residual_depthwise_bias[32];
extern const int8_t digits_quant_residual_pointwise_weights[1024];
extern const int32_t digits_quant_residual_pointwise_multipliers[32];
extern const int8_t digits_quant_residual_pointwise_shifts[32];
extern const int32_t digits_quant_residual_pointwise_bias[32];
extern const int8_t digits_quant_project_weights[1024];
extern const int32_t digits_quant_project_multipliers[32];
extern const int8_t digits_quant_project_shifts[32];
extern const int32_t digits_quant_project_bias[32];
extern const int8_t digits_quant_dense_weights[320];
extern const int32_t digits_quant_dense_multipliers[1];
extern const int8_t digits_quant_dense_shifts[1];
extern const int32_t digits_quant_dense_bias[10];

#endif
