"""The toy firmware on emulated boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.board import load
from pipeline.build import compile_project
from pipeline.model import Export, Image
from pipeline.project import render
from tests.devices.toy import HERE, LAYERS, MODEL


class Built:
    """The toy firmware of one board after another, each built once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, dict[str, Image]] = {}

    def __call__(self, board: str) -> dict[str, Image]:
        if board not in self.images:
            export = Export(
                runtime="aot",
                model=MODEL,
                symbol="toy_model",
                header="toy_model.h",
                files={name: (HERE / name).read_bytes() for name in ("toy_model.c", "toy_model.h")},
                arena_bytes=4096,
                arena_lower_bound=4096,
                weights_bytes=0,
                constant_bytes=0,
                macs=0,
                kernels=(),
                layers=LAYERS,
            )
            project = render(export, load(board), self.folder / board)
            self.images[board] = compile_project(project, ["verify", "trace"])
        return self.images[board]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("boards"))
