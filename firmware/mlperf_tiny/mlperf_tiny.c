#include "mlperf_tiny.h"

#include <stdbool.h>
#include <string.h>

#include "port.h"
#include "round_float.h"

#define MAX_COMMAND 80u
#define PIXEL_OFFSET 0x80u
#define PROFILE "ULPMark for tinyML Firmware V0.0.1" /* the runner looks for this very text */

static struct {
  const struct tflash_model *model;
  const struct tflash_mlperf_tiny *setup;
  bool ready;    /* init() succeeded */
  bool loading;  /* a "db load" is not complete yet */
  bool answered; /* the outputs are those of the last "infer" */
  uint32_t loaded;
  char command[MAX_COMMAND + 1];
  size_t length;
  bool too_long;
  uint64_t time_us;
  uint32_t last_us;
} mlperf;

/* --- text ----------------------------------------------------------------------------------------------------- */

static void say(const char *text) { tflash_port_write((const uint8_t *)text, strlen(text)); }

static void say_number(uint64_t number) {
  char text[21] = {0};
  char *digit = text + sizeof text - 1;
  do {
    *--digit = (char)('0' + (char)(number % 10u));
    number /= 10u;
  } while (number > 0);
  say(digit);
}

static void say_byte(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  const char text[3] = {digits[byte >> 4], digits[byte & 15u], '\0'};
  say(text);
}

static void say_line(const char *before, uint64_t number, const char *after) {
  say(before);
  say_number(number);
  say(after);
}

/* As printf's "%.3f": the product is exact in double, and ties go to the even digit. */
static void say_real(float value) {
  const double thousands = (double)value * 1000.0;
  const double size = thousands < 0.0 ? -thousands : thousands;
  if (!(size < 1e15)) {
    say(size >= 1e15 ? "inf" : "nan");
    return;
  }
  uint64_t whole = (uint64_t)size;
  const double rest = size - (double)whole;
  if (rest > 0.5 || (rest == 0.5 && whole % 2u == 1u)) whole++;
  if (value < 0.0f) say("-");
  say_number(whole / 1000u);
  const char digits[5] = {'.', (char)('0' + (char)(whole / 100u % 10u)), (char)('0' + (char)(whole / 10u % 10u)),
                          (char)('0' + (char)(whole % 10u)), '\0'};
  say(digits);
}

/* --- time ----------------------------------------------------------------------------------------------------- */

/* Microseconds, beyond 32 bits as long as this is called once in 71 minutes. */
static uint64_t now_us(void) {
  const uint32_t time = tflash_port_micros();
  mlperf.time_us += time - mlperf.last_us;
  mlperf.last_us = time;
  return mlperf.time_us;
}

static void say_lap(void) { say_line("m-lap-us-", now_us(), "\r\n"); }

/* --- inference ------------------------------------------------------------------------------------------------ */

static float feature(uint32_t index) {
  float value;
  memcpy(&value, mlperf.setup->data + index * sizeof value, sizeof value);
  return value;
}

/* round(value / scale) + zero_point, ties away from zero, clamped. */
static int8_t quantized(float value, const struct tflash_tensor *spec) {
  const int32_t code = tflash_round_float(value / spec->scale) + spec->zero_point;
  return (int8_t)(code < INT8_MIN ? INT8_MIN : code > INT8_MAX ? INT8_MAX : code);
}

static float output_value(uint32_t index) {
  const struct tflash_tensor *spec = mlperf.model->outputs;
  const int8_t *codes = (const int8_t *)mlperf.model->output(0);
  return (float)(codes[index] - spec->zero_point) * spec->scale;
}

static void say_results(void) {
  if (!mlperf.answered) {
    say("e-[There is no result: infer comes first]\r\n");
    return;
  }
  const uint32_t count = mlperf.model->outputs[0].bytes;
  say("m-results-[");
  if (mlperf.setup->input == TFLASH_MLPERF_FEATURES) {
    float sum = 0.0f;
    for (uint32_t i = 0; i < count; i++) {
      const float difference = output_value(i) - feature(i);
      sum += difference * difference;
    }
    say_real(sum / (float)count);
  } else {
    for (uint32_t i = 0; i < count; i++) {
      if (i > 0) say(",");
      say_real(output_value(i));
    }
  }
  say("]\r\n");
}

