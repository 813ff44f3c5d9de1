/* tiny_net.tflite for TensorFlow Lite Micro, by tensorflash 0.1.0. Do not edit.
 * sha256 5fc3a7ef2954d17ad1ca22e9ffbd783d327f00eb6e111e52a28a795f20c43c14
 * made by made for a test */
#ifndef TINY_NET_ARENA_H
#define TINY_NET_ARENA_H

/* The smallest arena with which tflite-micro 1.2.3 runs the model on a 64-bit host; optimized kernels may need
 * more. `tensorflash verify` measures it on the board.
 * tiny_net_model.arena_used_bytes() tells what was taken; if tiny_net_init() fails, define a larger one. */
#ifndef TINY_NET_ARENA_BYTES
#define TINY_NET_ARENA_BYTES 1456u
#endif

#endif /* TINY_NET_ARENA_H */
