/* STM32Cube HAL on STM32F4 and STM32F7: clocks from the internal oscillator, and one UART.
 *   TFLASH_CLOCK_MHZ, TFLASH_FLASH_LATENCY   core clock, and the flash wait states it needs (reference manual, FLASH)
 *   TFLASH_UART, TFLASH_UART_CLOCK           its instance, and the macro that enables its clock
 *   TFLASH_UART_AF, TFLASH_{TX,RX}_{PORT,PIN} its pins */
#include "framework.h"

#if defined(STM32F4)
#include "stm32f4xx_hal.h"
#elif defined(STM32F7)
#include "stm32f7xx_hal.h"
#else
#error "The port stm32cube knows the clocks of STM32F4 and STM32F7."
#endif

static UART_HandleTypeDef uart;

void SysTick_Handler(void) {
  HAL_IncTick();
}

int main(void) {
  (void)tflash_main();
  tflash_port_finish();
  for (;;) {
  }
}

static _Noreturn void stop(void) {
  for (;;) {
  }
}

/* 16 MHz / 8 * TFLASH_CLOCK_MHZ / 2; APB1 at a quarter of it, APB2 at half. */
static void start_clocks(void) {
  __HAL_RCC_PWR_CLK_ENABLE();
  __HAL_PWR_VOLTAGESCALING_CONFIG(PWR_REGULATOR_VOLTAGE_SCALE1);
  RCC_OscInitTypeDef oscillator = {
      .OscillatorType = RCC_OSCILLATORTYPE_HSI,
      .HSIState = RCC_HSI_ON,
      .HSICalibrationValue = RCC_HSICALIBRATION_DEFAULT,
  };
  oscillator.PLL.PLLState = RCC_PLL_ON;
  oscillator.PLL.PLLSource = RCC_PLLSOURCE_HSI;
  oscillator.PLL.PLLM = 8;
  oscillator.PLL.PLLN = TFLASH_CLOCK_MHZ;
  oscillator.PLL.PLLP = RCC_PLLP_DIV2;
  oscillator.PLL.PLLQ = 9;
#ifdef RCC_PLLCFGR_PLLR
  oscillator.PLL.PLLR = 2;
#endif
  RCC_ClkInitTypeDef buses = {
      .ClockType = RCC_CLOCKTYPE_SYSCLK | RCC_CLOCKTYPE_HCLK | RCC_CLOCKTYPE_PCLK1 | RCC_CLOCKTYPE_PCLK2,
      .SYSCLKSource = RCC_SYSCLKSOURCE_PLLCLK,
      .AHBCLKDivider = RCC_SYSCLK_DIV1,
      .APB1CLKDivider = RCC_HCLK_DIV4,
      .APB2CLKDivider = RCC_HCLK_DIV2,
  };
  if (HAL_RCC_OscConfig(&oscillator) != HAL_OK || HAL_PWREx_EnableOverDrive() != HAL_OK ||
      HAL_RCC_ClockConfig(&buses, TFLASH_FLASH_LATENCY) != HAL_OK) {
    stop();
  }
}

static void start_pin(GPIO_TypeDef *port, uint32_t pin) {
  GPIO_InitTypeDef setting = {
      .Pin = pin,
      .Mode = GPIO_MODE_AF_PP,
      .Pull = GPIO_PULLUP,
      .Speed = GPIO_SPEED_FREQ_VERY_HIGH,
      .Alternate = TFLASH_UART_AF,
  };
  HAL_GPIO_Init(port, &setting);
}

void tflash_framework_init(void) {
  (void)HAL_Init();
  start_clocks();
#if defined(STM32F7)
  SCB_EnableICache();
  SCB_EnableDCache();
#endif
  __HAL_RCC_GPIOA_CLK_ENABLE();
  __HAL_RCC_GPIOB_CLK_ENABLE();
  __HAL_RCC_GPIOD_CLK_ENABLE();
  TFLASH_UART_CLOCK();
  start_pin(TFLASH_TX_PORT, TFLASH_TX_PIN);
  start_pin(TFLASH_RX_PORT, TFLASH_RX_PIN);
  uart.Instance = TFLASH_UART;
  uart.Init.BaudRate = TFLASH_BAUD;
  uart.Init.WordLength = UART_WORDLENGTH_8B;
  uart.Init.StopBits = UART_STOPBITS_1;
  uart.Init.Parity = UART_PARITY_NONE;
  uart.Init.Mode = UART_MODE_TX_RX;
  uart.Init.HwFlowCtl = UART_HWCONTROL_NONE;
  uart.Init.OverSampling = UART_OVERSAMPLING_16;
  if (HAL_UART_Init(&uart) != HAL_OK) {
    stop();
  }
}

size_t tflash_framework_read(uint8_t *data, size_t capacity) {
  size_t stored = 0;
  do {
    while (HAL_UART_Receive(&uart, data + stored, 1, HAL_MAX_DELAY) != HAL_OK) {
      __HAL_UART_CLEAR_OREFLAG(&uart); /* a byte was lost: the frame's checksum will tell */
    }
    stored++;
  } while (stored < capacity && __HAL_UART_GET_FLAG(&uart, UART_FLAG_RXNE) != RESET);
  return stored;
}

void tflash_framework_write(const uint8_t *data, size_t length) {
  (void)HAL_UART_Transmit(&uart, (uint8_t *)(uintptr_t)data, (uint16_t)length, HAL_MAX_DELAY);
}

uint32_t tflash_framework_micros(void) {
  uint32_t milliseconds;
  uint32_t left; /* core clocks of this millisecond */
  do {
    milliseconds = HAL_GetTick();
    left = SysTick->VAL;
  } while (milliseconds != HAL_GetTick());
  return 1000u * milliseconds + (SysTick->LOAD - left) / TFLASH_CLOCK_MHZ;
}