/* The input is written before each inference, because an inference may use its memory. */
static bool run(uint32_t count) {
  const struct tflash_model *model = mlperf.model;
  for (uint32_t i = 0; i < count; i++) {
    memcpy(model->input(0), mlperf.setup->codes, model->inputs[0].bytes);
    if (model->invoke() != TFLASH_OK) {
      say("e-[The inference failed]\r\n");
      return false;
    }
    (void)now_us();
  }
  return true;
}

static void infer(uint32_t count, uint32_t warmups) {
  if (!mlperf.ready) {
    say("e-[The model could not be made ready]\r\n");
    return;
  }
  if (mlperf.loaded != mlperf.setup->data_bytes) {
    say_line("e-[Of the input ", mlperf.loaded, "");
    say_line(" bytes are loaded, expected ", mlperf.setup->data_bytes, "]\r\n");
    return;
  }
  if (mlperf.setup->input == TFLASH_MLPERF_FEATURES) {
    for (uint32_t i = 0; i < mlperf.model->inputs[0].bytes; i++) {
      mlperf.setup->codes[i] = quantized(feature(i), mlperf.model->inputs);
    }
  }
  mlperf.answered = false;
  say_line("m-warmup-start-", warmups, "\r\n");
  tflash_port_flush();
  if (!run(warmups)) return;
  say_line("m-warmup-done\r\nm-infer-start-", count, "\r\n");
  tflash_port_flush(); /* what is said from here on waits until the time is taken */
  say_lap();
  if (!run(count)) return;
  say_lap();
  say("m-infer-done\r\n");
  mlperf.answered = true;
  say_results();
}

/* --- the input's bytes ---------------------------------------------------------------------------------------- */

/* What turns a byte of the host into a code, and back. */
static uint8_t flip(void) { return mlperf.setup->input == TFLASH_MLPERF_PIXELS ? PIXEL_OFFSET : 0u; }

static void load(uint32_t bytes) {
  mlperf.loaded = 0;
  mlperf.answered = false;
  mlperf.loading = bytes == mlperf.setup->data_bytes;
  if (mlperf.loading) {
    say_line("m-[Expecting ", bytes, " bytes]\r\n");
  } else {
    say_line("e-[This model takes ", mlperf.setup->data_bytes, " bytes]\r\n");
  }
}

