"""The proof: a model becomes firmware, a device runs it, and every byte of its answers is compared.

`tensorflash verify` and the targets of a recipe both go through here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import (
    __version__,
    audit,
    build,
    golden,
    interpreters,
    lifetime,
    project,
    runtimes,
    tflite,
    tflm_arena,
    tflm_library,
    tools,
    vectors,
    verify,
)
from pipeline import board as boards
from pipeline.board import Board
from pipeline.check import check_export
from pipeline.devices import is_flashable, lab, open_device, ports
from pipeline.errors import TensorflashError
from pipeline.golden import Golden
from pipeline.model import Export, Image, Inference
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from pipeline.workspace import StepResult, Workspace, digest

Progress = Callable[[str, int, int], None]

_IMAGES = "images.json"


@dataclass(frozen=True, eq=False)
class Answers:
    """What one device said: an inference a sample, traced ones of the first samples, its deepest stack in bytes.

    profile: instructions of each layer, in the order of Export.layers, or None where none were counted.
    """

    samples: tuple[Inference, ...]
    traced: tuple[Inference, ...]
    stack_bytes: int | None
    profile: tuple[int, ...] | None = None

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Instructions of each inference, or None where the device does not count."""
        counts = tuple(answer.count for answer in self.samples if answer.count is not None)
        return counts if len(counts) == len(self.samples) else None


def verify_model(
    model: Path,
    *,
    board: str,
    runtime: str,
    samples: int,
    seed: int,
    inputs: Path | None,
    golden_file: Path | None,
    transport: str,
    out: Path | None,
    progress: Progress,
    profile: bool = False,
    port: str | None = None,
    serial_number: str | None = None,
    flash: str | None = None,
) -> dict[str, Any]:
    """Prove an int8 model from anywhere on one board: the object that `tensorflash verify --json` prints.

    Args:    inputs: an .npz of the user's instead of generated vectors. golden_file: saved golden answers, which hold
             their own inputs. out: keeps the project, its images and the golden answers. profile: count layer by
             layer as well. port, serial_number: of a real board, or the port of an emulated one that runs elsewhere;
             also labgrid://PLACE. flash: the command that flashes the board there (devices.open_device).
    Raises:  ModelError, BudgetError, DataError, ToolError, DeviceError, each saying what to do.
    """
    graph = tflite.read(model)
    audit.require_int8(graph)
    target = boards.load(board)
    return verify_export(
        graph,
        runtimes.export(graph, target, runtime),
        target,
        samples=samples,
        seed=seed,
        inputs=inputs,
        golden_file=golden_file,
        transport=transport,
        out=out,
        progress=progress,
        profile=profile,
        port=port,
        serial_number=serial_number,
        flash=flash,
    )


def verify_export(
    graph: Graph,
    export: Export,
    target: Board,
    *,
    samples: int,
    seed: int,
    progress: Progress,
    inputs: Path | None = None,
    golden_file: Path | None = None,
    transport: str = "fast",
    out: Path | None = None,
    profile: bool = False,
    port: str | None = None,
    serial_number: str | None = None,
    flash: str | None = None,
) -> dict[str, Any]:
    """verify_model with source files that are made already."""
    require_library(export, target)
    check_export(graph, export, target).require_fit()
    require_tools(target)
    if golden_file is None:
        interpreters.require_tflm()
        given = vectors.make(export.model, samples, seed) if inputs is None else vectors.load(inputs, export.model)
        saved = None
    else:
        saved = golden.load(golden_file, export.model)
        saved.require_layers(export.layers)
        given = saved.vectors
    with lab.held(port) as address, _folder(out) as folder, Workspace(folder) as workspace:
        if target.is_hardware or address is not None or serial_number is not None:
            ports.find(target, port=address, serial_number=serial_number)
        truth = saved or golden_answers(workspace, export, given, golden.LAYER_SAMPLES, progress)
        if export.runtime == "tflm" and is_flashable(target, address, flash):
            export, _ = tflm_arena.measure(
                workspace,
                export,
                target,
                progress,
                transport=transport,
                port=address,
                serial_number=serial_number,
                flash=flash,
            )
        made = firmware(workspace, export, target, progress)
        images = made.images
        answers = ask(
            export,
            target,
            images,
            truth.vectors,
            truth.layer_samples,
            transport,
            folder,
            progress,
            profile=profile,
            port=address,
            serial_number=serial_number,
            project=made.project,
            flash=flash,
        )
    verdict = verify.compare(truth, answers.samples, answers.traced, export.layers, graph)
    progress("cross-check", 0, 0)
    found = verify.as_json(
        model=export.model,
        board=target.id,
        export=export,
        golden=truth,
        verdict=verdict,
        litert=verify.cross_check(truth, export.model, graph),
        image=images["release"],
        instructions=answers.counts,
        stack_bytes=answers.stack_bytes,
    )
    if profile:
        found["layers"] = profile_json(export, answers.profile)
    return found


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with lifetime.temporary_folder() as folder:
        try:
            yield folder
        except TensorflashError as error:
            if str(folder) in str(error):
                kept = "with --out DIR what is named here is kept; else it is removed now."
                error.hint = kept if error.hint is None else f"{error.hint} And {kept}"
            raise


