#include "frames.h"

#include <stdbool.h>
#include <string.h>

#include "crc32.h"
#include "port.h"
#include "wire.h"

#define MAX_FRAME (TFLASH_WIRE_HEADER_BYTES + TFLASH_WIRE_MAX_PAYLOAD + TFLASH_WIRE_CRC_BYTES)

static struct {
  const struct tflash_model *model;
  const char *board;

  /* Bytes from the port, and the frame they are unpacked into. */
  uint8_t chunk[64];
  size_t chunk_at;
  size_t chunk_end;
  uint8_t request[MAX_FRAME];
  size_t request_length;
  uint8_t run;     /* bytes left of a COBS block */
  bool zero_due;   /* a zero comes before the next block */
  bool too_long;

  /* The request that was executed last, and its reply: a repetition is answered with it and not executed again. */
  bool in_session;
  uint8_t command;
  uint32_t sequence;
  uint32_t checksum;
  uint8_t reply[MAX_FRAME];

  bool ready;    /* init() succeeded */
  bool answered; /* the outputs are those of the last invoke */
  uint32_t written[TFLASH_WIRE_MAX_INPUTS]; /* the first bytes of each input, since the last invoke */

  /* A trace: invoke() is under way, paused inside tflash_layer. */
  bool tracing;
  bool paused;
  bool abandoned;
  bool profiling;
  uint32_t resumed; /* the counter when invoke() went on */
  const uint8_t *layer;
  uint32_t layer_bytes;
} frames;

static uint16_t get_u16(const uint8_t *from) { return (uint16_t)(from[0] | from[1] << 8); }

