"""Devices: what runs an image and answers frames. Verification does not know which one it talks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline import lifetime
from pipeline.board import Board
from pipeline.devices import emulator
from pipeline.devices.device import Device
from pipeline.devices.link import INVOKE_TIMEOUT_S, FrameLink
from pipeline.devices.process import ProcessStream, open_pipes
from pipeline.errors import DeviceError, RequestError
from pipeline.model import Image

__all__ = ["TRANSPORTS", "Device", "FrameLink", "open_device"]

TRANSPORTS = ("fast", "uart")


@contextmanager
def open_device(
    board: Board,
    image: Image,
    *,
    work: Path,
    transport: str = "fast",
    count: bool = True,
    invoke_timeout_s: float = INVOKE_TIMEOUT_S,
) -> Iterator[Device]:
    """Runs an image, on the host or in an emulator, as a device that answers frames; ends it in any case.

    Args:    work: an existing folder for the log, <board>-<environment>-<transport>.log.
             transport: "fast", or "uart": through the emulated board's UART, as on a real one.
             count: False makes an emulator faster and Inference.count None.
    Raises:  ToolError: the emulator is missing. DeviceError: silent, or another board's firmware.
             RequestError: a board or transport that cannot be run here.
    """
    if transport not in TRANSPORTS:
        raise RequestError(f"there is no transport '{transport}'; there are {' and '.join(TRANSPORTS)}.")
    if board.is_host and transport != "fast":
        raise RequestError(f"{board.id} has no UART.", hint="leave the transport out, or choose an emulated board.")
    log_path = work / f"{board.id}-{image.environment}-{transport}.log"
    with lifetime.temporary_folder() as folder, log_path.open("wb") as log:
        stream = _start(board, image, transport, folder, log, count=count)
        try:
            link = FrameLink(stream, name=board.id)
            figures = board.emulator if count else None
            device = Device(link, emulator=figures, invoke_timeout_s=invoke_timeout_s)
            if device.identity.board != board.id:
                raise DeviceError(
                    f"{board.id}: the device runs firmware for another board: found '{device.identity.board}'.",
                    hint="build the firmware for this board.",
                )
            yield device
        finally:
            stream.close()


def _start(board: Board, image: Image, transport: str, folder: Path, log: IO[bytes], *, count: bool) -> ProcessStream:
    if board.emulator is not None:
        open_stream = emulator.open_fifos if transport == "fast" else emulator.open_uart
        return open_stream(board, board.emulator, image, folder, log, count=count)
    if not board.is_host:
        raise RequestError(
            f"{board.id} is neither this computer nor an emulated board; firmware can be built for it only."
        )
    return open_pipes([str(image.elf.resolve())], folder, log, name=board.id)
