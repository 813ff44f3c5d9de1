import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import train_worker
from pipeline.errors import DataError, RecipeError, RequestError, TensorflashError, ToolError

LOAD = """
import numpy as np
def load():
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    return {"train": (x, np.arange(8) % 2), "test": (x, np.arange(8) % 2), "representative": x}
"""


def data_task(folder: Path, text: str, function: str = "load", **options: float) -> list[str]:
    """Run a data factory; returns the names of the files that it made."""
    (folder / "user").mkdir(exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    (folder / "user" / "digits_data.py").write_text(text)
    arguments = {"factory": f"{folder / 'user' / 'digits_data.py'}:{function}", "needed": ["train"]}
    train_worker.run("data", arguments, folder / "out", folder / "log", **options)
    return sorted(path.name for path in (folder / "out").iterdir())


def failed(folder: Path, text: str, kind: type[TensorflashError] = RecipeError, function: str = "load") -> str:
    with pytest.raises(kind) as caught:
        data_task(folder, text, function)
    assert type(caught.value) is kind
    return str(caught.value).replace(f"{folder}{os.sep}user{os.sep}", "")


def test_a_factory_runs_in_another_process_and_its_data_is_kept(tmp_path: Path) -> None:
    assert data_task(tmp_path, LOAD) == [
        "x_representative.npy",
        "x_test.npy",
        "x_train.npy",
        "y_test.npy",
        "y_train.npy",
    ]
    assert sorted(path.name for path in (tmp_path / "user").iterdir()) == ["digits_data.py"]


def test_what_a_factory_prints_goes_to_the_log(tmp_path: Path) -> None:
    shout = "import os\nprint('hello')\nos.system('echo from a child')\n"
    data_task(tmp_path, shout + LOAD)
    log = (tmp_path / "log").read_text()
    assert "hello" in log and "from a child" in log


def test_a_factory_finds_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "data.py").write_text("OFFSET = 1\n")
    assert "x_train.npy" in data_task(tmp_path, "from data import OFFSET\n" + LOAD)


def test_a_factory_that_raises_is_reported_with_its_line(tmp_path: Path) -> None:
    text = "def load():\n    return inner()\n\ndef inner():\n    raise KeyError('no such column')\n"
    assert failed(tmp_path, text) == "digits_data.py:5: load() raised KeyError: 'no such column'."
    assert "Traceback (most recent call last)" in (tmp_path / "log").read_text()


def test_an_error_inside_of_a_package_is_reported_at_the_last_line_of_the_users(tmp_path: Path) -> None:
    text = "import numpy as np\ndef load():\n    return np.zeros(3).reshape(4)\n"
    assert failed(tmp_path, text).startswith("digits_data.py:3: load() raised ValueError: cannot reshape")


def test_a_file_with_a_mistake_in_its_syntax_is_reported_with_its_line(tmp_path: Path) -> None:
    assert failed(tmp_path, "x = 1\ndef load(:\n").startswith(
        "digits_data.py:2: digits_data.py raised SyntaxError: invalid syntax"
    )


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    message = failed(tmp_path, "import no_such_package\n")
    assert "digits_data.py:1: digits_data.py raised ModuleNotFoundError" in message
    assert "Try: install the package that has 'no_such_package'" in message


def test_a_function_that_is_not_there_is_reported_with_those_that_are(tmp_path: Path) -> None:
    assert failed(tmp_path, LOAD, function="laod") == ("digits_data.py: there is no function 'laod'; it has load.")


def test_a_factory_that_exits_is_reported(tmp_path: Path) -> None:
    assert "load() raised SystemExit: 0" in failed(tmp_path, "import sys\ndef load():\n    sys.exit(0)\n")


def test_a_file_named_as_a_module_that_is_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(LOAD)
    (tmp_path / "out").mkdir()
    arguments = {"factory": f"{tmp_path / 'json.py'}:load", "needed": []}
    with pytest.raises(RecipeError, match="another module is already called 'json'"):
        train_worker.run("data", arguments, tmp_path / "out", tmp_path / "log")


def test_wrong_data_keeps_the_class_of_its_error(tmp_path: Path) -> None:
    assert "no train data" in failed(tmp_path, "def load():\n    return {}\n", DataError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x_train.npy").symlink_to("/dev/full")
    assert "No space left on device" in failed(tmp_path, LOAD, RequestError)


def test_a_crash_is_reported_with_its_signal_and_the_log(tmp_path: Path) -> None:
    text = "import os\ndef load():\n    print('last words', flush=True)\n    os.kill(os.getpid(), 11)\n"
    message = failed(tmp_path, text, ToolError)
    assert "data: the Python process was ended by SIGSEGV" in message and "last words" in message
    assert str(tmp_path / "log") in message


def test_an_end_without_an_answer_is_reported(tmp_path: Path) -> None:
    message = failed(tmp_path, "import os\ndef load():\n    os._exit(7)\n", ToolError)
    assert "ended with code 7 and no answer" in message


def test_a_process_that_is_silent_for_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"stopped after 1\.5 s without progress"):
        data_task(tmp_path, "import time\ndef load():\n    time.sleep(60)\n", silence_s=1.5)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    user = tmp_path / "waits.py"
    user.write_text(
        "import os, time\nfrom pathlib import Path\n"
        f"def load():\n    Path({str(pid_file)!r}).write_text(str(os.getpid()) + '.')\n    time.sleep(120)\n"
    )
    script = (
        "import sys; from pathlib import Path; from pipeline import train_worker\n"
        "train_worker.run('data', {'factory': sys.argv[1], 'needed': []}, Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", script, f"{user}:load", str(tmp_path), str(tmp_path / "log")]
    with subprocess.Popen(command) as parent:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text().endswith(".")):
            assert time.monotonic() < deadline, "the factory was never called"
            time.sleep(0.02)
        child = int(pid_file.read_text().rstrip("."))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A process that has ended but was not yet waited for does not count."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_the_parent_does_not_load_tensorflow() -> None:
    script = "import sys; from pipeline import train_worker, training; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_a_job_is_json_in_and_lines_of_json_out(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(LOAD)
    job = {
        "task": "data",
        "arguments": {"factory": f"{tmp_path / 'plain.py'}:load", "needed": ["train"]},
        "out": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.train_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        assert [json.loads(line) for line in process.stdout] == [{"progress": [1, 1]}, {"result": {}}]
