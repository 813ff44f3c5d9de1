"""Which serial port a board is on: by its USB ids and its serial number, and never by a guess among several."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from pipeline.board import Board
from pipeline.errors import DeviceError

RETURN_TIMEOUT_S = 15.0
_LOOK_S = 0.1


class AbsentError(DeviceError):
    """No such hardware is connected. named: it was asked for by port or serial number."""

    def __init__(self, message: str, *, hint: str | None = None, named: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.named = named


@dataclass(frozen=True)
class Port:
    """A serial port. usb: vvvv:pppp, and serial_number: of the USB device behind it; None where there is none."""

    url: str
    usb: str | None = None
    serial_number: str | None = None

    @property
    def is_local(self) -> bool:
        """Of this computer, not socket:// or rfc2217://."""
        return "://" not in self.url

    @property
    def key(self) -> str:
        """What stays the same when the port's name changes: the device where it can be told, else the name."""
        if self.usb is not None and self.serial_number:
            return f"usb {self.serial_number}"
        return str(Path(self.url).resolve()) if self.is_local else self.url


def listed() -> tuple[Port, ...]:
    """The serial ports of this computer, by name."""
    found = []
    for each in list_ports.comports():
        usb = None if each.vid is None or each.pid is None else f"{each.vid:04x}:{each.pid:04x}"
        found.append(Port(each.device, usb, each.serial_number))
    return tuple(sorted(found, key=lambda port: port.url))


def find(board: Board, *, port: str | None = None, serial_number: str | None = None) -> Port:
    """The board's port.

    Args:    port: a name like /dev/ttyACM0 or COM3, or socket://host:port or rfc2217://host:port. Without it the port
             is found by the board's USB ids. serial_number: of the board's USB device.
    Raises:  AbsentError: there is no such port. DeviceError: several might be it, or the port is another device's.
    """
    if port is not None and "://" in port:
        if serial_number is not None:
            raise DeviceError(f"{port}: a remote port has no serial number to compare.", hint="leave it out.")
        return Port(port)
    ports = listed()
    if port is not None:
        return _named(port, serial_number, ports)
    ids = (*board.serial.usb, *board.serial.bootloader) if board.serial is not None else ()
    candidates = [p for p in ports if p.usb in ids and (serial_number is None or p.serial_number == serial_number)]
    if len(candidates) > 1:
        raise DeviceError(
            f"{board.id}: {len(candidates)} ports might be it: {', '.join(map(_describe, candidates))}.",
            hint="--serial-number or --port, to say which.",
        )
    if not candidates:
        wanted = f"USB {' or '.join(ids) or 'id (the board file names none)'}"
        wanted += f" and the serial number {serial_number}" if serial_number is not None else ""
        there = ", ".join(map(_describe, ports)) or "no serial ports at all"
        raise AbsentError(
            f"{board.id} is not connected: needed a port with {wanted}, found {there}.",
            hint="connect it with a cable that carries data, or name its port with --port.",
            named=serial_number is not None,
        )
    return candidates[0]


def _named(name: str, serial_number: str | None, ports: tuple[Port, ...]) -> Port:
    real = Path(name).resolve()
    found = next((Port(name, p.usb, p.serial_number) for p in ports if Path(p.url).resolve() == real), None)
    if found is None:
        if not Path(name).exists():
            there = ", ".join(map(_describe, ports)) or "none"
            raise AbsentError(
                f"{name}: there is no such port; the ports are: {there}.",
                hint="connect the board, or leave --port out: it is found by its USB id.",
                named=True,
            )
        found = Port(name)
    if serial_number is not None and found.serial_number != serial_number:
        raise DeviceError(
            f"{name}: the device there has the serial number {found.serial_number}, needed {serial_number}.",
            hint="leave --port out: the serial number is enough.",
        )
    return found


def again(board: Board, before: Port) -> str | None:
    """The port's name now, after the device has left and come back, maybe under another name; None while it is away.

    A device may have several ports: the one of before is taken, and none where they have other names now.
    """
    if not before.is_local:
        return before.url
    if before.usb is not None and before.serial_number and board.serial is not None:
        ids = (*board.serial.usb, before.usb if before.usb not in board.serial.bootloader else "")
        urls = [p.url for p in listed() if p.serial_number == before.serial_number and p.usb in ids]
        if any(Path(url).resolve() == Path(before.url).resolve() for url in urls):
            return before.url
        return urls[0] if len(urls) == 1 else None
    return before.url if Path(before.url).exists() else None


def await_return(
    board: Board, before: Port, timeout_s: float = RETURN_TIMEOUT_S, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Waits until the board's firmware shows its port, after it was flashed.

    Raises:  DeviceError: it does not within timeout_s.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        url = again(board, before)
        if url is not None:
            return url
        if time.monotonic() >= deadline:
            raise DeviceError(
                f"{board.id}: its port ({_describe(before)}) did not come back within {timeout_s:g} s.",
                hint="press reset; a firmware that crashes at its start shows no port.",
            )
        sleep(_LOOK_S)


def _describe(port: Port) -> str:
    facts = [fact for fact in (port.usb, f"serial number {port.serial_number}" if port.serial_number else None) if fact]
    return f"{port.url} ({', '.join(facts)})" if facts else port.url