# The steps


def golden_answers(
    workspace: Workspace, export: Export, given: Vectors, layer_samples: int, progress: Progress
) -> Golden:
    """TFLM's answers to these vectors, with every layer of the first samples; kept in the work folder."""
    step = golden_step(workspace, export, given, layer_samples, progress)
    return golden.load(step.path / "golden.npz", export.model)


def golden_step(
    workspace: Workspace, export: Export, given: Vectors, layer_samples: int, progress: Progress
) -> StepResult:
    """The step `golden`: golden.npz."""

    def run(folder: Path) -> None:
        progress("golden", 0, 0)
        golden.compute(export.model, given, export.layers, layer_samples).save(folder / "golden.npz")

    return workspace.step(
        "golden",
        {
            "model": export.model.sha256,
            "vectors": given.sha256,
        },
        {"layers": [layer.tensor_index for layer in export.layers], "layer_samples": layer_samples},
        {"tensorflash": __version__, "tflite-micro": interpreters.tflm_version()},
        run,
    )


@dataclass(frozen=True)
class Firmware:
    """The step `firmware`: the project's folder, and the images of its environments."""

    step: StepResult
    project: Path
    images: Mapping[str, Image]


def firmware(workspace: Workspace, export: Export, board: Board, progress: Progress) -> Firmware:
    """Render the project and build its environments.

    Raises:  ToolError: a compiler or PlatformIO is missing or failed. BudgetError: it does not fit after all.
    """
    require_library(export, board)
    versions = build.versions(board)

    def run(folder: Path) -> None:
        progress("build", 0, 0)
        emitted = project.render(export, board, folder / "project")
        images = build.compile_project(emitted, emitted.environments, workspace.log(f"build-{board.id}"))
        kept = {name: _keep(image, folder) for name, image in images.items()}
        build.clean(emitted)
        (folder / _IMAGES).write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    step = workspace.step(
        f"firmware-{board.id}-{export.runtime}",
        {
            "model": export.model.sha256,
            "sources": digest({path: hashlib.sha256(content).hexdigest() for path, content in export.files.items()}),
            "firmware": project.sources_digest(),
        },
        {
            "board": json.loads(json.dumps(dataclasses.asdict(board), default=sorted)),
            "runtime": export.runtime,
            "lib_deps": list(export.lib_deps),
        },
        {"tensorflash": __version__, **versions},
        run,
    )
    return Firmware(step, step.path / "project", _images(step.path))


def require_tools(board: Board) -> None:
    """What is missing is missed at once, and not after half of the work.

    Raises:  ToolError: a program that builds the board's firmware or runs it is missing.
    """
    build.versions(board)
    if board.emulator is not None:
        tools.find(board.emulator.program)


def require_library(export: Export, board: Board) -> None:
    """The tflm runtime's TFLM library and the C++ library that it needs.

    Raises:  ToolError: one is missing.
    """
    if export.runtime == "tflm" and not export.lib_deps:
        tflm_library.require(board)
    if export.language == "c++" and not board.is_hardware:  # PlatformIO brings a real board's
        tools.find_cpp_library(build.compiler(board))


