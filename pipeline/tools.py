"""External programs: who brings them, how to install them, which version is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ToolError


@dataclass(frozen=True)
class Program:
    """A program that tensorflash runs. apt: Debian's and Ubuntu's packages; brew, winget: None where there is none.

    specs: of a cross compiler, the file by which one knows that its C library is there.
    """

    name: str
    needed_for: str
    apt: tuple[str, ...]
    brew: str | None
    winget: str | None
    specs: str | None = None


PROGRAMS = {
    program.name: program
    for program in (
        Program("gcc", "the board native", ("gcc", "libc6-dev"), "gcc", None),
        Program(
            "arm-none-eabi-gcc",
            "Arm boards",
            ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
            "--cask gcc-arm-embedded",
            "Arm.GnuArmEmbeddedToolchain",
            "nano.specs",
        ),
        Program(
            "riscv64-unknown-elf-gcc",
            "RISC-V boards",
            ("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"),
            None,
            None,
            "picolibc.specs",
        ),
        Program(
            "qemu-system-arm", "running Arm boards", ("qemu-system-arm",), "qemu", "SoftwareFreedomConservancy.QEMU"
        ),
        Program(
            "qemu-system-riscv32",
            "running RISC-V boards",
            ("qemu-system-misc",),
            "qemu",
            "SoftwareFreedomConservancy.QEMU",
        ),
    )
}


def install_command(name: str) -> str:
    """The command that installs a program on this system, or what to look for where there is none."""
    program = PROGRAMS.get(name)
    if program is None:
        return f"install {name} and put it on the PATH"
    if shutil.which("apt-get"):
        return f"sudo apt-get install --no-install-recommends {' '.join(program.apt)}"
    if sys.platform == "darwin" and program.brew:
        return f"brew install {program.brew}"
    if sys.platform == "win32" and program.winget:
        return f"winget install {program.winget}"
    return f"install {name} and put it on the PATH (Debian's packages: {' '.join(program.apt)})"


def install_python(*packages: str) -> str:
    """The command that installs Python packages for the interpreter that runs this."""
    return f"{sys.executable} -m pip install {' '.join(repr(p) if '[' in p or '<' in p else p for p in packages)}"


def find(name: str) -> Path:
    """The path of a program.

    Raises:  ToolError: it is not installed; the hint is the command that installs it.
    """
    found = shutil.which(name)
    if found is None:
        raise ToolError(f"{name} is not installed.", hint=install_command(name))
    return Path(found)


def find_compiler(name: str) -> Path:
    """The path of a C compiler that has its C library.

    Raises:  ToolError: the compiler or the library is not installed.
    """
    path = find(name)
    program = PROGRAMS.get(name)
    if program is not None and program.specs is not None:
        answer = _ask(path, f"-print-file-name={program.specs}")
        if not Path(answer).is_file():  # gcc answers the bare name where there is no such file
            raise ToolError(f"{name} has no C library ({program.specs}).", hint=install_command(name))
    return path


# Debian's packages of a compiler's C++ library; there is none for RISC-V.
_CPP_LIBRARIES = {"gcc": "g++", "arm-none-eabi-gcc": "libstdc++-arm-none-eabi-newlib"}


def find_cpp_library(compiler: str) -> Path:
    """The C++ library of a C compiler, which programs with TFLM are linked with.

    Raises:  ToolError: the compiler or the library is not installed.
    """
    library = Path(_ask(find(compiler), "-print-file-name=libstdc++.a"))
    if not library.is_file():  # gcc answers the bare name where there is no such file
        package = _CPP_LIBRARIES.get(compiler)
        raise ToolError(
            f"{compiler} has no C++ library (libstdc++.a), which the tflm runtime needs.",
            hint=f"sudo apt-get install --no-install-recommends {package}" if package else "--runtime aot",
        )
    return library


def version_line(name: str) -> str:
    """The first line of what `name --version` says.

    Raises:  ToolError: it is not installed, or does not answer.
    """
    return _ask(find(name), "--version").partition("\n")[0]


def version(name: str) -> str:
    """The version of a program as numbers, "12.2.1" for example.

    Raises:  ToolError: as version_line.
    """
    line = version_line(name)
    numbers = re.findall(r"\d+(?:\.\d+)+", re.sub(r"\(.*?\)", "", line)) or re.findall(r"\d+(?:\.\d+)+", line)
    return numbers[0] if numbers else line


def _ask(program: Path, question: str) -> str:
    try:
        answer = subprocess.run(
            [str(program), question], capture_output=True, text=True, errors="replace", timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(
            f"{program} {question} failed: {error}.", hint=f"repair it: {install_command(program.name)}"
        ) from error
    return answer.stdout.strip()
