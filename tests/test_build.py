"""Building: real projects through PlatformIO, their sizes, and every way in which a build fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pipeline import board, build, project, tools
from pipeline.errors import BudgetError, RequestError, ToolError
from pipeline.model import Export, Image
from pipeline.project import Project
from tests.toy_export import CODE, toy_export

STRICT = ("-Werror", "-Wconversion", "-Wpedantic", "-Wshadow")
# Every board is built and run in test_ports.py; here the families are, and all in the full run.
FAMILIES = ("native", "qemu_cortex_m0", "qemu_cortex_m4", "qemu_riscv32")
BOARDS = [
    b.id if b.id in FAMILIES else pytest.param(b.id, marks=pytest.mark.slow, id=b.id)
    for b in board.all_boards()
    if not b.is_hardware and b.edgetpu is None
]


def test_a_real_boards_build_asks_for_no_compiler_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert build.versions(board.load("esp32_devkitc"))["platform"] == "espressif32@6.13.0"
    with pytest.raises(ToolError):
        build.versions(board.load("qemu_cortex_m4"))


def rendered(name: str, out: Path, export: Export | None = None) -> Project:
    return project.render(export or toy_export(), board.load(name), out)


def symbols(image: Image) -> set[str]:
    with image.elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name for symbol in table.iter_symbols()}


def plain_pio(folder: Path, *arguments: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`pio run` as a user types it, on a home of its own, with no way to a network."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **proxies, **settings}
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def triple(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, Image]]:
    emitted = rendered("qemu_cortex_m4", tmp_path_factory.mktemp("triple") / "out")
    return emitted, build.compile_project(emitted, emitted.environments, extra_flags=STRICT)


@pytest.mark.emulated
@pytest.mark.parametrize("name", BOARDS)
def test_what_ships_and_what_verifies_build_without_a_warning(name: str, tmp_path: Path) -> None:
    emitted = rendered(name, tmp_path / "out")
    log = tmp_path / "build.log"
    images = build.compile_project(emitted, ("release", "verify"), log, extra_flags=STRICT)
    assert list(images) == ["release", "verify"]
    assert "warning" not in log.read_text().lower()
    assert images["release"].flash_bytes < images["verify"].flash_bytes


@pytest.mark.emulated
@pytest.mark.parametrize("name", BOARDS)
def test_uploading_by_hand_runs_the_example(name: str, tmp_path: Path) -> None:
    rendered(name, tmp_path / "out")
    ran = plain_pio(tmp_path / "out", "-t", "upload", home=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\ntop-1: output 15 of 16\n" in ran.stdout


@pytest.mark.emulated
def test_a_project_stands_alone(tmp_path: Path) -> None:
    """Moved with its build products, the original gone, another HOME, no network, nothing set."""
    rendered("qemu_cortex_m4", tmp_path / "first")
    (tmp_path / "home1").mkdir()
    first = plain_pio(tmp_path / "first", home=tmp_path / "home1")
    assert first.returncode == 0, first.stdout + first.stderr
    elf = build.elf_path(tmp_path / "first", "release").read_bytes()
    (tmp_path / "elsewhere" / "my project").mkdir(parents=True)
    moved = (tmp_path / "first").rename(tmp_path / "elsewhere" / "my project" / "toy")
    for fresh in (False, True):
        home = tmp_path / f"home2-{fresh}"
        home.mkdir()
        if fresh:
            shutil.rmtree(moved / ".pio")
        else:
            (moved / "src" / "app_main.c").touch()
        ran = plain_pio(moved, home=home)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert not list(home.rglob("*")), "PlatformIO wrote into HOME"
        assert str(tmp_path / "first") not in ran.stdout + ran.stderr
        assert build.elf_path(moved, "release").read_bytes() == elf


@pytest.mark.emulated
def test_a_copy_uses_its_own_platform(tmp_path: Path) -> None:
    rendered("native", tmp_path / "one")
    assert plain_pio(tmp_path / "one", home=tmp_path).returncode == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    script = tmp_path / "one" / "platform" / "builder" / "main.py"
    script.write_text("raise SystemExit('the platform of the original')\n")
    ran = plain_pio(tmp_path / "two", home=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.emulated
def test_a_library_builds_in_a_project_of_ones_own(tmp_path: Path) -> None:
    host = rendered("native", tmp_path / "own")
    shutil.rmtree(tmp_path / "own" / "lib")
    project.render_library(toy_export(), tmp_path / "own" / "lib" / "network")
    shutil.copy(tmp_path / "own/lib/network/examples/minimal/main.c", tmp_path / "own/src/app_main.c")
    image = build.compile_project(host, ("release",), extra_flags=STRICT)["release"]
    said = subprocess.run([image.elf], capture_output=True, text=True, timeout=30, check=True).stdout
    assert said == "top-1: output 15 of 16\n"


@pytest.mark.emulated
def test_only_the_verifying_images_hold_frames_and_only_the_trace_shows_layers(
    triple: tuple[Project, dict[str, Image]],
) -> None:
    frames = {name: {s for s in symbols(i) if "frames" in s} for name, i in triple[1].items()}
    assert frames["release"] == set()
    assert "tflash_frames_serve" in frames["verify"] & frames["trace"]
    assert [name for name, image in triple[1].items() if "tflash_layer" in symbols(image)] == ["trace"]


@pytest.mark.emulated
def test_sizes_are_what_the_compilers_size_tool_says(triple: tuple[Project, dict[str, Image]]) -> None:
    for image in triple[1].values():
        said = subprocess.run(
            ["arm-none-eabi-size", "-A", "-d", image.elf], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        sections = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)\s+\d+$", said, re.MULTILINE)}
        flash = sum(sections.get(name, 0) for name in (".text", ".rodata", ".data", ".init_array", ".ARM.exidx"))
        assert image.flash_bytes == flash
        assert image.ram_bytes == sections.get(".data", 0) + sections[".bss"]
        assert sections[".stack"] == triple[0].board.stack_bytes


@pytest.mark.emulated
def test_the_models_share_is_its_own_objects_after_the_linker_has_dropped_what_is_not_used(
    triple: tuple[Project, dict[str, Image]],
) -> None:
    images = triple[1]
    release = images["release"]
    assert release.model_ram_bytes == 32  # the arena
    objects = subprocess.run(
        ["arm-none-eabi-nm", "-S", "--defined-only", release.elf],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    size = {name: int(s, 16) for s, name in re.findall(r"^\S+ (\S+) \S (\S+)$", objects, re.MULTILINE)}
    assert "never_called" not in size
    named = sum(size[n] for n in ("toy_model", "inputs", "outputs", "table", "toy_init", "toy_invoke"))
    named += sum(size[n] for n in ("toy_input", "toy_output", "used", "add_table"))
    strings = release.model_flash_bytes - named
    assert 0 <= strings <= 24  # "toy", "aot", "in", "out" and padding inside sections
    assert {i.model_flash_bytes for i in images.values()} == {release.model_flash_bytes}


@pytest.mark.emulated
def test_the_same_sources_give_the_same_bytes_anywhere(
    triple: tuple[Project, dict[str, Image]], tmp_path: Path
) -> None:
    images = build.compile_project(rendered("qemu_cortex_m4", tmp_path / "x"), ("release", "verify"))
    for name, image in images.items():
        assert image.sha256 == triple[1][name].sha256


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("arena", "table", "message"), [(16_384, 16, "RAM"), (32, 300_000, "flash"), (16_384, 300_000, "flash")]
)
def test_firmware_that_does_not_fit_is_a_budget_error_with_the_excess(
    arena: int, table: int, message: str, tmp_path: Path
) -> None:
    code = CODE.replace("table[16]", f"table[{table}]")
    with pytest.raises(BudgetError, match=rf"exceeds the board's {message} by \d+ bytes \(of ") as caught:
        build.compile_project(rendered("qemu_cortex_m0", tmp_path / "out", toy_export(arena_bytes=arena, code=code)))
    assert caught.value.exit_code == 1
    if (arena, table) == (16_384, 16):
        # Arena, the port's buffer and state (368 - 32 with an arena of 32) and the stack of the board.
        excess = 16_384 + (368 - 32) + 2_048 - 16_384
        assert f"RAM by {excess} bytes (of 16384)" in caught.value.message
    if table == 300_000 and arena == 16_384:
        assert re.search(r"flash by \d+ bytes \(of 262144\) and RAM by \d+ bytes", caught.value.message)


def test_code_that_does_not_compile_is_a_tool_error_with_the_compilers_words(tmp_path: Path) -> None:
    emitted = rendered("native", tmp_path / "out", toy_export(code=CODE + "int broken = undeclared_name;\n"))
    with pytest.raises(ToolError, match="the build failed") as caught:
        build.compile_project(emitted, log=tmp_path / "logs" / "build.log")
    assert "undeclared_name" in caught.value.message
    assert str(tmp_path / "logs" / "build.log") in caught.value.message
    assert "undeclared_name" in (tmp_path / "logs" / "build.log").read_text()
    assert caught.value.exit_code == 3


def test_a_build_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    for progress in (None, lambda stage, done, total: None):
        with pytest.raises(ToolError, match="was stopped after 0 s"):
            build.compile_project(rendered("native", tmp_path / "out"), timeout_s=0.01, progress=progress)


def test_progress_counts_files_up_to_their_number(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build.compile_project(rendered("native", tmp_path / "out"), progress=lambda *step: seen.append(step))
    assert {stage for stage, _, _ in seen} == {"build"}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1][1] == seen[-1][2] == 4  # toy.c, add_table.c, host.c, app_main.c


def test_an_unknown_environment_is_refused(tmp_path: Path) -> None:
    emitted = rendered("native", tmp_path / "out")
    for environments in (("debug",), ()):
        with pytest.raises(RequestError, match="there are release, verify, trace"):
            build.compile_project(emitted, environments)


def test_the_callers_platformio_settings_do_not_change_what_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-include does_not_exist.h")
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    build.compile_project(rendered("native", tmp_path / "out"))
    assert not (tmp_path / "core").exists()


def test_a_missing_compiler_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, compiler, package in (
        ("qemu_cortex_m4", "arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
        ("qemu_riscv32", "riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"),
        ("native", "gcc", "gcc libc6-dev"),
    ):
        with pytest.raises(ToolError, match=f"^{compiler} is not installed") as caught:
            build.compile_project(rendered(name, tmp_path / name))
        assert package in str(caught.value.hint)
        assert caught.value.exit_code == 3


def test_a_compiler_without_its_c_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "arm-none-eabi-gcc"
    fake.write_text('#!/bin/sh\necho "${1#-print-file-name=}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"has no C library \(nano.specs\)"):
        build.compile_project(rendered("qemu_cortex_m4", tmp_path / "out"))


@pytest.mark.parametrize("missing", ["platformio", "SCons"])
def test_a_missing_build_tool_is_named_with_the_command_that_installs_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = build.importlib.util.find_spec
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    with pytest.raises(ToolError, match=f"needs {missing.lower()}, which") as caught:
        build.compile_project(rendered("native", tmp_path / "out"))
    assert caught.value.hint == f"{sys.executable} -m pip install {missing.lower()}"


@pytest.mark.parametrize(
    "said",
    [
        "Platform Manager: Installing ststm32 @ 19.6.0\nHTTPClientError: \n",
        "fatal: unable to access\nVCSBaseException: VCS: Could not process command ['git', 'clone']\n",
    ],
)
def test_a_platform_that_cannot_be_downloaded_is_told_from_a_mistake_in_the_code(said: str) -> None:
    assert "needs the network" in str(build._hint(said))
    assert build._hint("main.c: error: HTTPClientError undeclared\n") is None


def test_plain_pio_without_scons_says_what_to_install(tmp_path: Path) -> None:
    rendered("native", tmp_path / "out")
    assert plain_pio(tmp_path / "out", home=tmp_path).returncode == 0
    shim = tmp_path / "out" / ".pio" / "core" / "tool-scons" / "scons.py"
    ran = subprocess.run([sys.executable, "-I", "-S", shim], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 1
    assert ran.stderr == f"Error: scons is missing. Install it with: {sys.executable} -m pip install scons\n"


def test_plain_pio_without_the_compiler_says_what_to_install(tmp_path: Path) -> None:
    rendered("qemu_riscv32", tmp_path / "out")
    ran = plain_pio(tmp_path / "out", home=tmp_path, PATH=str(tmp_path))
    assert ran.returncode == 1
    assert "riscv64-unknown-elf-gcc is not on the PATH" in ran.stderr
    assert "sudo apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" in ran.stderr


def test_the_build_tool_has_the_version_that_this_platformio_asks_for(tmp_path: Path) -> None:
    from platformio.dependencies import get_core_dependencies

    rendered("native", tmp_path / "out")
    assert plain_pio(tmp_path / "out", home=tmp_path).returncode == 0
    manifest = json.loads((tmp_path / "out/.pio/core/tool-scons/package.json").read_text())
    assert get_core_dependencies()["tool-scons"] == f"~{manifest['version']}"


def test_versions_name_the_compiler_of_the_board() -> None:
    found = build.versions(board.load("native"))
    assert list(found) == ["platformio", "scons", "gcc"]
    assert found["gcc"] == tools.version_line("gcc")


def test_clean_leaves_the_project_as_it_was_rendered(tmp_path: Path) -> None:
    emitted = rendered("native", tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    build.compile_project(emitted)
    build.clean(emitted)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_map_is_read_by_object_and_kind() -> None:
    text = """
