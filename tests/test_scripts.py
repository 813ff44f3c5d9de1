"""scripts/setup and scripts/test, on a machine that is made of fakes: nothing is installed by these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted([*(REPOSITORY / "scripts").iterdir(), REPOSITORY / ".ci" / "run"])
BASH_SCRIPTS = [path for path in SCRIPTS if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]

# What the scripts use of every Unix system.
ORDINARY = ("bash", "env", "cat", "cut", "dirname", "flock", "id", "mkdir", "nproc", "printf", "rm", "sed", "sha256sum",
            "sort", "touch", "xargs", "git", "grep", "chmod", "cp")  # fmt: skip
TOOLS = ("gcc", "arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")

# Each fake notes how it was called in $CALLS. Debian's tools know $INSTALLED packages, and installing adds to them.
FAKES = {
    **dict.fromkeys(TOOLS, "exit 0"),
    "id": 'echo "${FAKE_UID:-0}"',
    "dpkg-query": 'grep -qx -- "${@: -1}" "$INSTALLED" && printf installed',
    "dpkg": "exit 0",
    "apt-cache": '[ -e "$INSTALLED.lists" ]',
    "apt-get": """
case "$*" in
    *update*) touch "$INSTALLED.lists" ;;
    *install*) [ -e "$INSTALLED.lists" ] || exit 100; shift 5; printf '%s\\n' "$@" >>"$INSTALLED" ;;
esac""",
    "python3": """
case "$1" in
    -V) echo "Python 3.11.2" ;;
    -c) case "$2" in *prefix*) echo "${FAKE_PREFIX:-}" ;; *) exit "${FAKE_UNSUPPORTED:-0}" ;; esac ;;
    -m)
        case "$2 ${3:-}" in
            "venv --clear") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
            "pip install") exit "${FAKE_PIP:-0}" ;;
        esac ;;
