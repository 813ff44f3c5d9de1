"""Write docs/boards.md: boards, what was run of each, TFLM's libraries. --check only says whether it is current."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from generated import write_or_check

from pipeline import board
from pipeline.board import Board
from pipeline.tflm_library import BY_FRAMEWORK, EXISTING

PATH = Path(__file__).resolve().parent.parent / "docs" / "boards.md"

HEAD = """\
# Boards

Written by `scripts/write_boards.py` from `pipeline/boards/*.toml`, where every number names its source.

## What was run

| word | what it means | where |
|---|---|---|
| emulated | firmware is built, runs in QEMU or as a process, and answers byte for byte | `tests/test_verification.py` |
| compiled | a project's C becomes object code for the core, all but one file | `tests/test_hardware_projects.py` |
| validated | PlatformIO accepts `platformio.ini` | `tests/test_project.py` |
| on hardware | firmware ran on the board itself | |

The one file that is not compiled is the framework's own port, `firmware/ports/arduino.cpp`, `firmware/ports/espidf.c`
or `firmware/ports/stm32cube.c`: it holds the framework's few calls, whose headers come from PlatformIO's registry. For
Xtensa there is no compiler here. Baud rates cannot be emulated at all.

In a full run of the tests each board that runs here gives 10,000 right answers, an emulated one through the emulator's
files and through its UART, and right answers over lines with each kind of fault (`tests/test_device_tests.py`,
`tests/devices/test_faults.py`).

With the runtime tflm a project has C++ as well. It is compiled, against a TFLM library where one is named, for each
Cortex-M board; for RISC-V there is no C++ library here. On `qemu_cortex_m4` and `qemu_cortex_m55` it ran with upstream
TFLM 90b983c2b3f1 of 2026-08-20 and its reference kernels: MLPerf Tiny's keyword spotting and anomaly detection, 25
samples each, no byte differed (`tests/test_tflm_library.py`).

Of the real boards' figures, platform versions, board names, clocks, flash and RAM limits were read from PlatformIO's
own platform repositories; UARTs and their pins from Zephyr's device trees; USB ids from PlatformIO's board files,
ArduinoCore-mbed, PJRC's cores, raspberrypi/usb-pid and OpenOCD's udev rules; what DTR and RTS do from Espressif's
schematics and SparkFun. The ids of CP2102N, CH340 and the nRF52840 DK's J-Link, and the sections of datasheets and
manuals that a file names, were not compared with those documents: `tensorflash boards --check FILE` takes a corrected
file of your own.

"""

OWN = """
## A board of your own

Copy the file of a board that is near to it, give it another id, and correct every number:

    tensorflash boards --check my_board.toml
    tensorflash verify model.tflite --board my_board.toml

The file's name is the id. A mistake is answered with the key, what was found there and what is needed. `platform` has
to be pinned: `name@1.2.3`, or `https://host/repository.git#` and a commit where PlatformIO's registry has none. `usb`
are the ids under which the running firmware appears, `bootloader` those while it is being flashed. The port of an
`arduino` or `espidf` board needs nothing more; one of `stm32cube` names its UART and pins under `[defines]`, and is
there for STM32F4 and STM32F7.
"""

LIBRARIES = """
## TFLM libraries

`--runtime tflm` builds with the library of the board's framework. Another one, a folder that is ready for PlatformIO
or an entry of `lib_deps`, is named by `tflm: {library: ...}` in the recipe, else by `TENSORFLASH_TFLM_LIBRARY`. A model
that a library would compute wrongly is refused before anything is built: an op or a version of one that it does not
have, a Dense layer whose scales it would ignore.

The tensor arena of a project is what TFLM needs on the host. `tensorflash verify` and `run` measure it on the board:
its own firmware says how many bytes TFLM took of an ample arena, and the constant in `<model>_arena.h` becomes that and
a margin, a 32nd and at least 256 bytes, doubled until the firmware starts with it. The header says both numbers.

"""


def page() -> str:
    """The whole page."""
    boards = board.all_boards()
    running = [b for b in boards if b.is_host or b.emulator is not None]
    real = [b for b in boards if b.is_hardware]
    return "".join(
        [
            HEAD,
            "### Boards that run here\n\n",
            _table(
                ("board", "what it is", "core", "features", "flash", "RAM", "run"),
                ((f"`{b.id}`", b.title, b.core, *_memory(b), "emulated") for b in running),
            ),
            "\n### Real boards\n\n",
            _table(
                ("board", "what it is", "core", "features", "flash", "RAM", "framework", "PlatformIO", "run"),
                ((f"`{b.id}`", b.title, b.core, *_memory(b), *_platformio(b), _run(b)) for b in real),
            ),
            "\nNo firmware has been run on any of these boards themselves yet.\n",
            OWN,
            LIBRARIES,
            _table(
                ("library", "default of", "kernels", "rounds", "Dense with a scale for each output", "trace", "lacks"),
                (
                    (
                        f"`{library.dependency}`",
                        ", ".join(name for name, default in BY_FRAMEWORK.items() if default is library) or "-",
                        library.kernels,
                        library.rounding,
                        library.per_channel_dense,
                        "yes" if library.can_trace else "no",
                        ", ".join(sorted(library.lacks)) or "-",
                    )
                    for library in EXISTING
                ),
            ),
        ]
    )


def _memory(target: Board) -> tuple[str, str, str]:
    def size(number: int | None) -> str:
        return "-" if number is None else f"{number:,}"

    return " ".join(sorted(target.features)) or "-", size(target.flash_bytes), size(target.ram_bytes)


def _platformio(target: Board) -> tuple[str, str]:
    if target.platformio is None:
        raise ValueError(f"{target.id} is not a real board")
    platform, mark, commit = target.platformio.platform.partition(".git#")
    return target.platformio.framework, f"{platform}{' at ' + commit[:12] if mark else ''}, {target.platformio.board}"


def _run(target: Board) -> str:
    return "compiled, validated" if target.toolchain else "validated"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    sys.exit(write_or_check(PATH, page()))
