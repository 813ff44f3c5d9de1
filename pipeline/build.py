"""Building: a project becomes firmware images, with PlatformIO and the compilers of this system.

Sizes are read from the ELF file's sections. What the model itself costs is read from the release build's linker map:
the sections of lib/<model>/'s objects that are left after the linker has dropped what nobody uses.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from pipeline import lifetime, tools
from pipeline.board import Board
from pipeline.errors import BudgetError, RequestError, ToolError
from pipeline.model import Image
from pipeline.project import Project

Progress = Callable[[str, int, int], None]

_TIMEOUT_S = 900.0
_LOOK_S = 0.25
_TAIL_LINES = 30
_STACK_SECTION = ".stack"


def compile_project(
    project: Project,
    environments: Sequence[str] = ("release",),
    log: Path | None = None,
    *,
    progress: Progress | None = None,
    extra_flags: Sequence[str] = (),
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, Image]:
    """Build environments of a project, in one run of PlatformIO.

    Args:    log: where the whole output goes; default <project>/.pio/build.log. progress: called with
             ("build", files compiled so far, files). extra_flags: for the compiler, beside the project's.
    Returns: environment -> its Image. model_flash_bytes and model_ram_bytes are those of release, if it was built.
    Raises:  BudgetError: the firmware does not fit the board. ToolError: a tool is missing, failed or took too long.
             RequestError: the disk is full, or PlatformIO cannot work in this folder.
    """
    unknown = [name for name in environments if name not in project.environments]
    if unknown or not environments:
        raise RequestError(
            f"{project.path}: no environment {', '.join(unknown) or 'was asked for'}; there are "
            f"{', '.join(project.environments)}."
        )
    _check_path(project.path)
    _check_tools(project.board)
    log = log or project.path / ".pio" / "build.log"
    command = [sys.executable, "-m", "platformio", "run", "--project-dir", str(project.path.resolve())]
    command += [argument for name in environments for argument in ("--environment", name)]
    _run(command, project, log, environment(extra_flags), _counter(project, environments, log, progress), timeout_s)
    images = {name: read_image(project.path, name) for name in environments}
    if "release" in images and _map_file(project.path, "release").is_file():  # not every framework writes one
        flash, ram = model_bytes(_map_file(project.path, "release").read_text(errors="replace"), project.name)
        images = {name: replace(i, model_flash_bytes=flash, model_ram_bytes=ram) for name, i in images.items()}
    return images


def versions(board: Board) -> dict[str, str]:
    """The versions of what builds a board's firmware: platformio, scons and gcc; of a real board, its platform.

    Raises:  ToolError: one of them is missing.
    """
    _check_tools(board)
    return {
        "platformio": importlib.metadata.version("platformio"),
        "scons": importlib.metadata.version("scons"),
        **(
            {"platform": board.platformio.platform}
            if board.platformio is not None
            else {compiler(board): tools.version_line(compiler(board))}
        ),
    }


def compiler(board: Board) -> str:
    """The name of the C compiler that builds a board's firmware."""
    return f"{board.toolchain.prefix}gcc" if board.toolchain else "gcc"


def clean(project: Project) -> None:
    """Remove what building left in the project's folder: objects, images, PlatformIO's own files."""
    shutil.rmtree(project.path / ".pio", ignore_errors=True)


def elf_path(project: Path, environment: str) -> Path:
    """Where PlatformIO puts an environment's image."""
    return project / ".pio" / "build" / environment / "firmware.elf"


def _map_file(project: Path, environment: str) -> Path:
    return elf_path(project, environment).with_suffix(".map")


def _check_path(path: Path) -> None:
    """PlatformIO and SCons hand paths to a shell, some of them unquoted."""
    found = sorted(set(re.findall(r"""[\x00-\x1f\x7f"'`$;%&|<>()*?!\\]""", str(path.resolve()))))
    if found and os.name == "posix":
        raise RequestError(
            f"{path}: PlatformIO cannot build in a folder with {' or '.join(map(repr, found))} in its path.",
            hint="a folder with a plainer path for --out, and for TMPDIR.",
        )


