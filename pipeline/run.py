"""A recipe from end to end: the diagram of the pipeline.

    trained = training.train(recipe)                    data, float, ptq, qat, model
    for target in targets:
        export   = runtimes.export(model, board)
        golden   = TFLM's answers on the host
        firmware = project.render, build.compile_project
        answers  = a device's, through frames
        verdict  = verify.compare(golden, answers)
    report.write(everything)

Every step is kept in the work folder (pipeline.workspace) and found again by what it was made from.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import (
    __version__,
    audit,
    build,
    golden,
    graph_costs,
    interpreters,
    preprocessing,
    recipe,
    report,
    runtimes,
    tflite,
    tflm_arena,
    tflm_library,
    tools,
    training,
    vectors,
    verify,
)
from pipeline import board as boards
from pipeline.board import Board
from pipeline.check import check_export
from pipeline.edgetpu import target as edgetpu_target
from pipeline.edgetpu.comparison import Bounds
from pipeline.edgetpu.compiler import CompileOptions
from pipeline.edgetpu.deploy import Place
from pipeline.edgetpu.target import EdgeTpuOptions
from pipeline.errors import RequestError
from pipeline.golden import Golden
from pipeline.model import Export, TensorSpec, Verdict
from pipeline.recipe import Recipe, VerifyOptions
from pipeline.tflite import Graph
from pipeline.training import TestSet, Trained
from pipeline.verification import (
    Answers,
    Firmware,
    Progress,
    ask,
    firmware,
    golden_step,
    op_instructions,
    require_tools,
)
from pipeline.workspace import StepResult, Workspace, file_digest

STAGES = ("train", "golden", "build", "verify", "report")


@dataclass(frozen=True)
class RunResult:
    """What a run found. report is the page's path, None if the run stopped before it."""

    recipe: Recipe
    folder: Path
    trained: Trained
    targets: tuple[Mapping[str, Any], ...]
    edgetpu: tuple[Mapping[str, Any], ...]
    steps: tuple[StepResult, ...]
    problems: tuple[str, ...]
    report: Path | None

    @property
    def exit_code(self) -> int:
        return 1 if self.problems else 0

    def as_json(self) -> Mapping[str, Any]:
        """The object that `tensorflash run --json` prints."""
        return {
            "recipe": self.recipe.name,
            "model": {"path": str(self.trained.model.path), "sha256": self.trained.model.sha256},
            "quantization": training.quantization_report(self.trained, self.recipe.gate),
            "warnings": list(self.trained.warnings),
            "targets": list(self.targets),
            "edgetpu": list(self.edgetpu),
            "golden": next((str(s.path / "golden.npz") for s in self.steps if s.stage == "golden"), None),
            "projects": [str(s.path / "project") for s in self.steps if s.stage.startswith("firmware-")],
            "problems": list(self.problems),
            "report": None if self.report is None else str(self.report),
            "stages": [{"stage": s.stage, "key": s.key, "reused": s.reused} for s in self.steps],
            "timing": {s.stage: s.seconds for s in self.steps},
        }


def run_recipe(
    path: Path,
    *,
    boards: Sequence[str] = (),
    until: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress,
) -> RunResult:
    """Carry out a recipe, or what is left of it.

    Args:    boards: instead of the recipe's. until: the last of STAGES to carry out. out: the work folder, default
             build/<recipe's name>. force: make everything again.
    Raises:  TensorflashError, of the kind that fits what went wrong; finished steps are kept.
    """
    if until is not None and until not in STAGES:
        raise RequestError(f"there is no stage '{until}'.", hint=f"one of {', '.join(STAGES)}.")
    last = STAGES.index(until or STAGES[-1])
    request = recipe.load(path)
    targets = _targets(request, boards)
    if last >= STAGES.index("build"):
        _require_tools(targets, request.tflm.library)
    folder = out or Path("build") / request.name
    with Workspace(folder, force=force) as workspace:
        libraries = _without_per_channel_dense(targets, request.tflm.library)
        trained = training.train(request, workspace, progress, one_dense_scale_for=libraries)
        steps, found, corals = list(trained.steps), [], []
        problems: tuple[str, ...] = ()
        page = None
        if last >= STAGES.index("golden"):
            proof = _Proof(request, trained, workspace, progress, last)
            found = [proof.target(board, runtime) for board, runtime in targets if runtime != "edgetpu"]
            corals = [proof.edgetpu(board, request) for board, runtime in targets if runtime == "edgetpu"]
            steps += proof.steps
        if last >= STAGES.index("report"):
            whole = _report(request, trained, found, corals, steps, targets)
            page = folder / "report" / "report.html"
            report.write(whole, page.parent)
            problems = tuple(report.problems(whole))
    shown = tuple(
        {"board": t["board"]["id"], **{k: t[k] for k in ("runtime", "exact", "verify", "device_accuracy")}}
        for t in found
        if t
    )
    corals_shown = tuple(
        {"board": t["board"]["id"], **{k: t[k] for k in ("runtime", "bundle", "compile_skipped", "device")}}
        for t in corals
        if t
    )
    return RunResult(request, folder, trained, shown, corals_shown, tuple(steps), problems, page)


