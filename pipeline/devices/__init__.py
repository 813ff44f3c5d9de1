"""Devices: what runs an image and answers frames. Verification does not know which one it talks to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import IO

from pipeline import lifetime
from pipeline.board import Board
from pipeline.devices import emulator, hardware
from pipeline.devices.device import Device
from pipeline.devices.link import INVOKE_TIMEOUT_S, ByteStream, FrameLink
from pipeline.devices.process import open_pipes
from pipeline.errors import DeviceError, RequestError
from pipeline.model import Image

__all__ = ["TRANSPORTS", "Device", "FrameLink", "is_flashable", "open_device"]

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
    port: str | None = None,
    serial_number: str | None = None,
    project: Path | None = None,
    flash: str | None = None,
) -> Iterator[Device]:
    """Runs an image, on the host, in an emulator or on a board, as a device that answers frames; ends it in any case.

    Args:    work: an existing folder for the log, <board>-<environment>-<transport>.log.
             transport: "fast", or "uart": through the emulated board's UART, as on a real one.
             count: False makes an emulator faster and Inference.count None.
             port, serial_number: which port a real board is on; without them it is found by its USB ids. With a port
             an emulated board is one that runs elsewhere already.
             project: the PlatformIO project of the image; a real board is flashed from it, and not where it is None.
             flash: a command that flashes the board at the port instead, {elf} in it being the image's path.
    Raises:  ToolError: the emulator is missing, or a board cannot be flashed. AbsentError: it is not connected.
             DeviceError: silent, in use, or another board's firmware.
             RequestError: a board or transport that cannot be run here.
    """
    if transport not in TRANSPORTS:
        raise RequestError(f"there is no transport '{transport}'; there are {' and '.join(TRANSPORTS)}.")
    on_port = board.is_hardware or port is not None or serial_number is not None
    if flash is not None and not on_port:
        raise RequestError(f"{board.id} runs here and is not flashed.", hint="leave the command that flashes out.")
    if board.is_host and transport != "fast" and not on_port:
        raise RequestError(f"{board.id} has no UART.", hint="leave the transport out, or choose an emulated board.")
    way = "serial" if on_port else transport
    log_path = work / f"{board.id}-{image.environment}-{way}.log"
    opened: AbstractContextManager[ByteStream]
    with lifetime.temporary_folder() as folder, log_path.open("wb") as log:
        if on_port:
            if project is not None and board.is_hardware:  # what building leaves stays out of the user's folder
                project = Path(shutil.copytree(project, folder / "project"))
            opened = hardware.open_port(
                board,
                port=port,
                serial_number=serial_number,
                project=project if board.is_hardware else None,
                environment=image.environment,
                log=log_path,
                flash=() if flash is None else hardware.flash_command(flash, image.elf),
            )
        else:
            opened = closing(_start(board, image, transport, folder, log, count=count))
        with opened as stream:
            link = FrameLink(stream, name=board.id)
            figures = board.emulator if count and not on_port else None
            device = Device(link, emulator=figures, invoke_timeout_s=invoke_timeout_s)
            if device.identity.board != board.id:
                raise DeviceError(
                    f"{board.id}: the device runs firmware for another board: found '{device.identity.board}'.",
                    hint="build the firmware for this board.",
                )
            yield device


def is_flashable(board: Board, port: str | None, flash: str | None) -> bool:
    """Whether open_device puts the image there: not on a board elsewhere, unless a command flashes it."""
    return flash is not None or port is None or (board.is_hardware and "://" not in port)


def _start(board: Board, image: Image, transport: str, folder: Path, log: IO[bytes], *, count: bool) -> ByteStream:
    if board.emulator is not None:
        open_stream = emulator.open_fifos if transport == "fast" else emulator.open_uart
        return open_stream(board, board.emulator, image, folder, log, count=count)
    if not board.is_host:
        raise RequestError(f"{board.id} is neither this computer nor an emulated board, and has no firmware.")
    return open_pipes([str(image.elf.resolve())], folder, log, name=board.id)
