"""Boards: one TOML file of facts each, with their source. Nobody asks for a board by name, only for what it can do."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from pipeline.errors import BoardError

FEATURES = frozenset({"dsp", "mve", "fpu"})
FRAMEWORKS = ("arduino", "espidf", "stm32cube")

_MAX_FILE_BYTES = 65_536


@dataclass(frozen=True)
class Region:
    """A memory region in the firmware's address space, bytes."""

    origin: int
    bytes: int


@dataclass(frozen=True)
class Emulator:
    """How QEMU plays the board.

    machine, args:  of `program`. tick_ns: of the counter that tflash_port_count reads; icount_shift: one instruction
    is 2**icount_shift ns of virtual time; call_offset: ticks-to-instructions offset of an empty measurement.
    instructions = round(ticks * tick_ns / 2**icount_shift) - call_offset
    """

    program: str
    machine: str
    args: tuple[str, ...]
    tick_ns: float
    icount_shift: int
    call_offset: int


@dataclass(frozen=True)
class Toolchain:
    """The cross compiler: prefix of gcc, size, objcopy; flags that select the core; flags of the link."""

    prefix: str
    cpu_flags: tuple[str, ...]
    link_flags: tuple[str, ...]


@dataclass(frozen=True)
class PlatformIO:
    """A real board as PlatformIO builds it. platform is pinned: name@version, or a git repository at one commit."""

    platform: str
    board: str
    framework: str  # one of FRAMEWORKS


@dataclass(frozen=True)
class Serial:
    """A real board's serial port. usb: ids (vvvv:pppp) of the running firmware; bootloader: those while it is flashed.

    dtr, rts: the levels of these lines while the port is open. Where an external adapter is used, usb is the adapter's.
    """

    baud: int
    usb: tuple[str, ...]
    bootloader: tuple[str, ...]
    dtr: bool
    rts: bool


@dataclass(frozen=True)
class EdgeTpu:
    """A computer with an Edge TPU, which runs a deploy bundle instead of firmware.

    link: "usb" or "pcie". group: whose members may open the device. python: the oldest its system brings. packages:
    of Coral's repository, for the runtime.
    """

    link: str
    group: str
    python: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """Facts of one board. flash_bytes and ram_bytes are the budget that firmware must keep.

    The host has no more than a port. An emulated board has a toolchain, a start and an emulator; a real one has
    `platformio` and `serial`, and its toolchain, where there is one, only checks here that its code compiles.
    """

    id: str
    title: str
    core: str
    features: frozenset[str]
    clock_hz: int | None
    flash_bytes: int | None  # None: the host, no budget
    ram_bytes: int | None
    port: str  # firmware/ports/<port>.c
    source: str
    flash: Region | None = None
    ram: Region | None = None
    fast_ram: Region | None = None  # for the busiest part of the arena, and for nothing else
    stack_bytes: int = 2048  # reserved by the linker
    toolchain: Toolchain | None = None
    emulator: Emulator | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    startup: str | None = None  # firmware/ports/<startup>.c; None: the C library or the framework starts main
    platformio: PlatformIO | None = None
    serial: Serial | None = None

    edgetpu: EdgeTpu | None = None

    def has(self, feature: str) -> bool:
        return feature in self.features

    @property
    def is_host(self) -> bool:
        return self.toolchain is None and self.platformio is None and self.edgetpu is None

    @property
    def is_hardware(self) -> bool:
        return self.platformio is not None


def all_boards() -> tuple[Board, ...]:
    """Every board that comes with tensorflash: host, emulated, real ones, those with an Edge TPU; each by id."""
    boards = [load(path) for path in _board_files().values()]
    return tuple(
        sorted(boards, key=lambda board: (not board.is_host, board.edgetpu is not None, board.is_hardware, board.id))
    )


def load(name_or_path: str | Path) -> Board:
    """A board by its id, or from a file of one's own (a path that ends in .toml).

    Raises:  BoardError: there is no such board, or its file has a mistake.
    """
    if Path(name_or_path).suffix == ".toml":
        return _read(Path(name_or_path))
    known = _board_files()
    path = known.get(str(name_or_path))
    if path is None:
        near = difflib.get_close_matches(str(name_or_path).lower(), known)
        raise BoardError(
            f"there is no board '{name_or_path}'{'; near it are ' if near else ''}{', '.join(near)}.",
            hint="`tensorflash boards` lists all; or the path of a board file of your own (.toml).",
        )
    return _read(path)


