"""A hand-made Export: out[i] = in[i] + i + 1, 16 int8 codes."""

from __future__ import annotations

from pathlib import Path

from pipeline.model import Export, Layer, QuantizedModel, TensorSpec

HEADER = b"""#ifndef TOY_H
#define TOY_H
#include "model.h"
extern const struct tflash_model toy_model;
#endif
"""

CODE = """#include "toy.h"
#include "kernels/add_table.h"
static int8_t arena[ARENA_BYTES];
static const int8_t table[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static int toy_init(void) { return TFLASH_OK; }
static int toy_invoke(void) {
  add_table(arena, table, arena + 16);
  TFLASH_LAYER(0, arena + 16, 16u);
  return TFLASH_OK;
}
static void *toy_input(uint8_t index) { return index == 0 ? arena : NULL; }
static const void *toy_output(uint8_t index) { return index == 0 ? arena + 16 : NULL; }
static uint32_t used(void) { return sizeof arena; }
static const struct tflash_tensor inputs[] = {{"in", TFLASH_INT8, 2, {1, 16}, 16u, 0.5f, 3}};
static const struct tflash_tensor outputs[] = {{"out", TFLASH_INT8, 2, {1, 16}, 16u, 0.5f, 0}};
const struct tflash_model toy_model = {
    .name = "toy", .runtime = "aot", .sha256 = {0x5e}, .arena_bytes = sizeof arena, .layer_count = 1,
    .input_count = 1, .output_count = 1, .inputs = inputs, .outputs = outputs, .init = toy_init,
    .invoke = toy_invoke, .input = toy_input, .output = toy_output, .arena_used_bytes = used};
"""

KERNEL_HEADER = b"""#ifndef ADD_TABLE_H
#define ADD_TABLE_H
#include <stdint.h>
void add_table(const int8_t *input, const int8_t *table, int8_t *output);
void never_called(int8_t *output);
#endif
"""

KERNEL = b"""#include "add_table.h"
void add_table(const int8_t *input, const int8_t *table, int8_t *output) {
  for (int i = 0; i < 16; i++) output[i] = (int8_t)(input[i] + table[i]);
}
void never_called(int8_t *output) { output[0] = 1; }
"""


def toy_export(
    *, arena_bytes: int = 32, name: str = "toy", symbol: str = "toy_model", tensor: str = "in", code: str = CODE
) -> Export:
    files = {
        "toy.h": HEADER,
        "toy.c": code.replace("ARENA_BYTES", str(arena_bytes)).encode(),
        "kernels/add_table.c": KERNEL,
        "kernels/add_table.h": KERNEL_HEADER,
    }
    return Export(
        runtime="aot",
        model=QuantizedModel(
            path=Path("toy.tflite"),
            sha256="5e" + "0" * 62,
            name=name,
            inputs=(TensorSpec(tensor, (1, 16), "int8", 0.5, 3),),
            outputs=(TensorSpec("out", (1, 16), "int8", 0.5, 0),),
        ),
        symbol=symbol,
        header="toy.h",
        files=files,
        arena_bytes=arena_bytes,
        arena_lower_bound=32,
        constant_bytes=16,
        weights_bytes=16,
        macs=0,
        kernels=(),
        layers=(Layer(0, "ADD", 1, "out", (1, 16), "int8", 16),),
    )