def _targets(request: Recipe, wanted: Sequence[str]) -> list[tuple[Board, str]]:
    runtime = {t.board: t.runtime for t in reversed(request.targets) if "runtime" in t.model_fields_set}
    chosen = [(b, runtime.get(b)) for b in dict.fromkeys(wanted)]
    chosen = chosen or [(t.board, t.runtime if "runtime" in t.model_fields_set else None) for t in request.targets]
    found = [_target(boards.load(board), runtime) for board, runtime in chosen]
    if request.activations == "int16" and any(runtime == "edgetpu" for _, runtime in found):
        raise RequestError(
            "the recipe has activations of int16, and an Edge TPU computes with int8.",
            hint="`convert: {activations: int8}`, or a recipe of their own for the boards with an Edge TPU.",
        )
    return found


def _target(board: Board, runtime: str | None) -> tuple[Board, str]:
    """A board with the runtime that was named, or that it has by itself."""
    has_edgetpu = board.edgetpu is not None
    chosen = runtime or ("edgetpu" if has_edgetpu else "aot")
    if has_edgetpu != (chosen == "edgetpu"):
        raise RequestError(
            f"{board.id} with the runtime {chosen}: "
            + ("it has an Edge TPU and no firmware." if has_edgetpu else "it has no Edge TPU."),
            hint="runtime: edgetpu" if has_edgetpu else "another runtime, or a board like coral_usb.",
        )
    return board, chosen


def _require_tools(targets: Sequence[tuple[Board, str]], library: str | None) -> None:
    """What is missing is missed now, and not after training."""
    interpreters.require_tflm()
    for board, runtime in targets:
        if runtime == "edgetpu":
            continue
        require_tools(board)
        if runtime == "tflm":
            tflm_library.require(board, library)


def _without_per_channel_dense(targets: Sequence[tuple[Board, str]], library: str | None) -> tuple[str, ...]:
    """TFLM libraries of the targets that cannot compute FULLY_CONNECTED with a scale for each output."""
    chosen = [tflm_library.choose(board, library) for board, runtime in targets if runtime == "tflm"]
    return tuple(sorted({found.name for found in chosen if found is not None and found.per_channel_dense != "right"}))