esac""",
}  # fmt: skip


class Machine:
    """A folder with a copy of the scripts, and a PATH of which every program is known."""

    def __init__(self, folder: Path, without: tuple[str, ...] = ()) -> None:
        self.repository = folder / "clone"
        self.calls_file = folder / "calls"
        self.installed = folder / "installed"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.repository / "scripts").mkdir(parents=True)
        for name in ("setup", "test"):
            shutil.copy(REPOSITORY / "scripts" / name, self.repository / "scripts" / name)
        (self.repository / "pyproject.toml").write_text("[project]\n")
        self.installed.write_text("gcc\ng++\nlibc6-dev\n")
        for name in ORDINARY:
            real = shutil.which(name)
            if real is None:
                pytest.skip(f"{name} is not installed")
            (self.bin / name).symlink_to(real)
        for name, code in FAKES.items():
            if name not in without:
                path = self.bin / name
                path.unlink(missing_ok=True)
                path.write_text(f'#!{self.bin}/bash\necho "${{0##*/}} $*" >>"$CALLS"\n{code}\n')
                path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        known = {"PATH": str(self.bin), "CALLS": str(self.calls_file), "INSTALLED": str(self.installed)}
        return subprocess.run(
            [str(self.bin / "bash"), *command],
            cwd=self.repository,
            env=known | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/setup", **environment)

    def calls(self, start: str) -> list[str]:
        return [line for line in self.calls_file.read_text().splitlines() if line.startswith(start)]


@pytest.mark.parametrize("path", BASH_SCRIPTS, ids=lambda path: path.name)
def test_scripts_stop_at_the_first_mistake_and_can_be_run(path: Path) -> None:
    assert "\nset -euo pipefail\n" in path.read_text()
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], timeout=30, check=True)


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        [shellcheck, *map(str, BASH_SCRIPTS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def test_set_up_installs_what_is_missing_and_only_that(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.repository}/.venv/bin/python\n"
    installs = machine.calls("apt-get -q -y -o DPkg::Lock::Timeout=300 install")
    assert installs == [
        "apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends python3-venv gcc-arm-none-eabi "
        "libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc "
        "openssh-client openssh-server"
    ]
    assert len(machine.calls("apt-get -q -y -o DPkg::Lock::Timeout=300 update")) == 1
    assert machine.calls("python -m pip install") == [
        "python -m pip install --disable-pip-version-check -e .[all,dev]",
        "python -m pip install --disable-pip-version-check labgrid>=26,<27",
    ]


def test_set_up_does_nothing_the_second_time(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.setup()
    second = machine.setup()
    assert second.returncode == 0
    assert second.stdout == first.stdout
    assert second.stderr == ""
    assert not machine.calls("apt-get")
    assert not machine.calls("python -m pip install")


def test_set_up_installs_again_when_the_dependencies_change(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.setup()
    (machine.repository / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert machine.setup().returncode == 0
    assert machine.calls("python -m pip install")
    assert not machine.calls("python3 -m venv"), "what is installed already is kept"


def test_an_interrupted_installation_starts_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    failed = machine.setup(FAKE_PIP="1")
    assert failed.returncode == 3
    assert "pip could not install" in failed.stderr
    assert failed.stdout == ""
    assert machine.setup().returncode == 0
    assert machine.calls("python3 -m venv") == ["python3 -m venv --clear .venv"]
    machine.setup()
    assert not machine.calls("python -m pip install")


def test_without_root_and_sudo_the_command_is_shown(tmp_path: Path) -> None:
    done = Machine(tmp_path).setup(FAKE_UID="1000")
    assert done.returncode == 3
    assert "as root: apt-get update && apt-get install --no-install-recommends python3-venv gcc-arm" in done.stderr


def test_other_systems_are_told_what_to_install(tmp_path: Path) -> None:
    done = Machine(tmp_path, without=("apt-get", "arm-none-eabi-gcc", "qemu-system-riscv32")).setup()
    assert done.returncode == 3
    assert "not on PATH: arm-none-eabi-gcc qemu-system-riscv32" in done.stderr
    assert "QEMU" in done.stderr


def test_other_systems_with_all_tools_are_set_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path, without=("apt-get",))
    assert machine.setup().returncode == 0
    assert machine.calls("python -m pip install")


def test_an_unsupported_python_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, without=("apt-get",))
    assert "no Python 3.10 to 3.13" in machine.setup(FAKE_UNSUPPORTED="1").stderr
    named = machine.setup(FAKE_UNSUPPORTED="1", PYTHON="python3")
    assert named.returncode == 3
    assert "PYTHON=python3 is not a Python 3.10 to 3.13" in named.stderr


def test_a_virtual_environment_that_python_names_is_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path, without=("apt-get",))
    own = tmp_path / "own"
    machine.setup()
    shutil.copytree(machine.repository / ".venv", own)
    (own / ".tensorflash-ready").unlink()
    done = machine.setup(PYTHON=str(own / "bin" / "python"), FAKE_PREFIX=str(own))
    assert done.stdout == f"{own}/bin/python\n"
    assert machine.calls("python -m pip install")


def test_the_test_command_explains_itself() -> None:
    done = subprocess.run(
        [str(REPOSITORY / "scripts" / "test"), "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert all(word in done.stdout for word in ("--full", "--update-golden", "pytest"))
    assert done.stdout.startswith("Everything CI checks")


def test_the_test_command_checks_all_and_stops_at_the_first_failure(tmp_path: Path) -> None:
    machine = Machine(tmp_path, without=("apt-get",))
    done = machine.run("scripts/test")
    assert done.returncode == 0, done.stderr
    checks = [call.split()[2] for call in machine.calls("python -m") if call.split()[2] not in ("pip", "venv")]
    assert checks == ["ruff", "ruff", "mypy", "pytest"]
    assert "--dist loadfile" in machine.calls("python -m pytest")[0]

    python = machine.repository / ".venv" / "bin" / "python"
    python.write_text(python.read_text().replace("-m)", '-m) [ "$2" != mypy ] || exit 1'))
    assert machine.run("scripts/test").returncode == 1
    assert not machine.calls("python -m pytest")


def test_arguments_of_the_test_command_go_to_pytest(tmp_path: Path) -> None:
    machine = Machine(tmp_path, without=("apt-get",))
    machine.run("scripts/test", "tests/test_cli.py", "-k", "two words")
    assert machine.calls("python -m ruff") == []
    assert machine.calls("python -m pytest") == ["python -m pytest tests/test_cli.py -k two words"]


SUITE = """
import os
import pytest

def test_one(): pass

@pytest.mark.parametrize("n", range(3))
def test_many(n): pass

@pytest.mark.slow
def test_slow(): pass

def test_broken(): assert os.environ.get("MENDED")
"""


def test_a_full_run_does_not_repeat_what_passed(tmp_path: Path) -> None:
    for name in ("tests/conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TENSORFLASH"))}
        known["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-o", "testpaths=.", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env=known | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.strip().splitlines()[-1]

    full = {"TENSORFLASH_FULL": "1", "TENSORFLASH_TEST_STATE": str(tmp_path / "passed")}
    code, last = run()
    assert (code, last.split(" in ")[0]) == (1, "1 failed, 4 passed, 1 deselected")
    code, last = run("-p", "xdist", "-n", "2", **full)
    assert (code, last.split(" in ")[0]) == (1, "1 failed, 5 passed")
    code, last = run("-p", "xdist", "-n", "2", MENDED="1", **full)
    assert (code, last.split(" in ")[0]) == (0, "1 passed")
    code, last = run(**full)
    assert (code, last.split(" in ")[0]) == (0, "6 deselected")
