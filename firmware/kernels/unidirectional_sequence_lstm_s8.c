/* Long short-term memory over a sequence, int8 in, int8 out, int16 inside. In each step, for each unit u:
 *   sum(g)  = saturate(saturate(requant(bias[g][u] + sum_i (input[i] + input_offset) * input_weights[g][u][i]))
 *             + saturate(requant(sum_j (hidden[j] - hidden_zero) * hidden_weights[g][u][j])))           Q3.12
 *   i, f, o = sigmoid(sum(input)), sigmoid(sum(forget)), sigmoid(sum(output)), c = tanh(sum(cell))      Q0.15
 *   cell'   = clip(saturate(saturate(requant(f * cell)) + saturate(requant(i * c))))
 *   hidden' = output = saturate(requant(o * tanh(cell')) + hidden_zero)
 *   input    [batches][steps][inputs]  int8, or [steps][batches][inputs]
 *   hidden   [batches][units]          int8, state
 *   cell     [batches][units]          int16, state; its scale is a power of two
 *   output   [batches][steps][units]   int8, or [steps][batches][units]
 * Bit-exact with: TFLM's UNIDIRECTIONAL_SEQUENCE_LSTM reference kernel (double rounding).
 * Overflow: aot/ops/unidirectional_sequence_lstm.py proves that all sums fit int32; products of int16 do.
 * Scratch: none: a step's output holds the new hidden state while the old one is still read. No overlap. */
#include "unidirectional_sequence_lstm_s8.h"

#include <string.h>

#include "requant.h"
#include "sigmoid_s16.h"

enum { INPUT_GATE, FORGET_GATE, CELL_GATE, OUTPUT_GATE };

static int32_t saturate(int32_t value) { return tflash_clamp(value, INT16_MIN, INT16_MAX); }

static int32_t gate_sum(const struct tflash_unidirectional_sequence_lstm_s8_params *p, int32_t gate, int32_t unit,
                        const int8_t *input, const int8_t *hidden) {
  const int32_t row = gate * p->units + unit;
  const int8_t *w = p->input_weights + row * p->inputs;
  int32_t acc = p->bias[row];
  for (int32_t i = 0; i < p->inputs; ++i) {
    acc += w[i] * (input[i] + p->input_offset);
  }
  const int32_t from_input = saturate(tflash_requantize(acc, p->input_multipliers[gate], p->input_shifts[gate]));
  w = p->hidden_weights + row * p->units;
  acc = 0;
  for (int32_t j = 0; j < p->units; ++j) {
    acc += w[j] * (hidden[j] - p->hidden_zero);
  }
  const int32_t from_hidden = saturate(tflash_requantize(acc, p->hidden_multipliers[gate], p->hidden_shifts[gate]));
  return saturate(from_input + from_hidden);
}

static void step(const struct tflash_unidirectional_sequence_lstm_s8_params *p, const int8_t *input,
                 const int8_t *hidden, int16_t *cell, int8_t *output) {
  const int32_t round = p->tanh_shift > 0 ? INT32_C(1) << (p->tanh_shift - 1) : 0;
  for (int32_t u = 0; u < p->units; ++u) {
    const int32_t i = tflash_sigmoid_s16(p->sigmoid, 3 * gate_sum(p, INPUT_GATE, u, input, hidden));
    const int32_t f = tflash_sigmoid_s16(p->sigmoid, 3 * gate_sum(p, FORGET_GATE, u, input, hidden));
    const int32_t c = tflash_tanh_s16(p->sigmoid, 3 * gate_sum(p, CELL_GATE, u, input, hidden));
    const int32_t o = tflash_sigmoid_s16(p->sigmoid, 3 * gate_sum(p, OUTPUT_GATE, u, input, hidden));
    const int32_t kept = saturate(tflash_requantize(f * cell[u], p->forget_multiplier, p->forget_shift));
    const int32_t added = saturate(tflash_requantize(i * c, p->update_multiplier, p->update_shift));
    cell[u] = (int16_t)tflash_clamp(saturate(kept + added), -p->cell_clip, p->cell_clip);
    const int32_t squashed = tflash_tanh_s16(p->sigmoid, (cell[u] * p->tanh_multiplier + round) >> p->tanh_shift);
    const int32_t result = tflash_requantize(squashed * o, p->output_multiplier, p->output_shift) + p->hidden_zero;
    output[u] = (int8_t)tflash_clamp(result, INT8_MIN, INT8_MAX);
  }
}

void tflash_unidirectional_sequence_lstm_s8(const struct tflash_unidirectional_sequence_lstm_s8_params *p,
                                            const int8_t *input, int8_t *hidden, int16_t *cell, int8_t *output) {
  const int32_t batch = p->time_major != 0 ? 1 : p->steps; /* rows from one to the next */
  const int32_t time = p->time_major != 0 ? p->batches : 1;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t t = 0; t < p->steps; ++t) {
      const int32_t row = b * batch + t * time;
      int8_t *now = output + row * p->units;
      step(p, input + row * p->inputs, hidden, cell, now);
      memcpy(hidden, now, (size_t)p->units);
    }
    hidden += p->units;
    cell += p->units;
  }
}
