/* tiny_net.tflite for TensorFlow Lite Micro, by tensorflash 0.1.0. Do not edit.
 * sha256 5fc3a7ef2954d17ad1ca22e9ffbd783d327f00eb6e111e52a28a795f20c43c14
 * made by made for a test */
#ifndef TINY_NET_MODEL_DATA_H
#define TINY_NET_MODEL_DATA_H

extern const unsigned char g_tiny_net_model_data[];
extern const unsigned int g_tiny_net_model_data_size;

#endif /* TINY_NET_MODEL_DATA_H */
