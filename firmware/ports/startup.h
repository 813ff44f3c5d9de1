/* What the linker script and the startup code agree on. */
#ifndef TFLASH_STARTUP_H
#define TFLASH_STARTUP_H

#include <stdint.h>

extern uint32_t tflash_data_start[];
extern uint32_t tflash_data_end[];
extern const uint32_t tflash_data_load[]; /* where .data lies in flash */
extern uint32_t tflash_bss_start[];
extern uint32_t tflash_bss_end[];
extern uint32_t tflash_stack_top[]; /* the stack grows from here down to tflash_bss_end */

extern void (*const tflash_init_array_start[])(void);
extern void (*const tflash_init_array_end[])(void);

/* Exit codes of the emulator after a fault: 64 + exception number on Arm, 96 + cause on RISC-V. */
#define TFLASH_EXIT_ARM_EXCEPTION 64u
#define TFLASH_EXIT_RISCV_TRAP 96u
#define TFLASH_EXIT_STREAM 125u /* the byte stream broke */

int main(void);

/* Entry of the image. */
void tflash_start(void);

/* Memory as C expects it, then main; its result ends the emulator. */
_Noreturn void tflash_run_main(void);

#endif /* TFLASH_STARTUP_H */
