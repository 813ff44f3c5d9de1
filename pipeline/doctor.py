"""What is installed of all that tensorflash can use, and the command that installs what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline import tools
from pipeline.errors import ToolError


@dataclass(frozen=True)
class Finding:
    """One tool or package. found is its version, with a remark where one is due; None: it is missing."""

    name: str
    found: str | None
    needed_for: str
    install: str
    ok: bool


# Names only: importing takes seconds.
_PACKAGES = {
    "platformio": "building firmware",
    "scons": "building firmware",
    "tflite-micro": "golden answers on this computer",
    "ai-edge-litert": "the cross-check with LiteRT",
    "tensorflow": "training, quantization, conversion",
    "tf_keras": "training, quantization, conversion",
    "tensorflow-model-optimization": "quantization-aware training",
}


def diagnose() -> list[Finding]:
    """Look at everything, without importing or building anything."""
    return [*_python(), *_packages(), *_programs()]


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", found, "everything", "Python 3.10 or newer", sys.version_info >= (3, 10))


def _packages() -> Iterator[Finding]:
    for name, needed_for in _PACKAGES.items():
        version = package_version(name)
        install = tools.install_python(_requirement(name))
        if name == "tflite-micro" and not (sys.platform == "linux" and platform.machine() == "x86_64"):
            install = "no wheel for this system: use `tensorflash verify --golden FILE.npz`"
        remark = _scons_remark(version) if name == "scons" and version else ""
        yield Finding(name, f"{version}{remark}" if version else None, needed_for, install, version is not None)


def package_version(name: str) -> str | None:
    """The version of an installed Python package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirement(name: str) -> str:
    """The package with the versions that tensorflash asks for."""
    try:
        asked = importlib.metadata.requires("tensorflash") or []
    except importlib.metadata.PackageNotFoundError:
        asked = []
    requirements = [text.partition(";")[0].strip() for text in asked]
    return next((text for text in requirements if re.fullmatch(rf"{re.escape(name)}([<>=!~].*)?", text)), name)


def _scons_remark(version: str) -> str:
    """PlatformIO names the SCons that it was tried with: tool-scons 4.41101 is SCons 4.11.1."""
    try:
        from platformio.dependencies import get_core_dependencies

        code = get_core_dependencies()["tool-scons"].lstrip("~^=").split(".")[1]
        tried = f"{code[0]}.{int(code[1:3])}.{int(code[3:5])}"
    except (ImportError, KeyError, IndexError, ValueError):
        return ""
    return "" if tried == version else f" (PlatformIO was tried with {tried})"


def _programs() -> Iterator[Finding]:
    for name, program in tools.PROGRAMS.items():
        install = tools.install_command(name)
        try:
            tools.find_compiler(name)
            yield Finding(name, tools.version(name), program.needed_for, install, True)
        except ToolError as error:
            found = None if "not installed" in error.message else error.message
            yield Finding(name, found, program.needed_for, error.hint or install, False)