def _keep(image: Image, folder: Path) -> dict[str, Any]:
    (folder / "images").mkdir(exist_ok=True)
    name = f"images/{image.environment}{image.elf.suffix}"
    (folder / name).write_bytes(image.elf.read_bytes())
    (folder / name).chmod(0o755)
    return {**dataclasses.asdict(image), "elf": name, "sections": dict(image.sections)}


def _images(folder: Path) -> dict[str, Image]:
    kept = json.loads((folder / _IMAGES).read_text(encoding="utf-8"))
    return {name: Image(**{**fields, "elf": folder / fields["elf"]}) for name, fields in kept.items()}


# The device


def ask(
    export: Export,
    board: Board,
    images: Mapping[str, Image],
    given: Vectors,
    layer_samples: int,
    transport: str,
    work: Path,
    progress: Progress,
    *,
    profile: bool = False,
    port: str | None = None,
    serial_number: str | None = None,
    project: Path | None = None,
    flash: str | None = None,
) -> Answers:
    """Let the device answer all samples, and its trace build the first `layer_samples` layer by layer.

    Both begin with a reset and go through the samples in order, as the golden answers do: a model may have state.

    Args:    port, serial_number: which port a real board is on. A firmware that cannot be exchanged from here, because
             its port is remote, shows its layers if it is the trace build already. project: to flash a board from.
             flash: the command that flashes it instead.
    Raises:  DeviceError: it is silent, or runs something else.
    """
    stage = f"{board.id} answers"
    answered: list[Inference] = []
    reach = partial(
        open_device,
        board,
        work=work,
        transport=transport,
        port=port,
        serial_number=serial_number,
        project=project,
        flash=flash,
    )
    with reach(images["verify"]) as device:
        device.expect(export.model, export.runtime)
        device.reset()
        for index in range(given.samples):
            progress(stage, index, given.samples)
            answered.append(device.infer(given.sample(index)))
        progress(stage, given.samples, given.samples)
        stack = device.stack_bytes()
        shows_layers = device.identity.trace_build
    if not shows_layers and not is_flashable(board, port, flash):
        layer_samples, profile = 0, False
    traced: list[Inference] = []
    if layer_samples and export.layers:
        stage = f"{board.id} layers"
        with reach(images["trace"], count=False) as device:
            device.expect(export.model, export.runtime)
            device.reset()
            for index in range(min(layer_samples, given.samples)):
                progress(stage, index, layer_samples)
                traced.append(device.trace(given.sample(index), export.layers))
            progress(stage, layer_samples, layer_samples)
    counts = None
    if profile and export.layers and given.samples:
        with reach(images["trace"]) as device:
            device.expect(export.model, export.runtime)
            device.reset()
            counts = device.profile(given.sample(0), export.layers) if device.count_unit else None
    return Answers(tuple(answered), tuple(traced), stack or None, counts)


def op_instructions(export: Export, counts: tuple[int, ...] | None) -> dict[int, int]:
    """Instructions of each op by its index, from those of each layer; empty where none were counted."""
    result: dict[int, int] = {}
    for layer, count in zip(export.layers, counts or (), strict=counts is not None):
        result[layer.op_index] = result.get(layer.op_index, 0) + count
    return result


def profile_json(export: Export, counts: tuple[int, ...] | None) -> list[dict[str, Any]] | None:
    """The key `layers` of `tensorflash verify --profile --json`, an object an op; None where nothing was counted."""
    if counts is None:
        return None
    found = op_instructions(export, counts)
    macs = {kernel.op_index: kernel.macs for kernel in export.kernels}
    whole = sum(found.values())
    last = {layer.op_index: layer for layer in export.layers}
    return [
        {
            "op_index": index,
            "op": last[index].op,
            "tensor": last[index].tensor,
            "macs": macs.get(index, 0),
            "instructions": count,
            "instructions_per_mac": round(count / macs[index], 3) if macs.get(index) else None,
            "share": round(count / whole, 4) if whole else 0.0,
        }
        for index, count in found.items()
    ]