class _Proof:
    """The targets of one run: what they have in common is made once."""

    def __init__(self, request: Recipe, trained: Trained, workspace: Workspace, progress: Progress, last: int) -> None:
        self.options: VerifyOptions = request.verify
        self.tflm_library = request.tflm.library
        self.contract, self.labels = request.contract, request.labels
        self.trained = trained
        self.workspace = workspace
        self.progress = progress
        self.last = last
        self.graph: Graph = tflite.read(trained.model.path)
        audit.require_int8(self.graph)
        self.steps: list[StepResult] = []
        self.cross_check = cache(self._cross_check)

    def target(self, board: Board, runtime: str) -> dict[str, Any]:
        """One board with one runtime, as the report has it; empty if the run stops before its verification."""
        export = runtimes.export(self.graph, board, runtime, self.tflm_library)
        export = preprocessing.attach(export, self.contract, self.labels)
        check_export(self.graph, export, board).require_fit()
        truth = self._golden(export)
        if self.last < STAGES.index("build"):
            return {}
        if export.runtime == "tflm" and self.last >= STAGES.index("verify"):
            export, measured = tflm_arena.measure(self.workspace, export, board, self.progress)
            self.steps.append(measured)
        made = firmware(self.workspace, export, board, self.progress)
        self.steps.append(made.step)
        if self.last < STAGES.index("verify"):
            return {}
        found = self._verified(export, board, made, truth)
        return _target_report(export, board, made, found)

    def edgetpu(self, board: Board, request: Recipe) -> dict[str, Any]:
        """One board with an Edge TPU, as the report has it; empty if the run stops before its verification."""
        if self.last < STAGES.index("build"):
            return {}
        target = edgetpu_target.Target(self.workspace, board, _edgetpu_options(request), self.progress)
        model, test = self.trained.model, self.trained.test if self.options.test_set else None
        bundle, built = target.built(model, request.labels, request.contract)
        device: dict[str, Any] = {}
        if self.last >= STAGES.index("verify"):
            given = vectors.make(model, self.options.samples, self.options.seed)
            host = None if test is None or test.golden is None else golden.load(test.golden, model)
            device = target.tested(bundle, model, given, host, test.answers() if test and host else None)
        self.steps += target.steps
        about = {"id": board.id, "title": board.title}
        built["bundle"]["path"] = os.path.relpath(built["bundle"]["path"], self.workspace.root)
        return {"board": about, "runtime": "edgetpu", **built, "device": device} if device else {}

    def _golden(self, export: Export) -> StepResult:
        given = vectors.make(export.model, self.options.samples, self.options.seed)
        step = golden_step(self.workspace, export, given, self.options.layer_samples, self.progress)
        if step.path not in [s.path for s in self.steps]:
            self.steps.append(step)
        return step

    def _cross_check(self, path: Path) -> verify.CrossCheck:
        self.progress("cross-check", 0, 0)
        return verify.cross_check(golden.load(path, self.trained.model), self.trained.model, self.graph)

    def _verified(self, export: Export, board: Board, made: Firmware, truth: StepResult) -> dict[str, Any]:
        test = self.trained.test if self.options.test_set else None

        def run(folder: Path) -> None:
            answers = golden.load(truth.path / "golden.npz", export.model)
            heard = ask(
                export,
                board,
                made.images,
                answers.vectors,
                answers.layer_samples,
                "fast",
                folder,
                self.progress,
                profile=True,
                project=made.project,
            )
            verdict = verify.compare(answers, heard.samples, heard.traced, export.layers, self.graph)
            found = {
                "verify": self._json(export, board, made, answers, heard, verdict, truth.path / "golden.npz"),
                "wrong_samples": list(verdict.wrong_samples),
                "profile": heard.profile,
                "device_accuracy": None if test is None else self._accuracy(export, board, made, test, folder),
            }
            (folder / "verdict.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

        step = self.workspace.step(
            f"verify-{board.id}-{export.runtime}",
            {"golden": truth.digest, "firmware": made.step.digest, "test": _test_digest(test)},
            {"notes": list(export.notes)},
            {"tensorflash": __version__, **_tools(board), **interpreters.litert_versions()},
            run,
        )
        self.steps.append(step)
        found: dict[str, Any] = json.loads((step.path / "verdict.json").read_text(encoding="utf-8"))
        return found

    def _json(
        self,
        export: Export,
        board: Board,
        made: Firmware,
        answers: Golden,
        heard: Answers,
        verdict: Verdict,
        golden_file: Path,
    ) -> dict[str, Any]:
        found = verify.as_json(
            model=export.model,
            board=board.id,
            export=export,
            golden=answers,
            verdict=verdict,
            litert=self.cross_check(golden_file),
            image=made.images["release"],
            instructions=heard.counts,
            stack_bytes=heard.stack_bytes,
        )
        found["model"]["path"] = export.model.path.name  # a report does not depend on where it was made
        return found

    def _accuracy(
        self, export: Export, board: Board, made: Firmware, test: TestSet, folder: Path
    ) -> dict[str, Any] | None:
        """The whole test set on the board, against the host's answers to it."""
        if test.golden is None:
            return None
        host = golden.load(test.golden, export.model)
        heard = ask(export, board, made.images, host.vectors, 0, "fast", folder, self.progress, project=made.project)
        device = np.stack([answer.outputs[0] for answer in heard.samples])
        classes = test.answers()
        right = [int(np.trace(np.array(training.confusion(scores, classes)))) for scores in (device, host.outputs[0])]
        verdict = verify.compare(host, heard.samples, (), (), self.graph)
        return {
            "correct": right[0],
            "total": len(classes),
            "host_correct": right[1],
            "mismatched_samples": verdict.mismatched_samples,
        }


def _edgetpu_options(request: Recipe) -> EdgeTpuOptions:
    asked = request.edgetpu
    return EdgeTpuOptions(
        compile=CompileOptions(asked.segments, asked.min_runtime_version, asked.timeout_s),
        place=Place(host=asked.host, port=asked.port, folder=asked.folder, python=asked.python),
        device=asked.device,
        bounds=Bounds(asked.lsb, asked.within_lsb, asked.top1_agreement, asked.accuracy_drop),
    )


def _test_digest(test: TestSet | None) -> str:
    if test is None or test.golden is None:
        return ""
    return file_digest(test.golden) + file_digest(test.classes)


# The report


def _target_report(export: Export, board: Board, made: Firmware, found: Mapping[str, Any]) -> dict[str, Any]:
    verdict = found["verify"]
    instructions = op_instructions(export, found["profile"])
    return {
        "board": {k: getattr(board, k) for k in ("id", "title", "core", "flash_bytes", "ram_bytes")},
        "runtime": export.runtime,
        "exact": verdict["mismatched_samples"] == 0 and verdict["layer_mismatches"] == 0,
        "verify": verdict,
        "kernels": [
            {
                "op_index": k.op_index,
                "op": k.op,
                "kernel": k.kernel,
                "reason": k.reason,
                "output_shape": list(k.output_shape),
                "macs": k.macs,
                "weight_bytes": k.weight_bytes,
                "instructions": instructions.get(k.op_index),
            }
            for k in export.kernels
        ],
        "layers": [
            {
                "op_index": layer.op_index,
                "op": layer.op,
                "tensor": layer.tensor,
                "shape": list(layer.shape),
                "dtype": layer.dtype,
                "bytes": layer.bytes,
                "compared": verdict["layer_samples"],
                "mismatched": wrong,
            }
            for layer, wrong in zip(export.layers, found["wrong_samples"], strict=True)
        ],
        "arena": {
            "bytes": export.arena_bytes,
            "lower_bound": export.arena_lower_bound,
            "steps": len(export.kernels),
            "slots": [dataclasses.asdict(slot) for slot in export.arena],
        },
        "sections": dict(made.images["release"].sections),
        "device_accuracy": found["device_accuracy"],
    }


def _ladder(target: Mapping[str, Any], targets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """LiteRT, TFLM, our C on the host, our C on the board: each against TFLM, whose answers are golden."""
    verdict = target["verify"]
    rungs: list[dict[str, Any]] = []
    litert = verdict["litert"]
    reference = "TFLM on the host"
    if litert["package"]:
        rungs.append(
            {
                "rung": "LiteRT",
                "against": reference,
                "samples": verdict["samples"],
                "mismatched_samples": litert["mismatched_samples"],
                "max_abs_diff": litert["max_abs_diff"],
                "note": f"{litert['package']} {litert['version']}, {litert['kernels']}: reported, need not be equal",
                "required": False,
            }
        )
    rungs.append(
        {
            "rung": reference,
            "against": None,
            "samples": verdict["samples"],
            "mismatched_samples": 0,
            "max_abs_diff": 0,
            "note": f"golden: {verdict['golden']}",
        }
    )
    on_board = [t for t in targets if t["board"]["id"] == "native" and t["runtime"] == target["runtime"]]
    for rung in [*(t for t in on_board if t is not target), target]:
        found = rung["verify"]
        rungs.append(
            {
                "rung": f"{rung['runtime']} on {rung['board']['id']}",
                "against": reference,
                "samples": found["samples"],
                "mismatched_samples": found["mismatched_samples"],
                "max_abs_diff": found["max_abs_diff"],
                "note": f"{found['layers_compared']} layers compared, {found['layer_mismatches']} differ",
            }
        )
    return rungs


def _report(
    request: Recipe,
    trained: Trained,
    found: Sequence[dict[str, Any]],
    corals: Sequence[dict[str, Any]],
    steps: Sequence[StepResult],
    targets: Sequence[tuple[Board, str]],
) -> dict[str, Any]:
    model = trained.model
    graph = tflite.read(model.path)
    costs = {"macs": graph_costs.total_macs(graph), "weights_bytes": graph_costs.total_weight_bytes(graph)}
    costs = found[0]["verify"] if found else costs
    return {
        "tensorflash": __version__,
        "recipe": {"name": request.name, "sha256": file_digest(request.source)},
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "inputs": [_tensor(spec) for spec in model.inputs],
            "outputs": [_tensor(spec) for spec in model.outputs],
            "macs": costs["macs"],
            "weights_bytes": costs["weights_bytes"],
            "file_bytes": model.path.stat().st_size,
            "tensor_types": audit.tensor_types(graph),
        },
        "labels": list(request.labels),
        "input_contract": None if request.contract is None else request.contract.as_json(),
        "quantization": training.quantization_report(trained, request.gate),
        "targets": [{**target, "ladder": _ladder(target, found)} for target in found],
        **({"edgetpu": list(corals)} if corals else {}),
        "versions": _versions(trained),
        "tools": {
            name: version
            for board, runtime in targets
            if runtime != "edgetpu"
            for name, version in _tools(board).items()
        },
        "hashes": {
            f"{step.stage}/{name}": sha256
            for step in steps
            for name, sha256 in step.outputs.items()
            if name.endswith((".tflite", ".npz")) or name.startswith("images/")
        },
        "timing": {step.stage: step.seconds for step in steps},
    }


def _tools(board: Board) -> dict[str, str]:
    """The programs that build and run a board, as they name themselves."""
    if board.is_hardware:
        return build.versions(board)
    names = [build.compiler(board), *([board.emulator.program] if board.emulator else [])]
    return {name: tools.version_line(name) for name in names}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {**dataclasses.asdict(spec), "shape": list(spec.shape)}


def _versions(trained: Trained) -> dict[str, str]:
    """Every package that had a part in the result."""
    result = {"tensorflash": __version__, "python": platform.python_version(), **trained.versions}
    for name in ("tflite-micro", "tflite-runtime", "ai-edge-litert", "platformio", "scons", "numpy"):
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result
