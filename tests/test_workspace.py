import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import RequestError
from pipeline.workspace import StepResult, Workspace, digest, file_digest, files_digest

INPUTS = {"model": "11", "data": "22"}
OPTIONS = {"epochs": 3}
VERSIONS = {"tensorflow": "2"}


class Counted:
    """Writes two files and counts how often."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, folder: Path) -> None:
        self.runs += 1
        (folder / "sub").mkdir()
        (folder / "a.bin").write_bytes(b"first")
        (folder / "sub" / "b.bin").write_bytes(b"second")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "build" / "x") as opened:
        yield opened


def make(workspace: Workspace, run: Callable[[Path], None], **changes: dict[str, str]) -> StepResult:
    arguments = {"inputs": INPUTS, "options": OPTIONS, "versions": VERSIONS, **changes}
    return workspace.step("train", arguments["inputs"], arguments["options"], arguments["versions"], run)


def names(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.root.iterdir()} - {".lock", ".owner", "logs"}


def test_a_step_is_made_once(workspace: Workspace) -> None:
    run = Counted()
    first, second = make(workspace, run), make(workspace, run)
    assert (first.reused, second.reused, run.runs) == (False, True, 1)
    assert first.path == second.path == workspace.root / f"train-{first.key}"
    assert (
        first.outputs
        == second.outputs
        == {
            "a.bin": file_digest(first.path / "a.bin"),
            "sub/b.bin": file_digest(first.path / "sub" / "b.bin"),
        }
    )
    assert first.digest == second.digest and first.seconds == second.seconds


def test_the_record_says_what_a_step_was_made_from(workspace: Workspace) -> None:
    record = json.loads((make(workspace, Counted()).path / "step.json").read_text())
    assert (record["inputs"], record["options"], record["versions"]) == (INPUTS, OPTIONS, VERSIONS)
    assert set(record["outputs"]) == {"a.bin", "sub/b.bin"} and record["seconds"] >= 0


@pytest.mark.parametrize(
    "change", [{"inputs": {**INPUTS, "model": "12"}}, {"options": {"epochs": 4}}, {"versions": {"tensorflow": "3"}}]
)
def test_another_input_option_or_version_is_another_step(
    workspace: Workspace, change: dict[str, dict[str, str]]
) -> None:
    run = Counted()
    first = make(workspace, run)
    other = make(workspace, run, **change)
    assert run.runs == 2 and other.key != first.key
    assert make(workspace, run).reused


def test_the_order_of_inputs_does_not_matter(workspace: Workspace) -> None:
    run = Counted()
    make(workspace, run)
    assert make(workspace, run, inputs=dict(reversed(INPUTS.items()))).reused


def flip_a_byte(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"fIrst")


def cut_a_file_short(folder: Path) -> None:
    (folder / "sub" / "b.bin").write_bytes(b"")


def lose_a_file(folder: Path) -> None:
    (folder / "a.bin").unlink()


def lose_the_record(folder: Path) -> None:
    (folder / "step.json").unlink()


def cut_the_record_short(folder: Path) -> None:
    (folder / "step.json").write_text((folder / "step.json").read_text()[:50])


def take_an_output_from_elsewhere(folder: Path) -> None:
    record = json.loads((folder / "step.json").read_text())
    (folder.parent / "elsewhere").write_bytes(b"x")
    record["outputs"] = {"../elsewhere": file_digest(folder.parent / "elsewhere")}
    (folder / "step.json").write_text(json.dumps(record))


def take_the_record_of_another_step(folder: Path) -> None:
    record = json.loads((folder / "step.json").read_text())
    record["inputs"]["model"] = "99"
    (folder / "step.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_a_file_short,
        lose_a_file,
        lose_the_record,
        cut_the_record_short,
        take_an_output_from_elsewhere,
        take_the_record_of_another_step,
    ],
)
def test_a_damaged_step_is_made_again(workspace: Workspace, damage: Callable[[Path], None]) -> None:
    run = Counted()
    first = make(workspace, run)
    damage(first.path)
    again = make(workspace, run)
    assert not again.reused and run.runs == 2
    assert again.outputs == first.outputs
    assert make(workspace, run).reused
    assert names(workspace) - {"elsewhere"} == {first.path.name}


def test_force_makes_every_step_again(tmp_path: Path) -> None:
    run = Counted()
    with Workspace(tmp_path) as workspace:
        make(workspace, run)
    with Workspace(tmp_path, force=True) as workspace:
        assert not make(workspace, run).reused
    assert run.runs == 2


def test_a_step_that_fails_leaves_nothing(workspace: Workspace) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise KeyError("its own mistake")

    with pytest.raises(KeyError, match="its own mistake"):
        make(workspace, fail)
    assert names(workspace) == set()


def test_ctrl_c_leaves_nothing(workspace: Workspace) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(workspace, interrupted)
    assert names(workspace) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_leaves_nothing(workspace: Workspace) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        Path("/dev/full").write_bytes(b"x" * 4096)

    with pytest.raises(RequestError, match="work folder cannot be written: No space left on device") as caught:
        make(workspace, fill)
    assert caught.value.hint is not None and "free some space" in caught.value.hint
    assert names(workspace) == set()


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on file sizes")
def test_a_file_size_limit_that_hits_the_record_leaves_nothing(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from pipeline.errors import RequestError
from pipeline.workspace import Workspace
with Workspace(Path(sys.argv[1])) as workspace:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    try:
        workspace.step("s", {}, {}, {}, lambda folder: None)
    except RequestError as error:
        print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "the work folder cannot be written: File too large" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_a_work_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="cannot be written") as caught, Workspace(tmp_path / "file" / "x"):
        pass
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_work_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RequestError, match="cannot be written: Permission denied"), Workspace(tmp_path / "x"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.workspace.LOCK_WAIT_S", 0.1)
    with (
        pytest.raises(RequestError, match=rf"another run \(process {os.getpid()}\) is working") as caught,
        Workspace(workspace.root),
    ):
        pass
    assert caught.value.exit_code == 2
    assert make(workspace, Counted()).reused is False


def test_a_folder_is_free_after_the_run(tmp_path: Path) -> None:
    with Workspace(tmp_path):
        pass
    with Workspace(tmp_path):
        assert (tmp_path / ".owner").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / ".owner").exists()


def test_what_a_killed_run_left_is_removed_and_nothing_of_the_users(tmp_path: Path) -> None:
    for name in (f".tmp-data-{'0' * 16}", f".tmp-replaced-verify-a_1-aot-{'f' * 16}", ".tmp-mine", ".tmp-"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    with Workspace(tmp_path):
        assert {path.name for path in tmp_path.glob(".tmp-*")} == {".tmp-mine", ".tmp-"}


def test_a_workspace_that_is_not_open_makes_no_steps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="with statement"):
        make(Workspace(tmp_path), Counted())


def test_a_stage_cannot_leave_the_work_folder(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="a stage named"):
        workspace.step("../x", {}, {}, {}, Counted())


def test_digests_know_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    assert files_digest([tmp_path / "a"], tmp_path) != files_digest([tmp_path / "b"], tmp_path)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


KILLED = """
import sys, time
from pathlib import Path
from pipeline.workspace import Workspace

def write(folder):
    for i in range(6):
        (folder / str(i)).write_bytes(bytes(1000 + i))
        time.sleep(0.004)

with Workspace(Path(sys.argv[1])) as workspace:
    print("open", flush=True)
    for i in range(5):
        workspace.step("s", {"i": str(i)}, {}, {}, write)
print("done", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_run_killed_at_any_moment_loses_no_finished_step_and_leaves_no_half_one(tmp_path: Path) -> None:
    moments = random.Random(7)
    finished: set[str] = set()
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"open\n"
            time.sleep(moments.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
        steps = {path.name for path in tmp_path.iterdir() if path.name.startswith("s-")}
        assert finished <= steps
        for step in steps:
            outputs = json.loads((tmp_path / step / "step.json").read_text())["outputs"]
            assert {name: file_digest(tmp_path / step / name) for name in outputs} == outputs
            assert set(outputs) == {str(i) for i in range(6)}
        finished = steps
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "open\ndone\n"
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("s-")]) == 5
    assert not list(tmp_path.glob(".tmp-*"))
