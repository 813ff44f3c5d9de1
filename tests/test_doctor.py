"""doctor: what it finds on this machine, and on machines where things are missing."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import doctor, tools
from pipeline.errors import ToolError


def findings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.diagnose()}


def no_package(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_this_python_and_its_packages_are_found() -> None:
    found = findings()
    assert found["python"].ok
    assert found["platformio"].found == importlib.metadata.version("platformio")
    assert str(found["scons"].found).startswith(importlib.metadata.version("scons"))


def test_looking_imports_no_heavy_package() -> None:
    code = "import sys; from pipeline import doctor; doctor.diagnose(); print(*(m.split('.')[0] for m in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"tensorflow", "tf_keras", "ai_edge_litert", "tflite_micro", "SCons", "numpy"} & set(said.split())


def test_what_is_missing_comes_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt = tmp_path / "apt-get"
    fake_apt.write_text("#!/bin/sh\n")
    fake_apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "version", no_package)
    found = findings()
    missing = {name for name, finding in found.items() if not finding.ok}
    assert missing == set(found) - {"python"}
    assert {found[name].found for name in missing} == {None}
    assert found["qemu-system-riscv32"].install == "sudo apt-get install --no-install-recommends qemu-system-misc"
    assert (
        found["arm-none-eabi-gcc"].install
        == "sudo apt-get install --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi"
    )
    assert found["tensorflow"].install.startswith(f"{sys.executable} -m pip install 'tensorflow")


@pytest.mark.parametrize(
    ("system", "command"),
    [
        ("darwin", "brew install qemu"),
        ("win32", "winget install SoftwareFreedomConservancy.QEMU"),
        ("linux", "install qemu-system-arm and put it on the PATH (Debian's packages: qemu-system-arm)"),
    ],
)
def test_other_systems_get_a_hint_of_their_own(
    system: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools.sys, "platform", system)
    assert tools.install_command("qemu-system-arm") == command


def test_where_there_is_no_wheel_the_way_around_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert "--golden FILE.npz" in findings()["tflite-micro"].install


def test_a_compiler_without_its_library_is_not_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "arm-none-eabi-gcc"
    fake.write_text('#!/bin/sh\necho "${1#-print-file-name=}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = findings()["arm-none-eabi-gcc"]
    assert not finding.ok
    assert finding.found is not None
    assert "has no C library" in finding.found


def test_a_program_that_fails_is_a_tool_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "qemu-system-arm"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="--version failed"):
        tools.version("qemu-system-arm")
    assert not findings()["qemu-system-arm"].ok


def test_another_scons_than_platformio_was_tried_with_is_remarked() -> None:
    pytest.importorskip("platformio")
    from platformio.dependencies import get_core_dependencies

    code = get_core_dependencies()["tool-scons"].split(".")[1]
    tried = f"{code[0]}.{int(code[1:3])}.{int(code[3:5])}"
    assert doctor._scons_remark(tried) == ""
    assert doctor._scons_remark("4.0.0") == f" (PlatformIO was tried with {tried})"


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205", "12.2.1"),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "7.2.22"),
        ("riscv64-unknown-elf-gcc () 12.2.0", "12.2.0"),
        ("gcc (Debian 12.2.0-14) 12.2.0", "12.2.0"),
        ("tool of unknown age", "tool of unknown age"),
    ],
)
def test_a_version_is_read_from_what_programs_say(line: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "version_line", lambda name: line)
    assert tools.version("any") == version


def test_a_compiler_without_its_cpp_library_is_told_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text("#!/bin/sh\necho libstdc++.a\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ToolError, match=r"has no C\+\+ library") as caught:
        tools.find_cpp_library("arm-none-eabi-gcc")
    assert caught.value.hint is not None and caught.value.hint.endswith(" libstdc++-arm-none-eabi-newlib")
