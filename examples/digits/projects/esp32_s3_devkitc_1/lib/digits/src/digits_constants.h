/* digits.tflite, compiled by tensorflash. Do not edit.
 * sha256 8bba6d8a1e5a5a8aec4fb23763b8c887084f09af99a2818c0fa9df6afcbd21fc */
#ifndef DIGITS_CONSTANTS_H
#define DIGITS_CONSTANTS_H

#include <stdint.h>

extern const int8_t digits_0_weights[144];
extern const int32_t digits_0_multipliers[16];
extern const int8_t digits_0_shifts[16];
extern const int32_t digits_0_bias[16];
extern const int8_t digits_1_weights[144];
extern const int32_t digits_1_multipliers[16];
extern const int8_t digits_1_shifts[16];
extern const int32_t digits_1_bias[16];
extern const int8_t digits_2_weights[512];
extern const int32_t digits_2_multipliers[32];
extern const int8_t digits_2_shifts[32];
extern const int32_t digits_2_bias[32];
extern const int8_t digits_3_weights[288];
extern const int32_t digits_3_multipliers[32];
extern const int8_t digits_3_shifts[32];
extern const int32_t digits_3_bias[32];
extern const int8_t digits_4_weights[1024];
extern const int32_t digits_4_multipliers[32];
extern const int8_t digits_4_shifts[32];
extern const int32_t digits_4_bias[32];
extern const int8_t digits_5_weights[1024];
extern const int32_t digits_5_multipliers[32];
extern const int8_t digits_5_shifts[32];
extern const int32_t digits_5_bias[32];
extern const int8_t digits_8_weights[320];
extern const int32_t digits_8_multipliers[1];
extern const int8_t digits_8_shifts[1];
extern const int32_t digits_8_bias[10];

#endif