Discarded input sections

 .text.gone     0x00000000       0x40 .pio/build/release/lib1a2/libkws.a(kws.o)

Linker script and memory map

 .text.kws_invoke
                0x00000010       0x20 .pio/build/release/lib1a2/libkws.a(kws.o)
 .text.other    0x00000030      0x100 .pio/build/release/lib3b4/libkws_frames.a(frames.o)
 .rodata        0x00000130       0x08 .pio/build/release/lib1a2/libkws.a(constants.o)
 .rodata.str1.1
                0x00000138        0x5 .pio/build/release/lib1a2/libkws.a(kws.o)
                                  0x9 (size before relaxing)
 *fill*         0x0000013d        0x3
 .data.state    0x20000000       0x10 .pio/build/release/lib1a2/kws/state.o
 .bss.arena     0x20000010     0x1000 .pio/build/release/lib1a2/libkws.a(kws.o)
 COMMON         0x20001010        0x4 .pio/build/release/lib1a2/libkws.a(old.o)
 .debug_info    0x00000000     0x9999 .pio/build/release/lib1a2/libkws.a(kws.o)
 .text          0x00000200      0x300 /usr/lib/libc_nano.a(libkws.o)
"""
    assert build.model_bytes(text, "kws") == (0x20 + 0x08 + 0x05 + 0x10, 0x10 + 0x1000 + 0x04)
    assert build.model_bytes(text, "absent") == (0, 0)


def test_an_image_that_is_no_elf_file_is_a_tool_error(tmp_path: Path) -> None:
    emitted = replace(rendered("native", tmp_path / "out"), environments=("release",))
    elf = build.elf_path(emitted.path, "release")
    elf.parent.mkdir(parents=True)
    elf.write_bytes(b"not an ELF file, but long enough to look at")
    with pytest.raises(ToolError, match="the build left no ELF file there"):
        build.read_image(emitted.path, "release")
