"""A process beside a command, to end it: `python guard.py FD COMMAND ...`, started by pipeline.lifetime.

The command runs in the guard's process group, and its exit status becomes the guard's. When the pipe FD ends, the
process that held its other end is gone, and the whole group is killed: the command, and all that it started.
"""

from __future__ import annotations

import _thread
import os
import resource
import signal
import sys


def main() -> None:
    """Run the command to its end, or until nobody holds the pipe."""
    if os.getpgrp() != os.getpid():
        raise SystemExit("the guard would kill processes that are not its own")
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)
    _thread.start_new_thread(_watch, (pipe,))
    # Python ignores these two signals; a command expects not to.
    command = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    _, status = os.waitpid(command, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core dump, the command's, is enough
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _watch(pipe: int) -> None:
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