static void print_data(void) {
  for (uint32_t i = 0; i < mlperf.loaded; i++) {
    say(i % 8u == 0 ? "m-buffer-" : "-");
    say_byte(mlperf.setup->data[i] ^ flip());
    if (i % 8u == 7u || i + 1u == mlperf.loaded) say("\r\n");
  }
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* All bytes of a command are stored, or none. */
static void store(const char *hex) {
  const size_t digits = strlen(hex);
  if (!mlperf.loading) {
    say("e-[No bytes are expected: db load comes first]\r\n");
    return;
  }
  for (size_t i = 0; i < digits; i++) {
    if (digit(hex[i]) < 0) {
      say("e-[Invalid hex digit]\r\n");
      return;
    }
  }
  if (digits % 2u != 0) {
    say("e-[Insufficient number of hex digits]\r\n");
    return;
  }
  if (digits / 2u > mlperf.setup->data_bytes - mlperf.loaded) {
    say("e-[More bytes than expected]\r\n");
    return;
  }
  for (size_t i = 0; i < digits; i += 2) {
    const uint8_t byte = (uint8_t)(digit(hex[i]) << 4 | digit(hex[i + 1]));
    mlperf.setup->data[mlperf.loaded++] = byte ^ flip();
  }
  if (mlperf.loaded == mlperf.setup->data_bytes) {
    mlperf.loading = false;
    say("m-load-done\r\n");
  }
}

/* --- commands ------------------------------------------------------------------------------------------------- */

/* The next word, ended by a zero, or NULL; `at` moves behind it. */
static char *next_word(char **at) {
  while (**at == ' ') ++*at;
  if (**at == '\0') return NULL;
  char *word = *at;
  while (**at != '\0' && **at != ' ') ++*at;
  if (**at == ' ') *(*at)++ = '\0';
  return word;
}

/* A decimal number of at most 9 digits; false where the word is none. */
static bool read_number(const char *word, uint32_t *number) {
  *number = 0;
  size_t digits = 0;
  for (; word[digits] >= '0' && word[digits] <= '9' && digits < 9; digits++) {
    *number = 10u * *number + (uint32_t)(word[digits] - '0');
  }
  return digits > 0 && word[digits] == '\0';
}

static void database(char **at) {
  const char *word = next_word(at);
  if (word == NULL) {
    say("e-[Command 'db' requires a subcommand]\r\n");
  } else if (strcmp(word, "print") == 0) {
    print_data();
  } else if (strcmp(word, "load") == 0) {
    uint32_t bytes = 0;
    word = next_word(at);
    if (word == NULL || !read_number(word, &bytes)) {
      say("e-[Command 'db load' requires the # of bytes]\r\n");
    } else {
      load(bytes);
    }
  } else {
    store(word);
  }
}

static void infer_command(char **at) {
  uint32_t count = 1;
  uint32_t warmups = 10;
  const char *word = next_word(at);
  if (word != NULL && (!read_number(word, &count) || count == 0)) {
    say("e-[Inference iterations must be >0]\r\n");
    return;
  }
  word = next_word(at);
  if (word != NULL && !read_number(word, &warmups)) {
    say("e-[Inference warmup must be >=0]\r\n");
    return;
  }
  infer(count, warmups);
}

static void help(void) {
  say(PROFILE "\r\n\r\n"
      "help          : print this\r\n"
      "name          : print the board's name\r\n"
      "profile       : print the profile and the benchmark\r\n"
      "timestamp     : print the time in microseconds\r\n"
      "db load N     : expect N bytes of input\r\n"
      "db HH[HH]*    : take these bytes, in hex\r\n"
      "db print      : print the bytes that were taken\r\n"
      "infer [N [W]] : N inferences (1) after W that are not timed (10)\r\n"
      "results       : print the last results\r\n");
}

static void unknown(const char *word) {
  say("e-[Unknown command: ");
  for (; *word != '\0'; word++) {
    const char shown[2] = {*word >= ' ' && *word <= '~' ? *word : '?', '\0'};
    say(shown);
  }
  say("]\r\n");
}

static void execute(void) {
  char *at = mlperf.command;
  const char *word = next_word(&at);
  if (mlperf.too_long) {
    say("e-[A command has at most 80 characters]\r\n");
  } else if (word == NULL) {
    unknown("");
  } else if (strcmp(word, "db") == 0) {
    database(&at);
  } else if (strcmp(word, "infer") == 0) {
    infer_command(&at);
  } else if (strcmp(word, "results") == 0) {
    say_results();
  } else if (strcmp(word, "name") == 0) {
    say("m-name-dut-[");
    say(mlperf.setup->board);
    say("]\r\n");
  } else if (strcmp(word, "profile") == 0) {
    say("m-profile-[" PROFILE "]\r\nm-model-[");
    say(mlperf.setup->benchmark);
    say("]\r\n");
  } else if (strcmp(word, "timestamp") == 0) {
    say_lap();
  } else if (strcmp(word, "help") == 0) {
    help();
  } else {
    unknown(word);
  }
  say("m-ready\r\n");
}

static void take(char c) {
  if (c == '%') {
    mlperf.command[mlperf.length] = '\0';
    execute();
    mlperf.length = 0;
    mlperf.too_long = false;
  } else if (c == '\r' || c == '\n' || c == '\0') {
    return; /* a terminal's line ends, and a line that was just opened */
  } else if (mlperf.length < MAX_COMMAND) {
    mlperf.command[mlperf.length++] = c;
  } else {
    mlperf.too_long = true;
  }
}

int tflash_mlperf_tiny_serve(const struct tflash_model *model, const struct tflash_mlperf_tiny *setup) {
  memset(&mlperf, 0, sizeof mlperf);
  mlperf.model = model;
  mlperf.setup = setup;
  mlperf.last_us = tflash_port_micros();
  mlperf.ready = model->init() == TFLASH_OK;
  say("m-timestamp-mode-performance\r\n");
  say_lap();
  say("m-init-done\r\nm-ready\r\n");
  for (;;) {
    uint8_t chunk[64];
    const size_t count = tflash_port_read(chunk, sizeof chunk);
    if (count == 0) return 0;
    for (size_t i = 0; i < count; i++) take((char)chunk[i]);
  }
}
