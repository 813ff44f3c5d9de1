/* tiny_net.tflite for TensorFlow Lite Micro, by tensorflash 0.1.0. Do not edit.
 * sha256 5fc3a7ef2954d17ad1ca22e9ffbd783d327f00eb6e111e52a28a795f20c43c14
 * made by made for a test */
#include "tiny_net_model.h"

#include <new>

#include "tiny_net_arena.h"
#include "tiny_net_model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

/* Which generation of TFLM the project is built with, by the arguments of MicroInterpreter after the arena's size:
 *   0  error reporter, resource variables, profiler   (until 2022)
 *   1  resource variables, profiler                   (2022 to 2024)
 *   2  resource variables, profiler, preserve_all_tensors */
#ifndef TFLASH_TFLM_API
#define TFLASH_TFLM_API 2
#endif

#if TFLASH_TFLM_API == 0
#include "tensorflow/lite/micro/micro_error_reporter.h"
#endif

#if defined(TFLASH_TRACE) && TFLASH_TFLM_API < 2
#error "A trace build needs a TFLM that can keep all tensors: TFLASH_TFLM_API 2."
#endif

namespace {

using Resolver = tflite::MicroMutableOpResolver<2>;

#ifdef TFLASH_TRACE
constexpr uint32_t trace_bytes = 592u; /* to keep all tensors */
#else
constexpr uint32_t trace_bytes = 0u;
#endif

alignas(16) uint8_t arena[TINY_NET_ARENA_BYTES + trace_bytes];
alignas(Resolver) uint8_t resolver_memory[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) uint8_t interpreter_memory[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter *interpreter = nullptr;

bool add_ops(Resolver &resolver) {
  return resolver.AddFullyConnected() == kTfLiteOk &&
         resolver.AddRelu6() == kTfLiteOk;
}

tflite::MicroInterpreter *make_interpreter(const tflite::Model *model, const Resolver &resolver) {
#if TFLASH_TFLM_API == 0
  static tflite::MicroErrorReporter reporter;
  return new (interpreter_memory) tflite::MicroInterpreter(model, resolver, arena, sizeof arena, &reporter);
#elif TFLASH_TFLM_API == 1 || !defined(TFLASH_TRACE)
  return new (interpreter_memory) tflite::MicroInterpreter(model, resolver, arena, sizeof arena);
#else
  return new (interpreter_memory)
      tflite::MicroInterpreter(model, resolver, arena, sizeof arena, nullptr, nullptr, true);
#endif
}

#ifdef TFLASH_TRACE
struct layer {
  int tensor;
  uint32_t bytes;
};

const layer layers[] = {
    {3, 3u},
    {5, 3u},
    {4, 3u},
};
#endif

uint32_t arena_used_bytes() {
  return interpreter == nullptr ? 0u : static_cast<uint32_t>(interpreter->arena_used_bytes());
}

static const struct tflash_tensor inputs[] = {
    {"left", TFLASH_INT8, 2, {1, 4}, 4u, 1.0e-01f, -3},
    {"right", TFLASH_INT8, 2, {1, 4}, 4u, 2.0e-01f, 0},
};

static const struct tflash_tensor outputs[] = {
    {"first", TFLASH_INT8, 2, {1, 3}, 3u, 3.0e-01f, -4},
    {"second", TFLASH_INT8, 2, {1, 3}, 3u, 3.0e-01f, -4},
};

}  // namespace

extern "C" int tiny_net_init(void) {
  if (interpreter != nullptr) {
    interpreter->~MicroInterpreter();
    interpreter = nullptr;
  }
  const tflite::Model *model = tflite::GetModel(g_tiny_net_model_data);
  Resolver *resolver = new (resolver_memory) Resolver();
  if (model->version() != TFLITE_SCHEMA_VERSION || !add_ops(*resolver)) {
    return TFLASH_ERROR_INIT;
  }
  tflite::MicroInterpreter *made = make_interpreter(model, *resolver);
  if (made->AllocateTensors() != kTfLiteOk) {
    made->~MicroInterpreter();
    return TFLASH_ERROR_INIT;
  }
  interpreter = made;
  return TFLASH_OK;
}

extern "C" int tiny_net_invoke(void) {
  if (interpreter == nullptr || interpreter->Invoke() != kTfLiteOk) {
    return TFLASH_ERROR_INVOKE;
  }
#ifdef TFLASH_TRACE
  uint16_t number = 0;
  for (const layer &shown : layers) {
    const TfLiteEvalTensor *tensor = interpreter->GetTensor(shown.tensor);
    if (tensor == nullptr || tensor->data.data == nullptr) {
      return TFLASH_ERROR_INVOKE;
    }
    TFLASH_LAYER(number, tensor->data.data, shown.bytes);
    ++number;
  }
#endif
  return TFLASH_OK;
}

extern "C" void *tiny_net_input(uint8_t index) {
  if (interpreter == nullptr || index >= 2u) {
    return nullptr;
  }
  return interpreter->input(index)->data.data;
}

extern "C" const void *tiny_net_output(uint8_t index) {
  if (interpreter == nullptr || index >= 2u) {
    return nullptr;
  }
  return interpreter->output(index)->data.data;
}

const struct tflash_model tiny_net_model = {
    "tiny_net",
    "tflm",
    {0x5f, 0xc3, 0xa7, 0xef, 0x29, 0x54, 0xd1, 0x7a, 0xd1, 0xca, 0x22, 0xe9, 0xff, 0xbd, 0x78, 0x3d, 0x32, 0x7f, 0x00, 0xeb, 0x6e, 0x11, 0x1e, 0x52, 0xa2, 0x8a, 0x79, 0x5f, 0x20, 0xc4, 0x3c, 0x14},
    sizeof arena,
    3,
    2,
    2,
    inputs,
    outputs,
    tiny_net_init,
    tiny_net_invoke,
    tiny_net_input,
    tiny_net_output,
    arena_used_bytes,
};
