"""An Edge TPU as a target: a model is checked, repaired, compiled, bundled, and its answers compared on the device.

check ──► fix ──► compile ──► bundle ──► device: the Edge TPU, or the CPU with the reason
                    │ skipped with the reason where edgetpu_compiler is not installed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import __version__, golden, interpreters, tflite, vectors
from pipeline.board import Board
from pipeline.contract import Contract
from pipeline.edgetpu import bundle as bundles
from pipeline.edgetpu import comparison, compiler, deploy, inspection, package, troubles
from pipeline.edgetpu.bundle import Bundle
from pipeline.edgetpu.check import Prediction, check_model
from pipeline.edgetpu.comparison import Bounds
from pipeline.edgetpu.compiler import Compiled, CompileOptions
from pipeline.edgetpu.deploy import DeviceRun, Place
from pipeline.edgetpu.fix import fix_model
from pipeline.errors import ModelError, ToolError
from pipeline.golden import Golden
from pipeline.model import Array, QuantizedModel
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from pipeline.workspace import StepResult, Workspace, file_digest, files_digest

Progress = Callable[[str, int, int], None]

DEFAULT_RUNTIME = 14


@dataclass(frozen=True)
class EdgeTpuOptions:
    """How a model is compiled, where it runs and what is asked of it. device: "auto", "edgetpu" or "cpu"."""

    compile: CompileOptions = field(default_factory=CompileOptions)
    place: Place = field(default_factory=Place)
    device: str = "auto"
    bounds: Bounds = field(default_factory=Bounds)


def compile_checked(
    models: Sequence[Path], options: CompileOptions, out: Path, progress: Progress
) -> tuple[Compiled, dict[str, Any]]:
    """Compile models and hold the result against the prediction: `tensorflash edgetpu compile --json` is the mapping.

    Raises:  as pipeline.edgetpu.compiler.compile_models.
    """
    compiler.command(options.command)  # what is missing is told before anything is worked out
    runtime = options.min_runtime_version or DEFAULT_RUNTIME
    predictions = {path: check_model(path, runtime) for path in models}
    found = compiler.compile_models(
        models,
        options,
        out,
        predictions={path: (p.on_edgetpu, p.on_cpu) for path, p in predictions.items() if _foreseen(p, options.cut)},
        progress=progress,
    )
    result = found.as_json()
    for told, model in zip(result["models"], found.models, strict=True):
        prediction = predictions[model.source]
        told["predicted"] = {"on_edgetpu": prediction.on_edgetpu, "on_cpu": prediction.on_cpu}
        for part, segment in zip(told["segments"], model.segments, strict=True):
            part["inspection"] = None
            if segment.subgraphs:
                try:
                    part["inspection"] = inspection.inspect(package.read(segment.path))
                except ModelError as error:
                    why = error.message.removeprefix(f"{segment.path}: ")
                    result["disagreements"].append(f"{segment.path.name}: its package cannot be read: {why}")
    return found, result


def _foreseen(prediction: Prediction, cut: Sequence[str]) -> bool:
    """Whether a prediction is of the model as it is to be cut: not at all, or where its part ends anyway."""
    return not cut or set(cut) == set(prediction.cuts)


def runtime_needed(result: Mapping[str, Any]) -> int | None:
    """The oldest runtime that runs all packages, where they say."""
    versions = [
        segment["inspection"]["minimum_runtime_version"]
        for model in result["models"]
        for segment in model["segments"]
        if segment["inspection"] is not None
    ]
    return max(versions, default=None)


def deploy_bundle(
    folder: Path,
    place: Place,
    *,
    device: str,
    samples: int,
    seed: int,
    expected: str | None,
    bounds: Bounds,
    progress: Progress,
) -> dict[str, Any]:
    """Bring a bundle to its place and compare its answers with TFLM's here: `tensorflash edgetpu deploy --json`.

    Raises:  DataError: it was edited. DeviceError: no way there, or it cannot run. ToolError: there is no tflite-micro.
    """
    bundle = bundles.load(folder, expected)
    graph = tflite.read(folder / f"{bundle.name}.tflite")
    model = tflite.quantized_model(graph)
    given = vectors.make(model, samples, seed)
    progress("golden", 0, 0)
    truth = golden.compute(model, given, ())
    options = EdgeTpuOptions(place=place, device=device, bounds=bounds)
    return {
        "bundle": {"path": str(folder), "identity": bundle.identity, "compiled": list(bundle.compiled)},
        "place": place.title,
        **_device_test(bundle, graph, truth, None, None, options, progress),
    }


def _device_test(
    bundle: Bundle,
    graph: Graph,
    truth: Golden,
    test: Golden | None,
    classes: Array | None,
    options: EdgeTpuOptions,
    progress: Progress,
) -> dict[str, Any]:
    """Samples on the device, twice; then the test set, once. A difference between the two passes is a problem."""
    bounds = comparison.for_model(graph, options.bounds)
    progress(f"{options.place.title} answers", 0, 0)
    heard = deploy.run(bundle, truth.vectors, options.place, device=options.device)
    compared = comparison.compare(truth.outputs, heard.outputs, bounds=bounds)
    problems = list(compared.problems)
    if not heard.repeats:
        problems.append("two runs of the same samples gave different bytes; on one device they have to be equal.")
    tested = None
    if test is not None and classes is not None:
        progress(f"{options.place.title} test set", 0, 0)
        again = deploy.run(bundle, test.vectors, options.place, device=heard.device, passes=1)
        tested = comparison.compare(test.outputs, again.outputs, classes=classes, bounds=bounds)
        problems += [f"test set: {problem}" for problem in tested.problems]
    return {
        "device": heard.device,
        "reason": _reason(heard),
        "trouble": heard.trouble,
        "identical_passes": heard.repeats,
        "passes": len(heard.passes),
        "golden": truth.source,
        "comparison": compared.as_json(),
        "test_set": None if tested is None else tested.as_json(),
        "versions": dict(heard.versions),
        "timing": {"latency_us": dict(heard.latency_us)},
        "problems": problems,
    }


def _reason(heard: DeviceRun) -> str:
    """Why the CPU answered, and what helps."""
    if heard.trouble is None:
        return heard.reason
    try:
        known = troubles.by_kind(heard.trouble, troubles.RUNTIME)
    except KeyError:
        return heard.reason
    return f"{known.cause} {known.remedy[0].upper()}{known.remedy[1:]} It said: {heard.reason}"


class Target:
    """A board with an Edge TPU in a run: its steps, each kept in the work folder, and what is to be told of it."""

    def __init__(self, workspace: Workspace, board: Board, options: EdgeTpuOptions, progress: Progress) -> None:
        self.workspace = workspace
        self.board = board
        self.options = options
        self.progress = progress
        self.steps: list[StepResult] = []

    def built(
        self, model: QuantizedModel, labels: Sequence[str], contract: Contract | None = None
    ) -> tuple[Bundle, dict[str, Any]]:
        """Check, repair, compile and bundle a model.

        Raises:  UnsupportedError: the compiler says that it cannot be compiled. ToolError: the compiler failed.
        """
        fixed = self._step("fix", {"model": model.sha256}, {}, lambda folder: self._fix(model, folder))
        repaired = fixed.path / f"{model.name}.tflite"
        told = _json(fixed.path / "fix.json")
        compiled, skipped = self._compiled(repaired)
        inputs = {"model": file_digest(repaired), "compiled": "" if compiled is None else compiled.digest}

        def write(folder: Path) -> None:
            made = tflite.quantized_model(tflite.read(repaired))
            packages: list[Path] = []
            needed = None
            if compiled is not None:
                result = _json(compiled.path / "compile.json")
                needed = runtime_needed(result)
                segments = result["models"][0]["segments"]
                packages = [compiled.path / "compiled" / Path(segment["path"]).name for segment in segments]
            bundles.write(
                made, self.board, packages, labels, folder / "bundle", contract=contract, min_runtime_version=needed
            )

        kept = self._step(
            "bundle",
            inputs,
            {
                "labels": list(labels),
                "contract": None if contract is None else contract.as_json(),
                "board": json.loads(json.dumps(asdict(self.board)["edgetpu"])),
            },
            write,
        )
        bundle = bundles.load(kept.path / "bundle")
        return bundle, {
            "check": told["check"],
            "fix": {key: told["fix"][key] for key in ("repairs", "suggestions", "before", "after", "proof")},
            "graph": told["graph"],
            "compile": None if compiled is None else _relative(_json(compiled.path / "compile.json")),
            "compile_skipped": skipped,
            "bundle": {
                "path": str(bundle.folder),
                "identity": bundle.identity,
                "files": list(bundle.files),
                "compiled": list(bundle.compiled),
            },
        }

    def tested(
        self, bundle: Bundle, model: QuantizedModel, given: Vectors, test: Golden | None, classes: Array | None
    ) -> dict[str, Any]:
        """The device's answers against TFLM's. A measurement: it is made on every run, and never kept."""
        graph = tflite.read(model.path)

        def compute(folder: Path) -> None:
            self.progress("golden", 0, 0)
            golden.compute(model, given, ()).save(folder / "golden.npz")

        host = self.workspace.step(
            "edgetpu-golden",
            {"model": model.sha256, "vectors": given.sha256},
            {},
            {"tensorflash": __version__, "tflite-micro": interpreters.tflm_version()},
            compute,
        )
        self.steps.append(host)
        truth = golden.load(host.path / "golden.npz", model)
        return _device_test(bundle, graph, truth, test, classes, self.options, self.progress)

    def _step(
        self, what: str, inputs: Mapping[str, str], options: Mapping[str, Any], run: Callable[[Path], None]
    ) -> StepResult:
        here = Path(__file__).parent
        code = [*here.glob("*.py"), *here.glob("*.toml"), *(here.parent / "templates" / "edgetpu").iterdir()]
        step = self.workspace.step(
            f"edgetpu-{what}-{self.board.id}",
            {**inputs, "code": files_digest(sorted(code), here)},
            {"runtime": self.options.compile.min_runtime_version or DEFAULT_RUNTIME, **options},
            {"tensorflash": __version__},
            run,
        )
        self.steps.append(step)
        return step

    def _fix(self, model: QuantizedModel, folder: Path) -> None:
        self.progress("edgetpu fix", 0, 0)
        runtime = self.options.compile.min_runtime_version or DEFAULT_RUNTIME
        out = folder / f"{model.name}.tflite"
        repair = fix_model(model.path, out, runtime_version=runtime)
        told: dict[str, Any] = {
            "fix": repair.as_json(),
            "check": repair.after.as_json(),
            "graph": mapping_graph(tflite.read(out), repair.after),
        }
        told["check"]["model"]["path"] = out.name
        (folder / "fix.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    def _compiled(self, model: Path) -> tuple[StepResult | None, str | None]:
        options = self.options.compile
        try:
            words = compiler.command(options.command)
        except ToolError as error:
            if options.command is not None:
                raise
            return None, f"{error.message} `tensorflash edgetpu compile` says how to get it."

        def run(folder: Path) -> None:
            _, result = compile_checked([model], options, folder / "compiled", self.progress)
            (folder / "compile.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

        settings = {"segments": options.segments, "timeout_s": options.timeout_s, "command": list(words)}
        return self._step("compile", {"model": file_digest(model)}, settings, run), None


def _relative(result: dict[str, Any]) -> dict[str, Any]:
    """Paths become names: a report does not depend on where it was made."""
    for model in result["models"]:
        model["path"] = Path(model["path"]).name
        for segment in model["segments"]:
            segment["path"] = Path(segment["path"]).name
            if segment["inspection"] is not None:
                segment["inspection"]["model"]["path"] = segment["path"]
    result["log"] = Path(result["log"]).name
    for attempt in result["attempts"]:
        attempt["arguments"] = list(attempt["arguments"])
    return result


def mapping_graph(graph: Graph, prediction: Prediction) -> list[dict[str, Any]]:
    """Each op with where it runs, and the ops it reads from."""
    producers = graph.producers()
    return [
        {
            "index": op.index,
            "op": op.custom_code or op.name,
            "target": verdict.target,
            "blocker": verdict.blocker,
            "certain": verdict.certain,
            "reason": verdict.reason,
            "reads": sorted({producers[i].index for i in op.inputs if i in producers}),
        }
        for op, verdict in zip(graph.ops, prediction.ops, strict=True)
    ]


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