def _check_tools(board: Board) -> None:
    missing = [name for name, module in (("platformio", "platformio"), ("scons", "SCons")) if not _has(module)]
    if missing:
        raise ToolError(
            f"building firmware needs {' and '.join(missing)}, which {sys.executable} does not have.",
            hint=tools.install_python(*missing),
        )
    if not board.is_hardware:  # PlatformIO brings a real board's compiler
        tools.find_compiler(compiler(board))


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def environment(extra_flags: Sequence[str] = ()) -> dict[str, str]:
    """The caller's environment without its PlatformIO settings, which could change what is built; offline, silent."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATFORMIO_")}
    kept |= {
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
        "PYTHONDONTWRITEBYTECODE": "1",  # beside platform/platform.py, which belongs to the project
        "LC_ALL": "C.UTF-8",
    }
    if extra_flags:
        kept["PLATFORMIO_BUILD_FLAGS"] = " ".join(extra_flags)
    return kept


def _run(
    command: Sequence[str],
    project: Project,
    log: Path,
    environment: Mapping[str, str],
    count: Callable[[], None],
    timeout_s: float,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            log.open("wb") as output,
            lifetime.process(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=project.path, env=environment
            ) as process,
        ):
            _wait(process, count, timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{project.path}: PlatformIO was stopped after {timeout_s:.0f} s; its output is in {log}."
        ) from error
    text = log.read_text(errors="replace")
    if process.returncode != 0 and os.strerror(errno.ENOSPC) in text:
        raise RequestError(
            f"{project.path}: the build was stopped by a full disk: {os.strerror(errno.ENOSPC)}.",
            hint="free some space, there and in the temporary folder.",
        )
    if process.returncode != 0:
        raise _overflow(project.board, text) or ToolError(
            f"{project.path}: the build failed. The whole log is {log}; its last lines:\n{_tail(text)}",
            hint=_hint(text),
        )


def _wait(process: subprocess.Popen[bytes], count: Callable[[], None], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            process.wait(max(0.0, min(_LOOK_S, left_s)))
            return
        except subprocess.TimeoutExpired:
            if left_s <= _LOOK_S:
                raise
        finally:
            count()


def _counter(project: Project, environments: Sequence[str], log: Path, progress: Progress | None) -> Callable[[], None]:
    """Reports how many of all files are compiled, as the log says."""
    library, frames = project.path / "lib", project.path / "lib" / "tensorflash_frames"
    in_each = len(list(library.rglob("src/**/*.c"))) + 1
    total = len(environments) * in_each - ("release" in environments) * len(list(frames.rglob("*.c")))

    def count() -> None:
        if progress is not None:
            progress("build", min(total, log.read_bytes().count(b"Compiling ")), total)

    return count


def _overflow(board: Board, text: str) -> BudgetError | None:
    """The linker's complaint about a region that is too small, as our error."""
    budgets = {"FLASH": ("flash", board.flash_bytes), "RAM": ("RAM", board.ram_bytes)}
    excess: dict[str, int] = {}
    for region, count in re.findall(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes?", text):
        excess[region] = max(excess.get(region, 0), int(count))
    if not excess:
        return None
    parts = [f"{budgets[r][0]} by {count} bytes (of {budgets[r][1]})" for r, count in sorted(excess.items())]
    return BudgetError(
        f"{board.id}: the firmware is too large: it exceeds the board's {' and '.join(parts)}.",
        hint="a smaller model, or a board with more memory (`tensorflash boards`).",
    )


def _hint(text: str) -> str | None:
    """What to do about what PlatformIO said."""
    found = re.search(r"(sudo apt-get install [a-z0-9 ._-]+|\S+ -m pip install scons)", text)
    if found:
        return found.group(1).strip()
    if re.search(r"^(HTTPClientError|InternetConnectionError|VCSBaseException)\b", text, re.MULTILINE):
        return "PlatformIO downloads a board's platform the first time: it needs the network (a proxy: HTTPS_PROXY)."
    return None


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])


def read_image(project: Path, environment: str) -> Image:
    """What a build left: the sizes and the sha256 of its ELF file. The model's share is not known here.

    Raises:  ToolError: there is no ELF file.
    """
    elf = elf_path(project, environment)
    try:
        sections = section_bytes(elf)
        digest = hashlib.sha256(elf.read_bytes()).hexdigest()
    except (OSError, ELFError) as error:
        raise ToolError(f"{elf}: the build left no ELF file there: {error}.") from error
    return Image(
        environment=environment,
        elf=elf,
        sha256=digest,
        flash_bytes=sum(size for name, (size, stored, _) in sections.items() if stored),
        ram_bytes=sum(size for name, (size, _, writable) in sections.items() if writable),
        sections={name: size for name, (size, _, _) in sections.items()},
    )


def section_bytes(elf: Path) -> dict[str, tuple[int, bool, bool]]:
    """Section -> (bytes, lies in flash, lies in RAM) of what a program loads; without the room left for the stack."""
    with elf.open("rb") as file:
        return {
            section.name: (
                int(section["sh_size"]),
                section["sh_type"] != "SHT_NOBITS",
                bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE) and not section.name.endswith("_array"),
            )
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"] and section.name != _STACK_SECTION
        }


def model_bytes(map_text: str, name: str) -> tuple[int, int]:
    """Flash and RAM, in bytes, of the objects of lib/<name>/, from a GNU linker map.

    Initialised data counts in both. Alignment gaps between sections and code of the C library count in neither.
    """
    flash = ram = 0
    for section, size, path in _placed(map_text):
        if re.search(rf"[/\\]lib{re.escape(name)}\.a\(|[/\\]lib[0-9a-f]+[/\\]{re.escape(name)}[/\\]", path):
            kind = section.split(".")[1]
            flash += size if kind not in ("bss", "sbss") else 0
            ram += size if kind in ("bss", "sbss", "data", "sdata") else 0
    return flash, ram


_PLACED = re.compile(
    r"^ (\.(?:text|rodata|srodata|data|sdata|bss|sbss|init_array)\S*|COMMON)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$",
    re.MULTILINE,
)


def _placed(map_text: str) -> Iterator[tuple[str, int, str]]:
    """(input section, bytes, object) of all that the linker kept. A long section name has a line of its own."""
    text = map_text.partition("Linker script and memory map")[2]
    for section, _, size, path in _PLACED.findall(re.sub(r"^( \S+)\n\s+(?=0x)", r"\1 ", text, flags=re.MULTILINE)):
        yield (".bss" if section == "COMMON" else section), int(size, 16), path
