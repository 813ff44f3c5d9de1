"""A serial port as a byte stream: /dev/tty*, COM*, socket://host:port, or whatever else pyserial opens."""

from __future__ import annotations

import time

import serial

from pipeline.errors import DeviceError

_LOOK_S = 0.02


class SerialStream:
    """The port, with 8 data bits, no parity, 1 stop bit, no flow control.

    Raises:  DeviceError: it cannot be opened.
    """

    def __init__(self, url: str, baud: int = 115_200) -> None:
        self._url = url
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=_LOOK_S, write_timeout=10.0)
        except (serial.SerialException, ValueError, OSError) as error:
            raise DeviceError(
                f"{url}: the serial port cannot be opened: {error}.",
                hint="check the cable, the port's name, and that you may use it (Linux: group dialout).",
            ) from error

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes, as soon as there are any; none after timeout_s."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                data = bytes(self._port.read(max(1, min(most, self._port.in_waiting))))
            except (serial.SerialException, OSError) as error:
                raise DeviceError(f"{self._url}: the serial port is gone: {error}.") from error
            if data or time.monotonic() >= deadline:
                return data

    def write(self, data: bytes) -> None:
        """Sends all of it."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise DeviceError(f"{self._url}: the serial port does not send: {error}.") from error

    def close(self) -> None:
        """Closes the port."""
        self._port.close()