def _board_files() -> dict[str, Path]:
    folder = Path(str(package_files("pipeline"))) / "boards"
    return {
        path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: (path.stem != "native", path.stem))
    }


def _read(path: Path) -> Board:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BoardError(
            f"{path}: the board file cannot be read: {error.strerror}.", hint="check the path of the .toml file."
        ) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise BoardError(f"{path}: a board file has at most {_MAX_FILE_BYTES} bytes.")
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path}: not a TOML file: {error}.") from error
    board = _board(_Table(str(path), values))
    if board.id != path.stem:
        raise BoardError(f"{path}: id is '{board.id}', but the file is called '{path.name}'.", hint="make them equal.")
    return board


class _Table:
    """A TOML table that is emptied key by key, so that what is left over is a mistake."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self.values = dict(values)
        self.asked: list[str] = []

    def take(self, key: str, check: Callable[[Any], Any]) -> Any:
        """The checked value of a required key. `check` raises ValueError with what is needed."""
        self.asked.append(key)
        if key not in self.values:
            near = _nearest(key, self.values, "'{}' is not a key; rename it to '" + key + "'.")
            raise BoardError(f"{self.where}: '{key}' is missing.", hint=near)
        value = self.values.pop(key)
        try:
            return check(value)
        except ValueError as error:
            raise BoardError(f"{self.where}: {key} = {value!r}: {error}.") from error

    def table(self, key: str) -> _Table:
        return _Table(f"{self.where}: [{key}]", self.take(key, _is_table))

    def has(self, key: str) -> bool:
        self.asked.append(key)
        return key in self.values

    def close(self) -> None:
        for key in self.values:
            raise BoardError(
                f"{self.where}: '{key}' is not a key here; the keys are {', '.join(dict.fromkeys(self.asked))}.",
                hint=_nearest(key, self.asked, "'{}'"),
            )


def _board(table: _Table) -> Board:
    """A board of the host has facts of its own only; any other has memory, and either a start or a framework."""
    facts: dict[str, Any] = {
        "id": table.take("id", partial(_matches, r"[a-z][a-z0-9_]{0,39}", "a lower-case C identifier")),
        "title": table.take("title", _is_line),
        "core": table.take("core", partial(_matches, r"[a-z0-9][a-z0-9_.+-]{0,39}", "a processor's name")),
        "features": frozenset(table.take("features", _are_features)),
        "port": "" if "edgetpu" in table.values else table.take("port", _is_port),
        "source": table.take("source", _is_line),
        "clock_hz": None,
        "flash_bytes": None,
        "ram_bytes": None,
    }
    if table.has("toolchain") or table.has("platformio"):
        facts |= {
            "clock_hz": table.take("clock_hz", partial(_is_int, 1, 10**10)),
            "flash_bytes": table.take("flash_bytes", partial(_is_int, 1024, 1 << 32)),
            "ram_bytes": table.take("ram_bytes", partial(_is_int, 1024, 1 << 32)),
            "stack_bytes": table.take("stack_bytes", partial(_is_int, 256, 1 << 24)),
            "flash": _region(table.table("flash")),
            "ram": _region(table.table("ram")),
        }
        _check_budget(table.where, facts)
        if table.has("platformio"):
            facts |= {
                "platformio": _platformio(table.table("platformio")),
                "serial": _serial(table.table("serial")),
            }
        else:
            facts["startup"] = table.take("startup", _is_port)
            if table.has("fast_ram"):
                facts["fast_ram"] = _region(table.table("fast_ram"))
                for other in ("flash", "ram"):
                    _check_apart(table.where, facts, other, "fast_ram")
        if table.has("toolchain"):
            facts["toolchain"] = _toolchain(table.table("toolchain"))
        if "platformio" not in facts and table.has("emulator"):
            facts["emulator"] = _emulator(table.table("emulator"))
        if table.has("defines"):
            facts["defines"] = _defines(table.table("defines"))
    elif "edgetpu" in table.values:
        facts["edgetpu"] = _edgetpu(table.table("edgetpu"))
    table.close()
    return Board(**facts)


def _edgetpu(table: _Table) -> EdgeTpu:
    edgetpu = EdgeTpu(
        link=table.take("link", partial(_matches, r"usb|pcie", "usb or pcie")),
        group=table.take("group", partial(_matches, r"[a-z][a-z0-9_-]{0,30}", "a group's name")),
        python=table.take("python", partial(_matches, r"3\.[0-9]{1,2}", "a version like 3.7")),
        packages=tuple(table.take("packages", partial(_are_flags, r"[a-z0-9][a-z0-9.+-]{1,60}"))),
    )
    table.close()
    return edgetpu


def _check_budget(where: str, facts: Mapping[str, Any]) -> None:
    for kind in ("flash", "ram"):
        budget, region = facts[f"{kind}_bytes"], facts[kind]
        if budget > region.bytes:
            raise BoardError(f"{where}: {kind}_bytes is {budget}, but [{kind}] has only {region.bytes} bytes.")
    if facts["stack_bytes"] >= facts["ram_bytes"]:
        raise BoardError(
            f"{where}: stack_bytes is {facts['stack_bytes']}; it must be below ram_bytes, {facts['ram_bytes']}."
        )
    _check_apart(where, facts, "flash", "ram")


def _check_apart(where: str, facts: Mapping[str, Any], one: str, two: str) -> None:
    a, b = facts[one], facts[two]
    if a.origin < b.origin + b.bytes and b.origin < a.origin + a.bytes:
        raise BoardError(f"{where}: [{one}] and [{two}] overlap.")


def _region(table: _Table) -> Region:
    region = Region(
        origin=table.take("origin", partial(_is_int, 0, (1 << 32) - 1)),
        bytes=table.take("bytes", partial(_is_int, 1024, 1 << 32)),
    )
    table.close()
    if region.origin + region.bytes > 1 << 32:
        raise BoardError(f"{table.where}: ends beyond 32 bits of address.")
    return region


def _toolchain(table: _Table) -> Toolchain:
    toolchain = Toolchain(
        prefix=table.take("prefix", partial(_matches, r"[a-z0-9_]+(-[a-z0-9_]+)*-", "a prefix like arm-none-eabi-")),
        cpu_flags=table.take("cpu_flags", partial(_are_flags, _CPU_FLAG)),
        link_flags=table.take("link_flags", partial(_are_flags, _LINK_FLAG)),
    )
    table.close()
    return toolchain


def _emulator(table: _Table) -> Emulator:
    emulator = Emulator(
        program=table.take("program", partial(_matches, r"qemu-system-[a-z0-9]+", "a program like qemu-system-arm")),
        machine=table.take("machine", partial(_matches, r"[a-z0-9][a-z0-9-]*", "one of `-M help`")),
        args=table.take("args", _are_emulator_args),
        tick_ns=float(table.take("tick_ns", _is_tick)),
        icount_shift=table.take("icount_shift", partial(_is_int, 0, 10)),
        call_offset=table.take("call_offset", partial(_is_int, 0, 100)),
    )
    table.close()
    instruction_ns = 1 << emulator.icount_shift
    if emulator.tick_ns != instruction_ns and 2 * emulator.tick_ns > instruction_ns:
        raise BoardError(
            f"{table.where}: a tick of {emulator.tick_ns:g} ns cannot tell instructions of {instruction_ns} ns apart: "
            "an instruction must last one tick, or two and more.",
            hint="a larger icount_shift",
        )
    return emulator


def _platformio(table: _Table) -> PlatformIO:
    platformio = PlatformIO(
        platform=table.take(
            "platform", partial(_matches, _PLATFORM, "name@1.2.3, or https://host/repository.git#commit")
        ),
        board=table.take(
            "board", partial(_matches, r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", "PlatformIO's name of the board")
        ),
        framework=table.take("framework", _is_framework),
    )
    table.close()
    return platformio


def _serial(table: _Table) -> Serial:
    serial = Serial(
        baud=table.take("baud", partial(_is_int, 300, 12_000_000)),
        usb=table.take("usb", _are_usb_ids),
        bootloader=table.take("bootloader", _are_usb_ids),
        dtr=table.take("dtr", _is_truth),
        rts=table.take("rts", _is_truth),
    )
    table.close()
    return serial


def _defines(table: _Table) -> dict[str, str]:
    defines = {}
    for name in list(table.values):
        if not re.fullmatch(r"TFLASH_[A-Z0-9_]{1,40}", name):
            raise BoardError(f"{table.where}: '{name}' is not a name like TFLASH_UART_BASE.")
        defines[name] = table.take(name, partial(_matches, _DEFINE, "a C integer, or a name in capitals,"))
    return defines


# Checks: each returns the value, or raises ValueError with what is needed.

# A board file may come from anybody, and a compiler runs what -fplugin, -wrapper and @file name.
_CPU_FLAG = (
    r"-m(cpu|arch|abi|fpu|float-abi|cmodel|tune)=[A-Za-z0-9_.+-]{1,60}|-mthumb|--specs=(nano|nosys|picolibc)\.specs"
)
_LINK_FLAG = r"--specs=(nano|nosys|picolibc)\.specs"
_DEFINE = r"0x[0-9A-Fa-f]{1,8}u?|[0-9]{1,10}u?|[A-Z_][A-Z0-9_]{0,40}"
_PLATFORM = r"([A-Za-z0-9._-]+/)?[a-z0-9_-]+@[0-9]+\.[0-9]+\.[0-9]+|https://[A-Za-z0-9./_-]+\.git#[0-9a-f]{40}"


def _is_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table is needed")
    return value


def _is_int(low: int, high: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"an integer from {low} to {high} is needed")
    return value


def _is_tick(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.1 <= value <= 1e6:
        raise ValueError("a number from 0.1 to 1e6 is needed")
    return value


def _is_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _is_framework(value: Any) -> str:
    if value not in FRAMEWORKS:
        raise ValueError(f"one of {', '.join(FRAMEWORKS)} is needed")
    return str(value)


def _are_usb_ids(value: Any) -> tuple[str, ...]:
    for item in _is_list(value):
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", item):
            raise ValueError(f"'{item}' is not a vendor and a product like '0483:374b'")
    return tuple(value)


def _is_line(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 300:
        raise ValueError("one line of text is needed")
    return value


def _matches(pattern: str, needed: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{needed} is needed")
    return value


def _is_list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of strings is needed")
    return value


def _are_features(value: Any) -> list[str]:
    for item in _is_list(value):
        if item not in FEATURES:
            raise ValueError(f"'{item}' is not a feature; the features are {', '.join(sorted(FEATURES))}")
    return _is_list(value)


def _are_flags(pattern: str, value: Any) -> tuple[str, ...]:
    for item in _is_list(value):
        if not re.fullmatch(pattern, item):
            raise ValueError(f"'{item}' is not a flag that a board may set")
    return tuple(value)


def _are_emulator_args(value: Any) -> tuple[str, ...]:
    """QEMU can be told to open files and sockets; a board only ever needs these three options."""
    items = _is_list(value)
    for option, setting in zip(items[::2], items[1::2], strict=False):
        if option not in ("-bios", "-cpu", "-m") or not re.fullmatch(r"[A-Za-z0-9_.=,+-]{1,60}", setting):
            raise ValueError(f"'{option} {setting}' is not an option that a board may set (-bios none, -cpu, -m)")
        if option == "-bios" and setting != "none":
            raise ValueError("only '-bios none' is allowed")
    if len(items) % 2:
        raise ValueError(f"'{items[-1]}' has no value")
    return tuple(items)


def _is_port(value: Any) -> str:
    folder = Path(str(package_files("pipeline.firmware"))) / "ports"
    names = sorted(path.stem for path in folder.iterdir() if path.suffix in (".c", ".cpp"))
    if value not in names:
        raise ValueError(f"firmware/ports has {', '.join(names)}")
    return str(value)


def _nearest(name: str, names: Any, text: str) -> str | None:
    matches = difflib.get_close_matches(name, [n for n in names if isinstance(n, str)], n=1)
    return text.format(matches[0]) if matches else None
