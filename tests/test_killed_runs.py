"""Runs that are killed, interrupted, or meet each other in one folder.

Only the main process gets the signal, never its group: what it started has to notice by itself.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cli
from tests import tiny_recipe
from tests.conftest import FULL
from tests.tiny_recipe import leftovers, report

pytestmark = [
    pytest.mark.golden,
    pytest.mark.emulated,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]

BOARD = "qemu_cortex_m4"
MOMENTS = [float(moment) for moment in np.random.Generator(np.random.PCG64(20)).random(20 if FULL else 2).round(3)]
DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "recipe.yaml"

# A shell that starts a job in the background lets it ignore SIGINT, so the handler is put back.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
)


class Run:
    """`tensorflash run` in a process of its own. All its descendants are known by their environment."""

    def __init__(self, recipe: Path, work: Path, *options: str) -> None:
        self._mark = f"TENSORFLASH_TEST_RUN={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.temporary = work.with_name(f"{work.name}-tmp")
        self.temporary.mkdir(exist_ok=True)
        self._said = work.with_name(f"{work.name}.stderr")
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "run", str(recipe), "--out", str(work), *options],
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, name: value, "TMPDIR": str(self.temporary)},
            )

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        until(lambda: words in self.said or self.process.poll() is not None, self.said)
        assert words in self.said, self.said

    def wait(self) -> int:
        return self.process.wait(600)

    def alive(self) -> list[str]:
        """The command lines of all processes of this run."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                        found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
        return found

    def is_gone(self) -> None:
        """The run has ended, and all it started ends too, at once or nearly so."""
        self.process.wait(60)
        until(lambda: not self.alive(), self.said)


def until(condition: Callable[[], bool], said: str = "", limit_s: float = 600) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not happen within {limit_s:g} s\n{said}")
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A recipe, the work folder of a run that nothing disturbed, and how long that took in seconds."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = tiny_recipe.write(folder, target=BOARD, samples=300)
    start = time.monotonic()
    run = Run(recipe, folder / "work")
    assert run.wait() == 0, run.said
    run.is_gone()
    return recipe, folder / "work", time.monotonic() - start


def unfinished(untouched: Path, work: Path, words: str) -> set[str]:
    """Copy a work folder without the step during which a run says these words; returns the names in it."""
    shutil.copytree(untouched, work)
    stage = {"golden ...": "golden", "build ...": "firmware"}.get(words, "verify")
    [step] = work.glob(f"{stage}-*")
    shutil.rmtree(step)
    return {path.name for path in work.iterdir()}


def reports_the_same(run: Run, work: Path, expected: dict[str, Any]) -> None:
    """The run succeeds, says what an undisturbed one says, and nothing of an earlier one lies about."""
    assert run.wait() == 0, run.said
    run.is_gone()
    assert report(work) == expected
    assert leftovers(work) == leftovers(run.temporary) == []
    assert sorted(path.name for path in work.iterdir() if path.name.startswith(".")) == [".lock"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_leaves_nothing_that_disturbs_the_next(
    moment: float, whole: tuple[Path, Path, float], tmp_path: Path
) -> None:
    recipe, untouched, seconds = whole
    run = Run(recipe, tmp_path / "work")
    time.sleep(moment * seconds)
    run.process.send_signal(signal.SIGKILL)
    run.is_gone()
    reports_the_same(Run(recipe, tmp_path / "work"), tmp_path / "work", report(untouched))


@pytest.mark.parametrize("words", ["build ...", f"{BOARD} answers: 30 of 300"])
def test_the_next_run_need_not_wait_for_what_a_killed_one_started(
    words: str, whole: tuple[Path, Path, float], tmp_path: Path
) -> None:
    recipe, untouched, _ = whole
    unfinished(untouched, tmp_path / "work", words)
    run = Run(recipe, tmp_path / "work")
    run.wait_for(words)
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    reports_the_same(Run(recipe, tmp_path / "work"), tmp_path / "work", report(untouched))
    run.is_gone()


@pytest.mark.slow
@pytest.mark.train
def test_training_that_is_killed_leaves_nothing_that_disturbs_the_next(tmp_path: Path) -> None:
    work = tmp_path / "work"
    run = Run(DIGITS, tmp_path / "whole", "--board", "native")
    assert run.wait() == 0, run.said
    moments = random.Random(3)
    for words in ("float: ", "ptq: ", "qat: ", "build "):
        run = Run(DIGITS, work, "--board", "native")
        run.wait_for(words)
        time.sleep(moments.random())
        run.process.send_signal(signal.SIGKILL)
        run.is_gone()
    reports_the_same(Run(DIGITS, work, "--board", "native"), work, report(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("words", "number", "exit_code"),
    [
        ("golden ...", signal.SIGINT, 130),
        ("build ...", signal.SIGINT, 130),
        (f"{BOARD} answers: 30 of 300", signal.SIGINT, 130),
        ("build ...", signal.SIGTERM, 143),
        pytest.param("golden ...", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(f"{BOARD} answers: 30 of 300", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_ends_everything_and_leaves_whole_steps(
    words: str, number: signal.Signals, exit_code: int, whole: tuple[Path, Path, float], tmp_path: Path
) -> None:
    recipe, untouched, _ = whole
    work = tmp_path / "work"
    kept = unfinished(untouched, work, words)
    run = Run(recipe, work)
    run.wait_for(words)
    run.process.send_signal(number)
    assert run.wait() == exit_code, run.said
    run.is_gone()
    assert "Traceback" not in run.said
    if number == signal.SIGINT:
        assert run.said.endswith("same command again; stages that a work folder holds are not repeated.\n")
    assert {path.name for path in work.iterdir()} == kept
    assert leftovers(work) == leftovers(run.temporary) == []


def test_a_second_run_in_the_same_folder_is_refused_and_does_not_disturb_the_first(
    whole: tuple[Path, Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, untouched, _ = whole
    words = f"{BOARD} answers: 30 of 300"
    unfinished(untouched, tmp_path / "work", words)
    run = Run(recipe, tmp_path / "work")
    run.wait_for(words)
    model = recipe.with_name("small.tflite")
    second = {
        "run": ["run", str(recipe), "--out", str(tmp_path / "work")],
        "verify": ["verify", str(model), "--board", "native", "--out", str(tmp_path / "work")],
    }
    run.process.send_signal(signal.SIGSTOP)  # however slow this machine is, the first is not through yet
    for arguments in second.values():
        assert cli.main(arguments) == 2
        shown = capsys.readouterr()
        assert f"another run (process {run.process.pid}) is working in this folder" in shown.err
        assert "Traceback" not in shown.err
    run.process.send_signal(signal.SIGCONT)
    reports_the_same(run, tmp_path / "work", report(untouched))
