from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import lifetime

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs process groups")

# A process with a child, that never end by themselves; both write their ids.
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "open('ids.tmp', 'w').write(f'{os.getpid()} {child.pid}'); os.rename('ids.tmp', 'ids')\n"
    "time.sleep(600)\n"
)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen within a minute")
        time.sleep(0.02)


def family(folder: Path) -> list[int]:
    until((folder / "ids").exists)
    return [int(word) for word in (folder / "ids").read_text().split()]


def test_a_process_ends_with_its_children_when_the_block_is_left(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        lifetime.process(
            [sys.executable, "-c", FAMILY], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        ),
    ):
        ids = family(tmp_path)
        assert all(map(is_running, ids))
        raise KeyboardInterrupt
    until(lambda: not any(map(is_running, ids)))


def test_a_process_ends_with_its_children_when_the_one_that_started_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pipeline import lifetime\n"
        "with lifetime.process([sys.executable, '-c', sys.argv[1]], stdout=2, stderr=2, cwd=sys.argv[2]) as process:\n"
        "    process.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, FAMILY, str(tmp_path)]) as host:
        ids = family(tmp_path)
        assert all(map(is_running, ids))
        host.send_signal(signal.SIGKILL)
    until(lambda: not any(map(is_running, ids)))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); signal.raise_signal(2)", -signal.SIGINT),
    ],
)
def test_the_exit_status_is_that_of_the_command(code: str, status: int) -> None:
    with lifetime.process([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.communicate(timeout=60)
    assert process.returncode == status


def test_output_folder_and_environment_reach_the_command(tmp_path: Path) -> None:
    script = (
        "import os, sys; print(os.getcwd(), os.environ['WORD']); print('err', file=sys.stderr); print(sys.stdin.read())"
    )
    with lifetime.process(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "WORD": "plum"},
    ) as process:
        shown = process.communicate(timeout=60)
    assert shown == (f"{tmp_path} plum\n\n".encode(), b"err\n")


def test_a_guard_outside_of_its_own_group_kills_nothing() -> None:
    done = subprocess.run(
        [sys.executable, lifetime._GUARD, "0", "true"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "not its own" in done.stderr


def test_a_temporary_folder_is_removed_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="oh"), lifetime.temporary_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        raise ValueError("oh")
    assert list(tmp_path.iterdir()) == []


def test_only_folders_that_nobody_uses_are_taken_for_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = (
        "import os, pathlib, tempfile\nfrom pipeline import lifetime\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "with lifetime.temporary_folder() as folder:\n"
        "    (folder / 'file').write_text('x')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    elsewhere = tmp_path / "kept"
    elsewhere.mkdir()
    (tmp_path / "tensorflash-scratch-link").symlink_to(elsewhere)
    (tmp_path / "tensorflash-mine").mkdir()
    with lifetime.temporary_folder() as used:
        assert subprocess.run([sys.executable, "-c", killed], timeout=60, check=False).returncode == -9
        [abandoned] = [path for path in tmp_path.iterdir() if (path / "file").exists()]
        with lifetime.temporary_folder() as third:
            assert used.exists() and third.exists() and not abandoned.exists()
        assert used.exists() and not third.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"kept", "tensorflash-scratch-link", "tensorflash-mine"}


# Runs BODY once for each line of pipeline.lifetime that it comes through, in a fork, and raises ERROR there; in the end
# says how many lines there were.
INTERRUPTED = """
import os, sys, tempfile
from pipeline import lifetime
def trace(frame, event, value):
    global left
    if frame.f_code.co_filename != lifetime.__file__: return None
    if event == 'line':
        left -= 1
        if left == 0: raise ERROR
    return trace
for lines in range(1, 1000):
    left, child = lines, os.fork()
    if child == 0:
        sys.settrace(trace)
BODY
        break  # what follows is the end of this process, without an interrupt if there are no more lines
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(lines)
        break
sys.settrace(None)
"""


def lines_interrupted(error: str, body: str, *arguments: str) -> int:
    script = INTERRUPTED.replace("ERROR", error).replace("BODY", textwrap.indent(body, 8 * " "))
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_an_interrupt_at_any_line_leaves_no_temporary_folder(tmp_path: Path) -> None:
    body = (
        "tempfile.tempdir = sys.argv[1]\n"
        "with lifetime.temporary_folder() as folder:\n"
        "    (folder / 'file').write_text('x')"
    )
    assert lines_interrupted("KeyboardInterrupt", body, str(tmp_path)) > 15
    assert list(tmp_path.iterdir()) == []


def test_after_an_interrupt_at_any_line_a_process_ends_although_the_one_that_started_it_goes_on() -> None:
    """As SIGTERM does in a command; subprocess.Popen itself knows KeyboardInterrupt only."""
    body = (
        "interrupted, (heard, said) = False, os.pipe()\n"
        "try:\n"
        "    with lifetime.process(['sleep', '600'], stdout=said, stderr=2): pass\n"
        "except SystemExit:\n"
        "    interrupted = True\n"
        "os.close(said)\n"
        "os.read(heard, 1)\n"  # returns when the process and its guard have closed their ends
        "os._exit(interrupted)"
    )
    assert lines_interrupted("SystemExit", body) > 10
