"""The process in which the user's Python and TensorFlow run: `python -m pipeline.train_worker`.

The parent (`run`) starts one for each step, so that a step's result cannot depend on what ran before it, and the
parent never loads TensorFlow. A job goes in as one JSON line on stdin, which stays open: when it closes, the parent
is gone, and so is this process. JSON lines come back on stdout:

    {"progress": [done, total]}
    {"result": {...}}  or  {"error": "DataError", "message": "...", "hint": null}

All that anything else prints, tracebacks included, goes to the log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import errors
from pipeline.errors import TensorflashError, ToolError

SILENCE_S = 3600.0
EXIT_S = 20.0  # from its last word to the end of a process that gave no answer

Progress = Callable[[int, int], None]

ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # tfmot knows no other; it is too late once tf.keras was touched
    "KERAS_BACKEND": "tensorflow",  # of Keras 3, which may be configured for another
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "CUDA_VISIBLE_DEVICES": "-1",  # a GPU would train another model
    "TF_ENABLE_ONEDNN_OPTS": "1",  # what it is by default; without, other kernels add in another order
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def run(
    task: str,
    arguments: Mapping[str, Any],
    out: Path,
    log: Path,
    progress: Progress = lambda done, total: None,
    *,
    silence_s: float = SILENCE_S,
) -> dict[str, Any]:
    """Carry out a task of TASKS in a process of its own.

    Args:    arguments: plain JSON values. out: the folder it writes to. log: written anew.
             silence_s: it is stopped after so long without progress.
    Raises:  the error the task raised. ToolError: it crashed, or was stopped.
    """
    package_root = str(Path(__file__).resolve().parents[1])
    search = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(search)}
    job = json.dumps({"task": task, "arguments": dict(arguments), "out": str(out.absolute())})
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.train_worker"],
            cwd=out,  # nothing in the user's working folder can shadow a module
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        watchdog = _Watchdog(process, silence_s)
        try:
            answer = _converse(process, job, progress, watchdog)
            if answer is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(EXIT_S)
        finally:
            watchdog.stop()
            process.kill()
    if answer is None:
        raise _ended(task, process.returncode, watchdog.fired, silence_s, log)
    if "error" in answer:
        kind = _ERRORS.get(answer["error"], ToolError)
        raise kind(answer["message"], hint=answer["hint"])
    result: dict[str, Any] = answer["result"]
    return result


_ERRORS: dict[str, type[TensorflashError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, TensorflashError) and kind is not TensorflashError
}


class _Watchdog:
    """Kills a process that is silent for too long."""

    def __init__(self, process: subprocess.Popen[bytes], silence_s: float) -> None:
        self._process, self._silence_s = process, silence_s
        self.fired = False
        self._timer = self._start()

    def _start(self) -> threading.Timer:
        timer = threading.Timer(self._silence_s, self._fire)
        timer.daemon = True
        timer.start()
        return timer

    def _fire(self) -> None:
        self.fired = True
        self._process.kill()

    def fed(self) -> None:
        self._timer.cancel()
        self._timer = self._start()

    def stop(self) -> None:
        self._timer.cancel()


def _converse(
    process: subprocess.Popen[bytes], job: str, progress: Progress, watchdog: _Watchdog
) -> dict[str, Any] | None:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the worker has no pipes")
    try:
        process.stdin.write(job.encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        watchdog.fed()
        message: dict[str, Any] = json.loads(line)
        if "progress" in message:
            progress(*message["progress"])
        else:
            return message
    return None


def _ended(task: str, code: int, silent: bool, silence_s: float, log: Path) -> ToolError:
    if silent:
        return ToolError(f"{task}: stopped after {silence_s:g} s without progress.", hint=f"look into {log}.")
    if code < 0:
        try:
            ending = f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            ending = f"was ended by signal {-code}"
    else:
        ending = f"ended with code {code} and no answer"
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    said = "".join(f"\n    {line[:200]}" for line in last)
    hint = f"look into {log}."
    if code == -9:
        hint = f"the system may have been out of memory; a smaller batch_size needs less. The log: {log}."
    return ToolError(f"{task}: the Python process {ending}.{said}", hint=hint)


def main() -> int:
    """Read a job, do it, answer."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def send(message: Mapping[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        result = TASKS[job["task"]](
            job["arguments"], Path(job["out"]), lambda done, total: send({"progress": [done, total]})
        )
    except TensorflashError as error:
        traceback.print_exc()
        send({"error": type(error).__name__, "message": error.message, "hint": error.hint})
        return 1
    except OSError as error:
        traceback.print_exc()
        if error.errno is None:
            raise
        send(
            {
                "error": "RequestError",
                "message": f"{error.filename or job['out']}: {error.strerror}.",
                "hint": "free some space, or give a folder you may write to with --out.",
            }
        )
        return 1
    send({"result": result})
    return 0


def _die_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _data(arguments: Mapping[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
    from pipeline import contract, data, factory

    made_by = factory.parse(arguments["factory"])
    value = factory.function(made_by)()
    raw = contract.from_json(arguments.get("contract"))
    data.save(data.from_factory(value, str(made_by), arguments["needed"], raw), out)
    progress(1, 1)
    return {}


def _quantize(name: str) -> Callable[[Mapping[str, Any], Path, Progress], dict[str, Any]]:
    def task(arguments: Mapping[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
        from pipeline import quantize

        return quantize.TASKS[name](arguments, out, progress)

    return task


# Looked up when the process runs: the parent imports this module too, and nothing of theirs.
TASKS: dict[str, Callable[[Mapping[str, Any], Path, Progress], dict[str, Any]]] = {
    "data": _data,
    "float": _quantize("float"),
    "ptq": _quantize("ptq"),
    "qat": _quantize("qat"),
}

if __name__ == "__main__":
    sys.exit(main())
