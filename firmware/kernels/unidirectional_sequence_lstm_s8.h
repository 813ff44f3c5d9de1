/* Long short-term memory, int8. The contract is in unidirectional_sequence_lstm_s8.c. */
#ifndef TFLASH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H
#define TFLASH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Arrays of four are for the input, forget, cell and output gate. */
struct tflash_unidirectional_sequence_lstm_s8_params {
  int32_t batches;
  int32_t steps;
  int32_t inputs;
  int32_t units;
  int32_t time_major; /* 1: input and output are [steps][batches][..], 0: [batches][steps][..] */
  int32_t input_offset; /* -zero point of the input */
  int32_t hidden_zero;  /* zero point of hidden state and output */
  int32_t input_multipliers[4];
  int32_t input_shifts[4];
  int32_t hidden_multipliers[4];
  int32_t hidden_shifts[4];
  int32_t forget_multiplier;
  int32_t forget_shift;
  int32_t update_multiplier;
  int32_t update_shift;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t cell_clip; /* 32768: none */
  int32_t tanh_multiplier; /* of the cell state: 3 * cell scale in Q3.12, as multiplier / 2^tanh_shift */
  int32_t tanh_shift;
  const int8_t *input_weights;  /* [4][units][inputs] */
  const int8_t *hidden_weights; /* [4][units][units] */
  const int32_t *bias;          /* [4][units] */
  const int16_t *sigmoid;       /* [256], of sigmoid_s16.h */
};

void tflash_unidirectional_sequence_lstm_s8(const struct tflash_unidirectional_sequence_lstm_s8_params *p,
                                            const int8_t *input, int8_t *hidden, int16_t *cell, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H */
