"""A rig: boards that are connected at the same time, in one TOML file.

[[place]]
name = "desk"                  # of this place: unique
board = "nucleo_f767zi"        # an id, or a board file (.toml) beside this one
port = "/dev/ttyACM0"          # and, or, serial_number: which one it is; without both it is found by its USB ids

[[place]]
name = "rack"
board = "nucleo_l4r5zi"
port = "labgrid://l4r5zi"      # or socket://host:port, rfc2217://host:port
flash = "openocd -f board/st_nucleo_l4.cfg -c 'program {elf} verify reset exit'"    # instead of PlatformIO's upload

[[place]]
name = "emulated"
board = "qemu_cortex_m4"
transport = "uart"             # an emulated board's: fast (default) or uart
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import board as boards
from pipeline.board import Board
from pipeline.devices import TRANSPORTS, hardware
from pipeline.errors import RequestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_FILE_BYTES = 1 << 20
_KEYS = ("name", "board", "port", "serial_number", "transport", "flash")


@dataclass(frozen=True)
class Place:
    """One board and the way to it. Without a port and a serial number a real board is found by its USB ids."""

    name: str
    board: Board
    port: str | None = None
    serial_number: str | None = None
    transport: str = "fast"
    flash: str | None = None


def load(path: Path) -> tuple[Place, ...]:
    """The rig's places.

    Raises:  RequestError: the file has a mistake. BoardError: a board is unknown, or its file has a mistake.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        values = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise RequestError(f"{path}: the rig file cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path}: not a TOML file: {error}.") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise RequestError(f"{path}: a rig file has at most {_MAX_FILE_BYTES} bytes.")
    entries = values.pop("place", [])
    if values or not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        found = ", ".join(values) or "no place"
        raise RequestError(f"{path}: a rig has [[place]] tables and nothing else: found {found}.", hint=_EXAMPLE)
    places = tuple(_place(path, number, entry) for number, entry in enumerate(entries, 1))
    _require_distinct(path, places)
    return places


_EXAMPLE = '[[place]] with name = "desk" and board = "nucleo_f767zi"'


def _place(path: Path, number: int, entry: Mapping[str, Any]) -> Place:
    where = f"{path}: place {number}"
    for key, value in entry.items():
        if key not in _KEYS:
            raise RequestError(f"{where}: '{key}' is not a key here; the keys are {', '.join(_KEYS)}.")
        if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 300:
            raise RequestError(f"{where}: {key} = {value!r}: one line of text is needed.")
    for key in ("name", "board"):
        if key not in entry:
            raise RequestError(f"{where}: '{key}' is missing.", hint=_EXAMPLE)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", entry["name"]):
        raise RequestError(f"{where}: name = '{entry['name']}': letters, digits, '_', '.' and '-' are needed.")
    board = boards.load(path.parent / entry["board"] if entry["board"].endswith(".toml") else entry["board"])
    if entry.get("transport", "fast") not in TRANSPORTS:
        raise RequestError(f"{where}: transport = '{entry['transport']}': {' or '.join(TRANSPORTS)} is needed.")
    if "transport" in entry and (board.emulator is None or "port" in entry):
        raise RequestError(f"{where}: only an emulated board has a transport.", hint="leave it out.")
    if "flash" in entry:
        if not board.is_hardware and "port" not in entry:
            raise RequestError(f"{where}: an emulated board that runs here is not flashed.", hint="leave flash out.")
        hardware.flash_command(entry["flash"], path)
    if board.edgetpu is not None:
        raise RequestError(f"{where}: {board.id} runs a bundle and no firmware.", hint="`tensorflash edgetpu`.")
    return Place(**{**entry, "board": board})


def _require_distinct(path: Path, places: tuple[Place, ...]) -> None:
    for key in ("name", "port", "serial_number"):
        values = [value for place in places if (value := getattr(place, key)) is not None]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise RequestError(f"{path}: two places have the {key.replace('_', ' ')} '{twice[0]}'.")
    blind = [place.board.id for place in places if place.board.is_hardware and not (place.port or place.serial_number)]
    for board in sorted(set(blind)):
        if [place.board.id for place in places].count(board) > 1:
            raise RequestError(
                f"{path}: there are several {board}: each needs a port or a serial_number, to tell which is which."
            )
