"""A place with the firmware of one model: what the device tests work at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipeline import audit, golden, interpreters, runtimes, tflite, tflm_arena, vectors, verify
from pipeline import verification as proof
from pipeline.check import check_export
from pipeline.devices import Device, is_flashable, open_device, ports
from pipeline.devices.ports import AbsentError
from pipeline.golden import Golden
from pipeline.model import Export, Image, Inference
from pipeline.rig import Place
from pipeline.state import is_stateful
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from pipeline.workspace import Workspace

_SHOWN_BYTES = 4096
_TRACED_BEFORE = 20  # samples that a model with state is traced through to reach the one that is wrong


@dataclass(frozen=True)
class Request:
    """What is to be proved."""

    model: Path
    runtime: str
    golden_file: Path | None
    samples: int
    seed: int
    require_hardware: bool


@dataclass(eq=False)
class Bench:
    """A place, its firmware, and the golden answers."""

    place: Place
    request: Request
    graph: Graph
    export: Export
    truth: Golden
    images: dict[str, Image]
    project: Path
    work: Path
    flashed: str | None = None
    reached: tuple[Device | None, int] = (None, -1)

    @staticmethod
    def build(place: Place, request: Request, work: Path) -> Bench:
        """Export, build and ask for the golden answers; what is in the folder `work` already is not made again.

        Raises:  AbsentError: it is not connected, found before anything is built. TensorflashError: it cannot be built.
        """
        board = place.board
        if board.is_hardware or place.port is not None:
            ports.find(board, port=place.port, serial_number=place.serial_number)
        graph = tflite.read(request.model)
        audit.require_int8(graph)
        export = runtimes.export(graph, board, request.runtime)
        check_export(graph, export, board).require_fit()
        proof.require_library(export, board)
        proof.require_tools(board)
        saved = None if request.golden_file is None else golden.load(request.golden_file, export.model)
        with Workspace(work) as workspace:
            if saved is None:
                interpreters.require_tflm()
                given = vectors.make(export.model, request.samples, request.seed)
                saved = proof.golden_answers(workspace, export, given, golden.LAYER_SAMPLES, _silent)
            saved.require_layers(export.layers)
            if export.runtime == "tflm" and is_flashable(board, place.port, place.flash):
                export, _ = tflm_arena.measure(
                    workspace,
                    export,
                    board,
                    _silent,
                    transport=place.transport,
                    port=place.port,
                    serial_number=place.serial_number,
                    flash=place.flash,
                )
            made = proof.firmware(workspace, export, board, _silent)
        return Bench(place, request, graph, export, saved, dict(made.images), made.project, work)

    @contextmanager
    def open(self, environment: str = "verify", *, count: bool = True) -> Iterator[Device]:
        """The device with this build; flashed where it is not yet. It is made sure that it runs this very model.

        Hardware that is not connected is skipped where it was not named, and fails where it was.
        """
        entered = False
        try:
            with open_device(
                self.place.board,
                self.images[environment],
                work=self.work,
                transport=self.place.transport,
                count=count,
                port=self.place.port,
                serial_number=self.place.serial_number,
                project=None if self.flashed == environment else self.project,
                flash=None if self.flashed == environment else self.place.flash,
            ) as device:
                entered = True
                self.flashed = environment
                device.expect(self.export.model, self.export.runtime)
                yield device
        except AbsentError as absent:
            if entered:
                raise
            skip_or_fail(str(absent), fail=absent.named or self.request.require_hardware)

    @property
    def samples(self) -> int:
        return self.truth.samples

    @property
    def is_flashable(self) -> bool:
        """Whether its build can be chosen here."""
        return is_flashable(self.place.board, self.place.port, self.place.flash)

    def infer(self, device: Device, index: int) -> Inference:
        """The device's answer to a sample; a model with state is led to it, from the last one or the first."""
        first = index
        if is_stateful(self.graph):
            known, last = self.reached
            first = last + 1
            if known is not device or last >= index:
                device.reset()
                first = 0
        self.reached = (None, -1)
        for earlier in range(first, index):
            device.infer(self.truth.vectors.sample(earlier))
        answer = device.infer(self.truth.vectors.sample(index))
        self.reached = (device, index)
        return answer

    def is_right(self, index: int, answer: Inference) -> bool:
        """Whether an answer to this sample is the golden one, byte for byte."""
        return all(
            found.tobytes() == expected[index].tobytes()
            for found, expected in zip(answer.outputs, self.truth.outputs, strict=True)
        )

    def require_right(self, answers: Sequence[Inference], record: Callable[[str, object], None]) -> None:
        """Fails where an answer is wrong: with the sample, its bytes, and the first layer that differs.

        Args:    answers: to the samples 0, 1, ..; no device may be open. record: pytest's record_property.
        """
        wrong = [index for index, answer in enumerate(answers) if not self.is_right(index, answer)]
        record("samples", len(answers))
        record("mismatched_samples", len(wrong))
        if not wrong:
            return
        index = wrong[0]
        record("failure", self._bytes(index, answers[index]))
        pytest.fail(
            f"{self.place.name}: {len(wrong)} of {len(answers)} answers are wrong, the first to sample {index}"
            f"{self._where(index, answers[index])}",
            pytrace=False,
        )

    def _bytes(self, index: int, answer: Inference) -> dict[str, Any]:
        return {
            "sample": index,
            "inputs": [array.tobytes()[:_SHOWN_BYTES].hex() for array in self.truth.vectors.sample(index)],
            "expected": [output[index].tobytes()[:_SHOWN_BYTES].hex() for output in self.truth.outputs],
            "answered": [array.tobytes()[:_SHOWN_BYTES].hex() for array in answer.outputs],
        }

    def _where(self, index: int, answer: Inference) -> str:
        """The first layer that differs on one sample, where the trace build can be asked."""
        first_sample = 0 if is_stateful(self.graph) else index
        if not self.is_flashable or self.request.golden_file is not None or index - first_sample > _TRACED_BEFORE:
            return "; its layers cannot be asked for here."
        given = Vectors(
            tuple(array[first_sample : index + 1] for array in self.truth.vectors.inputs), f"sample {index}"
        )
        right = golden.compute(self.export.model, given, self.export.layers, given.samples)
        with self.open("trace", count=False) as device:
            device.reset()
            traced = [device.trace(given.sample(i), self.export.layers) for i in range(given.samples)]
        verdict = verify.compare(right, [*traced[:-1], answer], traced, self.export.layers, self.graph)
        first = verdict.first_divergence
        if first is None or verdict.layer_mismatches == 0:
            return "; in the trace build every layer is right."
        return f"; the first layer that differs is op {first.op_index} ({first.op}), {first.tensor}."


def skip_or_fail(reason: str, *, fail: bool) -> NoReturn:
    """Hardware that is absent skips; hardware that was asked for fails."""
    if fail:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _silent(_stage: str, _done: int, _total: int) -> None:
    return None
