/* Answers the host: the firmware of the environments verify and trace. Written by tensorflash 0.1.0. */
#include "frames.h"
#include "port.h"
#include "digits_model.h"

int tflash_main(void); /* the framework's start calls it */

int tflash_main(void) {
  tflash_port_init();
  return tflash_frames_serve(&digits_model, "nano_33_ble_sense");
}
