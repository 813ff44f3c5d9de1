"""A serial port as a byte stream: /dev/tty*, COM*, socket://host:port, rfc2217://host:port."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import serial

from pipeline.errors import DeviceError

REOPEN_TIMEOUT_S = 10.0
_LOOK_S = 0.02
_WRITE_TIMEOUT_S = 10.0
_REOPEN_LOOK_S = 0.1


class SerialStream:
    """The port, with 8 data bits, no parity, 1 stop bit, no flow control. No other program can open it meanwhile.

    A port that vanishes is opened again when it is back. What was on the line is lost then; frames survive that, and
    firmware that has restarted meanwhile says so.

    Args:    dtr, rts: the lines' levels while it is open. locate: the port's name after it has vanished, or None while
             it is away; the same name where this is None.
    Raises:  DeviceError: it cannot be opened.
    """

    def __init__(
        self,
        url: str,
        baud: int = 115_200,
        *,
        dtr: bool = True,
        rts: bool = False,
        locate: Callable[[], str | None] | None = None,
        reopen_timeout_s: float = REOPEN_TIMEOUT_S,
    ) -> None:
        self._url, self._baud, self._lines = url, baud, (dtr, rts)
        self._locate = locate or (lambda: url)
        self._reopen_timeout_s = reopen_timeout_s
        self._closed = False
        try:
            self._port = self._open(url)
        except (serial.SerialException, ValueError, OSError) as error:
            raise DeviceError(
                f"{url}: the serial port cannot be opened: {error}.",
                hint="check the cable, the port's name, that no other program uses it, and that you may "
                "(Linux: group dialout).",
            ) from error

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes, as soon as there are any; none after timeout_s."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                data = bytes(self._port.read(max(1, min(most, self._port.in_waiting))))
            except (serial.SerialException, OSError) as error:
                self._reopen("is gone", error)
                data = b""
            if data or time.monotonic() >= deadline:
                return data

    def write(self, data: bytes) -> None:
        """Sends all of it; what was sent in part when the port vanished is not sent again."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            self._reopen("does not send", error)

    def close(self) -> None:
        """Closes the port."""
        self._closed = True
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()

    def _open(self, url: str) -> Any:
        is_rfc2217 = url.startswith("rfc2217://")  # pyserial has no write timeout there, and sets lines once it is open
        port = serial.serial_for_url(
            url,
            do_not_open=True,
            baudrate=self._baud,
            timeout=_LOOK_S,
            write_timeout=None if is_rfc2217 else _WRITE_TIMEOUT_S,
        )
        if "://" not in url:
            port.exclusive = True
            port.dtr, port.rts = self._lines
        port.open()
        if is_rfc2217:
            port.dtr, port.rts = self._lines
        return port

    def _reopen(self, what: str, error: Exception) -> None:
        """Raises:  DeviceError: it was closed here, or did not come back."""
        if self._closed:
            raise DeviceError(f"{self._url}: the serial port is closed.") from error
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()
        deadline = time.monotonic() + self._reopen_timeout_s
        while time.monotonic() < deadline:
            time.sleep(_REOPEN_LOOK_S)
            url = self._locate()
            if url is not None:
                with contextlib.suppress(serial.SerialException, ValueError, OSError):
                    self._port = self._open(url)
                    return
        raise DeviceError(
            f"{self._url}: the serial port {what}: {error}; it did not come back within {self._reopen_timeout_s:g} s.",
            hint="check the cable and the supply.",
        ) from error