static uint32_t get_u32(const uint8_t *from) {
  return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint8_t *put_u16(uint8_t *to, uint16_t value) {
  to[0] = (uint8_t)(value & 0xffu);
  to[1] = (uint8_t)(value >> 8);
  return to + 2;
}

static uint8_t *put_u32(uint8_t *to, uint32_t value) {
  return put_u16(put_u16(to, (uint16_t)(value & 0xffffu)), (uint16_t)(value >> 16));
}

static size_t text_length(const char *text, size_t most) {
  size_t length = 0;
  while (length < most && text[length] != '\0') length++;
  return length;
}

static uint8_t *put_text(uint8_t *to, const char *text) {
  const size_t length = text_length(text, TFLASH_WIRE_MAX_TEXT);
  *to = (uint8_t)length;
  memcpy(to + 1, text, length);
  return to + 1 + length;
}

/* --- the line ------------------------------------------------------------------------------------------------- */

static void unpack(uint8_t byte) {
  if (frames.request_length < MAX_FRAME) {
    frames.request[frames.request_length++] = byte;
  } else {
    frames.too_long = true;
  }
}

static bool is_request(void) {
  const size_t least = TFLASH_WIRE_HEADER_BYTES + TFLASH_WIRE_CRC_BYTES;
  if (frames.run != 0 || frames.too_long || frames.request_length < least) return false;
  const size_t body = frames.request_length - TFLASH_WIRE_CRC_BYTES;
  return get_u16(frames.request + 6) == body - TFLASH_WIRE_HEADER_BYTES &&
         get_u32(frames.request + body) == tflash_crc32(frames.request, body) &&
         (frames.request[0] & TFLASH_WIRE_REPLY) == 0; /* a line that echoes brings our own replies back */
}

/* Waits for the next undamaged request; false when the stream has ended. What is damaged is dropped without a word:
 * the host asks again. */
static bool receive(void) {
  frames.request_length = 0;
  for (;;) {
    if (frames.chunk_at == frames.chunk_end) {
      frames.chunk_at = 0;
      frames.chunk_end = tflash_port_read(frames.chunk, sizeof frames.chunk);
      if (frames.chunk_end == 0) return false;
    }
    const uint8_t byte = frames.chunk[frames.chunk_at++];
    if (byte == 0) {
      const bool complete = is_request();
      frames.run = 0;
      frames.zero_due = false;
      frames.too_long = false;
      if (complete) return true;
      frames.request_length = 0;
    } else if (frames.run == 0) {
      if (frames.zero_due) unpack(0);
      frames.run = (uint8_t)(byte - 1);
      frames.zero_due = byte != 0xff;
    } else {
      unpack(byte);
      frames.run--;
    }
  }
}

static void send(const uint8_t *frame, size_t length) {
  const uint8_t delimiter = 0;
  tflash_port_write(&delimiter, 1);
  for (size_t at = 0;;) {
    uint8_t run = 0;
    while (run < 254 && at + run < length && frame[at + run] != 0) run++;
    const uint8_t code = (uint8_t)(run + 1);
    tflash_port_write(&code, 1);
    if (run > 0) tflash_port_write(frame + at, run);
    at += run;
    if (at == length) break;
    if (run < 254) at++; /* the zero that the code stands for */
  }
  tflash_port_write(&delimiter, 1);
}

static size_t reply_length(void) {
  return TFLASH_WIRE_HEADER_BYTES + get_u16(frames.reply + 6) + TFLASH_WIRE_CRC_BYTES;
}

/* Completes a frame around the payload that is in place, and sends it. */
static void finish(uint8_t *frame, uint8_t command, uint8_t status, uint32_t sequence, size_t payload_bytes) {
  frame[0] = command | TFLASH_WIRE_REPLY;
  frame[1] = status;
  put_u32(frame + 2, sequence);
  put_u16(frame + 6, (uint16_t)payload_bytes);
  const size_t body = TFLASH_WIRE_HEADER_BYTES + payload_bytes;
  put_u32(frame + body, tflash_crc32(frame, body));
  send(frame, body + TFLASH_WIRE_CRC_BYTES);
}

/* Answers the request that was executed last; `end` is just after the payload. */
static void reply(const uint8_t *end) {
  const size_t payload_bytes = (size_t)(end - frames.reply) - TFLASH_WIRE_HEADER_BYTES;
  finish(frames.reply, frames.command, TFLASH_WIRE_STATUS_OK, frames.sequence, payload_bytes);
}

static void refuse(enum tflash_wire_status status) {
  finish(frames.reply, frames.command, (uint8_t)status, frames.sequence, 0);
}

/* Turns a request away that is not executed: the last reply stays as it is. */
static void turn_away(enum tflash_wire_status status, size_t payload_bytes) {
  uint8_t frame[TFLASH_WIRE_HEADER_BYTES + 4 + TFLASH_WIRE_CRC_BYTES];
  put_u32(frame + TFLASH_WIRE_HEADER_BYTES, frames.sequence + 1u);
  finish(frame, frames.request[0], (uint8_t)status, get_u32(frames.request + 2), payload_bytes);
}

/* --- commands: each sends one reply ----------------------------------------------------------------------------- */

static void forget_inputs(void) {
  memset(frames.written, 0, sizeof frames.written);
  frames.answered = false;
}

static void hello(void) {
  const struct tflash_model *model = frames.model;
  forget_inputs();
  if (frames.paused) {
    frames.tracing = false;
    frames.abandoned = true;
  }
  if (model->input_count > TFLASH_WIRE_MAX_INPUTS) {
    refuse(TFLASH_WIRE_STATUS_UNSUPPORTED);
    return;
  }
  uint8_t flags = frames.ready ? TFLASH_WIRE_READY : 0;
#ifdef TFLASH_TRACE
  flags |= TFLASH_WIRE_TRACE_BUILD;
#endif
  uint8_t *to = frames.reply + TFLASH_WIRE_HEADER_BYTES;
  *to++ = TFLASH_WIRE_PROTOCOL;
  *to++ = flags;
  *to++ = (uint8_t)tflash_port_counter();
  *to++ = model->input_count;
  *to++ = model->output_count;
  to = put_u16(to, model->layer_count);
  to = put_u32(to, model->arena_bytes);
  memcpy(to, model->sha256, sizeof model->sha256);
  to += sizeof model->sha256;
  to = put_text(to, model->runtime);
  to = put_text(to, frames.board);
  reply(put_text(to, model->name));
}

static void tensor(const uint8_t *payload) {
  const bool is_output = payload[0] != 0;
  const uint8_t count = is_output ? frames.model->output_count : frames.model->input_count;
  if (payload[1] >= count) {
    refuse(TFLASH_WIRE_STATUS_BAD_TENSOR);
    return;
  }
  const struct tflash_tensor *spec = (is_output ? frames.model->outputs : frames.model->inputs) + payload[1];
  const uint8_t rank = spec->rank <= TFLASH_MAX_RANK ? spec->rank : TFLASH_MAX_RANK;
  uint32_t scale_bits;
  memcpy(&scale_bits, &spec->scale, sizeof scale_bits);
  uint8_t *to = frames.reply + TFLASH_WIRE_HEADER_BYTES;
  *to++ = spec->dtype;
  *to++ = rank;
  to = put_u32(to, spec->bytes);
  to = put_u32(to, scale_bits);
  to = put_u32(to, (uint32_t)spec->zero_point);
  for (uint8_t i = 0; i < rank; i++) to = put_u32(to, spec->shape[i]);
  const size_t room = TFLASH_WIRE_MAX_PAYLOAD - TFLASH_WIRE_TENSOR_BYTES - 4u * TFLASH_MAX_RANK;
  const size_t length = text_length(spec->name, room);
  memcpy(to, spec->name, length);
  reply(to + length);
}

static void write_input(const uint8_t *payload, size_t payload_bytes) {
  const uint8_t index = payload[0];
  const uint32_t offset = get_u32(payload + 1);
  const uint32_t bytes = (uint32_t)(payload_bytes - TFLASH_WIRE_WRITE_BYTES);
  if (!frames.ready) {
    refuse(TFLASH_WIRE_STATUS_INIT_FAILED);
  } else if (index >= frames.model->input_count || index >= TFLASH_WIRE_MAX_INPUTS) {
    refuse(TFLASH_WIRE_STATUS_BAD_TENSOR);
  } else if (offset > frames.model->inputs[index].bytes || bytes > frames.model->inputs[index].bytes - offset) {
    refuse(TFLASH_WIRE_STATUS_OUT_OF_RANGE);
  } else if (offset > frames.written[index]) {
    refuse(TFLASH_WIRE_STATUS_INCOMPLETE);
  } else {
    memcpy((uint8_t *)frames.model->input(index) + offset, payload + TFLASH_WIRE_WRITE_BYTES, bytes);
    if (offset + bytes > frames.written[index]) frames.written[index] = offset + bytes;
    frames.answered = false; /* inputs and outputs may share memory */
    reply(frames.reply + TFLASH_WIRE_HEADER_BYTES);
  }
}

static bool inputs_complete(void) {
  for (uint8_t i = 0; i < frames.model->input_count; i++) {
    if (i >= TFLASH_WIRE_MAX_INPUTS || frames.written[i] != frames.model->inputs[i].bytes) return false;
  }
  return true;
}

static void progress(enum tflash_wire_progress state, uint16_t layer, uint32_t value) {
  uint8_t *to = frames.reply + TFLASH_WIRE_HEADER_BYTES;
  *to++ = (uint8_t)state;
  reply(put_u32(put_u16(to, layer), value));
}

static void invoke(uint8_t flags) {
  const bool trace = (flags & TFLASH_WIRE_TRACE) != 0;
  const bool profile = trace && (flags & TFLASH_WIRE_PROFILE) != 0;
#ifndef TFLASH_TRACE
  if (trace) {
    refuse(TFLASH_WIRE_STATUS_NO_TRACE);
    return;
  }
#endif
  if (!frames.ready) {
    refuse(TFLASH_WIRE_STATUS_INIT_FAILED);
    return;
  }
  if (!inputs_complete()) {
    refuse(TFLASH_WIRE_STATUS_INCOMPLETE);
    return;
  }
  forget_inputs();
  frames.tracing = trace;
  frames.abandoned = false;
  frames.profiling = profile;
  const uint32_t start = tflash_port_count();
  frames.resumed = start;
  const int result = frames.model->invoke();
  const uint32_t count = tflash_port_count() - (profile ? frames.resumed : start);
  frames.tracing = false;
  if (frames.abandoned) return; /* the reply that is owed is no longer this one */
  if (result != TFLASH_OK) {
    refuse(TFLASH_WIRE_STATUS_INVOKE_FAILED);
    return;
  }
  frames.answered = true;
  progress(TFLASH_WIRE_DONE, 0, trace && !profile ? 0 : count);
}

static void read_bytes(const uint8_t *from, uint32_t size, uint32_t offset, uint16_t length) {
  if (offset > size || length > size - offset || length > TFLASH_WIRE_MAX_PAYLOAD) {
    refuse(TFLASH_WIRE_STATUS_OUT_OF_RANGE);
    return;
  }
  memcpy(frames.reply + TFLASH_WIRE_HEADER_BYTES, from + offset, length);
  reply(frames.reply + TFLASH_WIRE_HEADER_BYTES + length);
}

static void read_output(const uint8_t *payload) {
  if (!frames.answered) {
    refuse(TFLASH_WIRE_STATUS_WRONG_STATE);
  } else if (payload[0] >= frames.model->output_count) {
    refuse(TFLASH_WIRE_STATUS_BAD_TENSOR);
  } else {
    read_bytes((const uint8_t *)frames.model->output(payload[0]), frames.model->outputs[payload[0]].bytes,
               get_u32(payload + 1), get_u16(payload + 5));
  }
}

static void stats(void) {
  uint8_t *to = frames.reply + TFLASH_WIRE_HEADER_BYTES;
  to = put_u32(to, tflash_port_stack_bytes());
  reply(put_u32(to, frames.ready ? frames.model->arena_used_bytes() : 0));
}

static void reset(uint8_t what) {
  if (what == TFLASH_WIRE_RESTART) {
    reply(frames.reply + TFLASH_WIRE_HEADER_BYTES);
    tflash_port_reset();
  } else if (what != TFLASH_WIRE_FORGET) {
    refuse(TFLASH_WIRE_STATUS_OUT_OF_RANGE);
  } else if (frames.paused) {
    refuse(TFLASH_WIRE_STATUS_WRONG_STATE);
  } else {
    forget_inputs();
    frames.ready = frames.model->init() == TFLASH_OK;
    if (frames.ready) {
      reply(frames.reply + TFLASH_WIRE_HEADER_BYTES);
    } else {
      refuse(TFLASH_WIRE_STATUS_INIT_FAILED);
    }
  }
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static bool length_fits(uint8_t command, size_t payload_bytes) {
  switch (command) {
    case TFLASH_WIRE_HELLO:
    case TFLASH_WIRE_CONTINUE:
    case TFLASH_WIRE_STATS:
      return payload_bytes == 0;
    case TFLASH_WIRE_INVOKE:
    case TFLASH_WIRE_RESET:
      return payload_bytes == 1;
    case TFLASH_WIRE_TENSOR:
      return payload_bytes == 2;
    case TFLASH_WIRE_WRITE_INPUT:
      return payload_bytes >= TFLASH_WIRE_WRITE_BYTES;
    case TFLASH_WIRE_READ_OUTPUT:
    case TFLASH_WIRE_READ_LAYER:
      return payload_bytes == TFLASH_WIRE_READ_BYTES;
    default:
      return true;
  }
}

/* What works only while a trace is paused (yes), only while none is (no), or always (either). */
static bool state_fits(uint8_t command) {
  switch (command) {
    case TFLASH_WIRE_READ_LAYER:
    case TFLASH_WIRE_CONTINUE:
      return frames.paused;
    case TFLASH_WIRE_WRITE_INPUT:
    case TFLASH_WIRE_INVOKE:
    case TFLASH_WIRE_READ_OUTPUT:
      return !frames.paused;
    default:
      return true;
  }
}

static void execute(void) {
  const uint8_t *payload = frames.request + TFLASH_WIRE_HEADER_BYTES;
  const size_t payload_bytes = get_u16(frames.request + 6);
  if (!length_fits(frames.command, payload_bytes)) {
    refuse(TFLASH_WIRE_STATUS_BAD_LENGTH);
    return;
  }
  if (!state_fits(frames.command)) {
    refuse(TFLASH_WIRE_STATUS_WRONG_STATE);
    return;
  }
  switch (frames.command) {
    case TFLASH_WIRE_HELLO:
      hello();
      break;
    case TFLASH_WIRE_TENSOR:
      tensor(payload);
      break;
    case TFLASH_WIRE_WRITE_INPUT:
      write_input(payload, payload_bytes);
      break;
    case TFLASH_WIRE_INVOKE:
      invoke(payload[0]);
      break;
    case TFLASH_WIRE_READ_OUTPUT:
      read_output(payload);
      break;
    case TFLASH_WIRE_READ_LAYER:
      read_bytes(frames.layer, frames.layer_bytes, get_u32(payload + 1), get_u16(payload + 5));
      break;
    case TFLASH_WIRE_CONTINUE:
      frames.paused = false; /* its reply is the next pause, or the end */
      break;
    case TFLASH_WIRE_STATS:
      stats();
      break;
    case TFLASH_WIRE_RESET:
      reset(payload[0]);
      break;
    default:
      refuse(TFLASH_WIRE_STATUS_UNKNOWN_COMMAND);
      break;
  }
}

/* A request is executed when its number follows the last one; the first HELLO after a start may have any number. */
static void handle(void) {
  const uint8_t command = frames.request[0];
  const uint32_t sequence = get_u32(frames.request + 2);
  const size_t body = frames.request_length - TFLASH_WIRE_CRC_BYTES;
  const uint32_t checksum = get_u32(frames.request + body);
  if (!frames.in_session && command != TFLASH_WIRE_HELLO) {
    turn_away(TFLASH_WIRE_STATUS_NO_SESSION, 0);
  } else if (frames.in_session && sequence == frames.sequence && checksum == frames.checksum) {
    send(frames.reply, reply_length());
  } else if (frames.in_session && sequence != frames.sequence + 1u) {
    turn_away(TFLASH_WIRE_STATUS_OUT_OF_ORDER, 4);
  } else {
    frames.in_session = true;
    frames.command = command;
    frames.sequence = sequence;
    frames.checksum = checksum;
    execute();
  }
}

#ifdef TFLASH_TRACE
/* Answers the request that brought invoke() this far, then serves until the host lets it go on. */
void tflash_layer(uint16_t layer, const void *data, uint32_t bytes) {
  if (!frames.tracing) return;
  const uint32_t count = tflash_port_count() - frames.resumed;
  frames.layer = (const uint8_t *)data;
  frames.layer_bytes = bytes;
  frames.paused = true;
  progress(TFLASH_WIRE_PAUSED, layer, frames.profiling ? count : bytes);
  while (frames.paused && !frames.abandoned) {
    if (receive()) {
      handle();
    } else {
      frames.tracing = false;
      frames.abandoned = true;
    }
  }
  frames.paused = false;
  frames.resumed = tflash_port_count();
}
#endif

int tflash_frames_serve(const struct tflash_model *model, const char *board) {
  memset(&frames, 0, sizeof frames);
  frames.model = model;
  frames.board = board;
  frames.ready = model->init() == TFLASH_OK;
  while (receive()) handle();
  return 0;
}
