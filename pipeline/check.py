"""Can this model run on this board, and if not why - before anything is built.

What the model needs is known to the byte: constants and arena. What the firmware around it and the kernels' code need
is estimated on the high side; the linker has the last word when the project is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import audit, runtimes, tflite
from pipeline.board import Board
from pipeline.errors import BudgetError
from pipeline.model import Export, HiddenLayer, KernelChoice
from pipeline.tflite import Graph

# Measured high: -O3 on Armv6-M, where code is largest. tests/test_check.py compares with what is really built.
KERNEL_CODE_BYTES = 2560
FIRMWARE_FLASH_BYTES = 8 * 1024
FIRMWARE_RAM_BYTES = 2 * 1024


@dataclass(frozen=True)
class Need:
    """One line of a memory budget, bytes. exact says whether it is known or estimated."""

    what: str
    bytes: int
    exact: bool


@dataclass(frozen=True)
class CheckResult:
    """What a model needs on a board, against what the board has. A budget of None is the host's: no limit."""

    model: Path
    sha256: str
    board: str
    runtime: str
    flash: tuple[Need, ...]
    ram: tuple[Need, ...]
    flash_budget_bytes: int | None
    ram_budget_bytes: int | None
    kernels: tuple[KernelChoice, ...]
    arena_bytes: int
    arena_lower_bound: int
    arenas: Mapping[str, int]
    hidden: tuple[HiddenLayer, ...]

    @property
    def flash_bytes(self) -> int:
        return sum(need.bytes for need in self.flash)

    @property
    def ram_bytes(self) -> int:
        return sum(need.bytes for need in self.ram)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not fit, a sentence each."""
        return tuple(
            f"{name}: about {used:,} bytes are needed, the board has {budget:,}: {used - budget:,} too many."
            for name, used, budget in (
                ("flash", self.flash_bytes, self.flash_budget_bytes),
                ("RAM", self.ram_bytes, self.ram_budget_bytes),
            )
            if budget is not None and used > budget
        )

    @property
    def fits(self) -> bool:
        return not self.problems

    def require_fit(self) -> None:
        """Raises:  BudgetError: by how much the model does not fit, and what takes the most."""
        if self.fits:
            return
        over_flash = self.flash_budget_bytes is not None and self.flash_bytes > self.flash_budget_bytes
        largest = max(self.flash if over_flash else self.ram, key=lambda need: need.bytes)
        raise BudgetError(
            f"{self.model} on {self.board}: " + " ".join(self.problems),
            hint=f"a smaller model or a larger board; the largest part: {largest.what} ({largest.bytes:,} bytes).",
        )

    def as_json(self) -> Mapping[str, Any]:
        """The object that `tensorflash check --json` prints."""
        return {
            "model": {"path": str(self.model), "sha256": self.sha256},
            "board": self.board,
            "runtime": self.runtime,
            "fits": self.fits,
            "problems": list(self.problems),
            "flash": _budget_json(self.flash, self.flash_budget_bytes),
            "ram": _budget_json(self.ram, self.ram_budget_bytes),
            "arena_bytes": self.arena_bytes,
            "arena_lower_bound": self.arena_lower_bound,
            "arenas": self.arenas,
            "ops": [
                {
                    "index": k.op_index,
                    "op": k.op,
                    "kernel": k.kernel or None,
                    "reason": k.reason,
                    "output_shape": list(k.output_shape),
                    "macs": k.macs,
                    "weight_bytes": k.weight_bytes,
                }
                for k in self.kernels
            ],
            "layers_hidden": [dataclasses.asdict(layer) for layer in self.hidden],
        }


def check_model(model: Path, board: Board, runtime: str) -> CheckResult:
    """Check a .tflite file from anywhere.

    Raises:  ModelError: it cannot be read or is not an int8 model. UnsupportedError: the runtime cannot carry it.
    """
    graph = tflite.read(model)
    audit.require_int8(graph)
    return check_export(graph, runtimes.export(graph, board, runtime), board)


def check_export(graph: Graph, export: Export, board: Board) -> CheckResult:
    """What an export needs, against the board's budget."""
    kernels = len({k.kernel for k in export.kernels if k.kernel})
    return CheckResult(
        model=graph.path,
        sha256=graph.sha256,
        board=board.id,
        runtime=export.runtime,
        flash=(
            Need("weights and biases", export.weights_bytes, True),
            Need("requantization tables and other constants", export.constant_bytes - export.weights_bytes, True),
            Need(f"code of {kernels} kernels", kernels * KERNEL_CODE_BYTES, False),
            Need("firmware around the model", FIRMWARE_FLASH_BYTES, False),
        ),
        ram=(
            Need("tensor arena", export.arenas["ram"], True),
            Need("stack", board.stack_bytes, True),
            Need("firmware around the model", FIRMWARE_RAM_BYTES, False),
        ),
        flash_budget_bytes=board.flash_bytes,
        ram_budget_bytes=board.ram_bytes,
        kernels=export.kernels,
        arena_bytes=export.arena_bytes,
        arena_lower_bound=export.arena_lower_bound,
        arenas=export.arenas,
        hidden=export.hidden,
    )


def _budget_json(needs: tuple[Need, ...], budget: int | None) -> Mapping[str, Any]:
    return {
        "budget_bytes": budget,
        "needed_bytes": sum(n.bytes for n in needs),
        "parts": [{"what": n.what, "bytes": n.bytes, "exact": n.exact} for n in needs],
    }
