"""Boards: one TOML file of facts each, with their source. No logic asks for a board by name, only for what it can do."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from pipeline.errors import BoardError

FEATURES = frozenset({"dsp", "mve", "fpu"})


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
class Board:
    """Facts of one board. flash_bytes and ram_bytes are the budget that firmware must keep."""

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
    stack_bytes: int = 2048  # reserved by the linker
    toolchain: Toolchain | None = None
    emulator: Emulator | None = None
    defines: Mapping[str, str] = field(default_factory=dict)

    def has(self, feature: str) -> bool:
        return feature in self.features

    @property
    def is_host(self) -> bool:
        return self.toolchain is None
