"""The tflm runtime's arena, measured on the target itself: its firmware says how much of an ample one TFLM took.

A host measures another number: its pointers are longer, and a library's optimized kernels take scratch memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline import __version__, build, project, tflm
from pipeline.board import Board
from pipeline.check import FIRMWARE_RAM_BYTES
from pipeline.devices import open_device
from pipeline.model import Export
from pipeline.workspace import StepResult, Workspace, digest

# TFLM plans in memory that it gives back afterwards, and does not count it.
MARGIN_BYTES = 256
MARGIN_PART = 32


def measure(
    workspace: Workspace,
    export: Export,
    board: Board,
    progress: Callable[[str, int, int], None],
    *,
    transport: str = "fast",
    port: str | None = None,
    serial_number: str | None = None,
    flash: str | None = None,
) -> tuple[Export, StepResult]:
    """The export with the arena that its own firmware needs on the board: what is used, and a margin; and the step.

    The margin is a 32nd, at least 256 bytes; it is doubled until the firmware starts with it. Kept in the work folder.

    Args:    export: of the runtime tflm. The others: as pipeline.devices.open_device.
    Raises:  DeviceError: the board does not answer, or the firmware does not start with an ample arena either.
             ToolError: it cannot be built.
    """

    def used(arena_bytes: int, folder: Path) -> int | None:
        """Bytes that TFLM takes of this arena; None if it is too small."""
        emitted = project.render(tflm.with_arena(export, arena_bytes, "On trial."), board, folder / "project")
        image = build.compile_project(emitted, ("verify",), workspace.log(f"arena-{board.id}"))["verify"]
        with open_device(
            board,
            image,
            work=folder,
            transport=transport,
            count=False,
            port=port,
            serial_number=serial_number,
            project=emitted.path,
            flash=flash,
        ) as device:
            if arena_bytes == ample:
                device.expect(export.model, export.runtime)
            return device.arena_used_bytes() if device.identity.ready else None

    def run(folder: Path) -> None:
        progress("arena", 0, 0)
        work = folder / "trial"
        work.mkdir()
        taken = used(ample, work) or ample
        margin = max(MARGIN_BYTES, taken // MARGIN_PART)
        while (found := _aligned(taken + margin)) < ample and used(found, work) is None:
            margin *= 2
        shutil.rmtree(work)
        answer = {"used_bytes": taken, "arena_bytes": min(found, ample)}
        (folder / "arena.json").write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")

    ample = _ample(export, board)
    step = workspace.step(
        f"arena-{board.id}",
        {
            "model": export.model.sha256,
            "sources": digest({path: hashlib.sha256(content).hexdigest() for path, content in export.files.items()}),
            "firmware": project.sources_digest(),
        },
        {
            "board": json.loads(json.dumps(dataclasses.asdict(board), default=sorted)),
            "lib_deps": list(export.lib_deps),
        },
        {"tensorflash": __version__, **build.versions(board)},
        run,
    )
    found = json.loads((step.path / "arena.json").read_text(encoding="utf-8"))
    arena_bytes, used_bytes = found["arena_bytes"], found["used_bytes"]
    margin = arena_bytes - used_bytes
    said = f"Measured on {board.id}: TFLM takes {used_bytes} bytes there; the margin is {margin} bytes."
    return tflm.with_arena(export, arena_bytes, said), step


def _ample(export: Export, board: Board) -> int:
    """Twice what the host needs and 8 KiB, or all that the board has left; never less than the host's."""
    wanted = 2 * export.arena_bytes + 8192
    if board.ram_bytes is not None:
        wanted = min(wanted, board.ram_bytes - board.stack_bytes - FIRMWARE_RAM_BYTES)
    return max(export.arena_bytes, wanted // 16 * 16)


def _aligned(size: int) -> int:
    return (size + 15) // 16 * 16
