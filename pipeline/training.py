"""A recipe becomes an int8 model and its accuracy: the steps before there is anything to build, each kept.

    data ─► float ─┬─► ptq ─┬─► model: the .tflite to deploy, answers of TFLM on the whole test set, accuracies
                   └─► qat ─┘

PTQ is always made, as what QAT has to be better than. A step runs in the worker process (pipeline.train_worker) if it
needs TensorFlow or the user's Python; nothing here imports either. A recipe with a .tflite has no float, ptq and qat.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import calibration, comparison, data, factory, golden, interpreters, tflite, train_worker
from pipeline.audit import require_int8
from pipeline.errors import DataError, GateError, ModelError, ToolError
from pipeline.model import Array, QuantizedModel
from pipeline.recipe import ConvertOptions, DataSource, Gate, ModelSource, Recipe
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from pipeline.workspace import StepResult, Workspace, file_digest, files_digest

Progress = Callable[[str, int, int], None]

_NEEDED = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "tf_keras": ("tf_keras",)}
_NEEDED_FOR_QAT = {"tensorflow-model-optimization": ("tensorflow-model-optimization",)}


@dataclass(frozen=True)
class Evaluation:
    """Answers to the test set. confusion[true class][answered class] counts samples, answers are of each in turn."""

    confusion: tuple[tuple[int, ...], ...]
    file_bytes: int  # of the model: the .tflite, or four bytes a float parameter
    answers: tuple[int, ...] = ()

    @property
    def samples(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        return sum(row[index] for index, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """Fraction of the test set, 0..1."""
        return self.correct / self.samples


@dataclass(frozen=True)
class TestSet:
    """The whole test set as it goes into the model.

    golden: answers of TFLM, for pipeline.golden.load; None where there is no tflite-micro.
    inputs and classes: .npy files, [samples, *input shape] codes and [samples] class numbers.
    """

    __test__ = False  # no test of pytest's

    inputs: Path
    classes: Path
    golden: Path | None

    def vectors(self) -> Vectors:
        """The inputs, for a device."""
        return Vectors((np.load(self.inputs, allow_pickle=False),), "test set")

    def answers(self) -> Array:
        """The true classes, int64 [samples]."""
        return np.asarray(np.load(self.classes, allow_pickle=False), np.int64)


@dataclass(frozen=True)
class Trained:
    """The int8 model of a recipe, and how it came about.

    method: "qat", "ptq", or "given" for a .tflite. evaluations: by "float", "ptq", "qat" or "given", empty without a
    test set. history: of "float" and "qat", curve -> one value an epoch. judge: the interpreter behind the int8
    evaluations. activations: that were asked for, "int8" or "int16".
    """

    model: QuantizedModel
    method: str
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    history: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    representative: Mapping[str, Any] | None = None  # samples, min, max, classes
    layers: Sequence[
        Mapping[str, Any]
    ] = ()  # how QAT trained each: pipeline.qat.LayerTraining, and its LayerGap's LSBs
    agreement: Mapping[str, int] | None = None  # of int8 with its simulation: samples, same
    sensitivity: Mapping[str, Any] | None = None  # pipeline.sensitivity.analyse
    ranges: Sequence[Mapping[str, Any]] = ()  # pipeline.sensitivity.ranges, with qat pipeline.qat.ranges
    warnings: Sequence[str] = ()
    test: TestSet | None = None
    judge: str = ""
    activations: str = "int8"
    versions: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepResult, ...] = ()


def train(
    recipe: Recipe,
    workspace: Workspace,
    progress: Progress = lambda stage, done, total: None,
    *,
    one_dense_scale_for: Sequence[str] = (),
) -> Trained:
    """Make or find all steps of a recipe.

    Args:    progress: called with the stage's name, and epochs (or parts) done and in all.
             one_dense_scale_for: TFLM libraries of the recipe's targets that compute per-channel FULLY_CONNECTED
             wrongly; unless the recipe insists, Dense layers get one weight scale.
    Raises:  DataError, RecipeError, ModelError: the user's data, Python or model is wrong; ToolError: a package is
             missing, or the worker crashed; RequestError: the work folder cannot be written.
    """
    if recipe.model.tflite is not None:
        return _given(recipe, recipe.model.tflite, workspace, progress)
    if recipe.data is None:
        raise ValueError("a recipe with a Keras model and without data")
    quantize = recipe.quantization
    qat = quantize.method == "qat"
    simulated = qat or bool(quantize.quantizers)
    versions = _versions({**_NEEDED, **(_NEEDED_FOR_QAT if simulated else {})})
    needed = ["test", "representative"] + (["train"] if qat or recipe.train is not None else [])
    data_step = _data_step(recipe, recipe.data, needed, workspace, progress)

    hashes, packages = _model_inputs(recipe.model)
    code = _code("quantize", "keras_models", "layer_patterns", "data", "factory", "train_worker")
    inputs = {"data": data_step.digest, **hashes, "code": code}
    common = {"seed": recipe.seed, "threads": recipe.threads, "labels": len(recipe.labels)}
    arguments = {**common, "data": str(data_step.path.absolute()), "model": _plain(recipe.model)}

    def work(
        stage: str, inputs: Mapping[str, str], options: Mapping[str, Any], versions: Mapping[str, str], **more: Any
    ) -> StepResult:
        def run(out: Path) -> None:
            train_worker.run(
                stage, {**arguments, **options, **more}, out, workspace.log(stage), partial(progress, stage)
            )

        return workspace.step(stage, inputs, {**common, **options}, {**versions, **packages}, run)

    float_options = {"train": None if recipe.train is None else recipe.train.model_dump(mode="json")}
    float_versions = {name: version for name, version in versions.items() if name not in _NEEDED_FOR_QAT}
    float_step = work("float", inputs, float_options, float_versions)

    inputs |= {
        "float": float_step.digest,
        "code": inputs["code"]
        + _code(
            "qat", "quantizers", "fidelity", "comparison", "sensitivity", "calibration", "convert", "audit", "tflite"
        ),
    }
    folder = str(float_step.path.absolute())
    convert = _convert_options(recipe, one_dense_scale_for)
    options = {"quantize": quantize.model_dump(mode="json", exclude={"method"}), "convert": convert}
    calibrating = {name: options["quantize"][name] for name in ("representative_samples", "quantizers")}
    ptq_versions = versions if quantize.quantizers else float_versions
    ptq_step = work("ptq", inputs, {**options, "quantize": calibrating}, ptq_versions, float=folder)
    steps = [data_step, float_step, ptq_step]
    if qat:
        inputs["ptq"] = ptq_step.digest
        steps.append(work("qat", inputs, options, versions, float=folder, ptq=str(ptq_step.path.absolute())))

    files = {step.stage: step.path / f"{step.stage}.tflite" for step in steps[2:]}
    used = quantize.representative_samples
    model_step = _model_step(recipe.name, files, quantize.method, data_step.path, workspace, progress, used)
    float_report = _json(float_step.path / "float.json")
    qat_report = _json(steps[3].path / "qat.json") if qat else {"history": {}, "layers": [], "warnings": []}
    history = {"float": float_report["history"], "qat": qat_report["history"]}
    float_evaluation = _evaluation({**float_report, "file_bytes": 4 * float_report["parameters"]})
    evaluations, judge, test = _judged(model_step.path)
    found = _json(model_step.path / "accuracy.json")
    gaps = {gap["layer"]: {key: gap[key] for key in ("max_lsb", "mean_lsb")} for gap in found["gaps"]}
    unknown = {"max_lsb": None, "mean_lsb": None}
    graph = tflite.read(model_step.path / f"{recipe.name}.tflite")
    ranges = qat_report["ranges"] if qat else _json(ptq_step.path / "ranges.json")
    warnings = [
        *found["warnings"],
        *calibration.range_warnings(ranges, "training" if qat else "the representative data"),
        *qat_report["warnings"],
        *_dense_notes(graph, convert, one_dense_scale_for),
    ]
    return Trained(
        model=tflite.quantized_model(graph),
        method=quantize.method,
        activations=recipe.activations,
        evaluations={"float": float_evaluation, **evaluations},
        history={name: curves for name, curves in history.items() if curves},
        representative=found["representative"],
        layers=[{**layer, **gaps.get(layer["name"], unknown)} for layer in qat_report["layers"]],
        agreement=found["agreement"],
        sensitivity=_json(steps[2].path / "ptq.json"),
        ranges=ranges,
        warnings=warnings,
        test=test,
        judge=judge,
        versions={**versions, **packages},
        steps=(*steps, model_step),
    )


def check_gate(trained: Trained, gate: Gate | None) -> None:
    """Raises:  GateError: the int8 model is less accurate than the recipe allows."""
    report = gate_report(trained, gate)
    if report is not None and not report["passed"]:
        float_, int8 = trained.evaluations["float"], trained.evaluations[trained.method]
        raise GateError(
            f"the quantized model ({trained.method}) is right on {int8.correct} of {int8.samples} test samples, the "
            f"float model on {float_.correct}: {100 * report['accuracy_drop']:.2f} percentage points less, the recipe "
            f"allows {100 * report['max_accuracy_drop']:.2f}.",
            hint="more epochs of qat or a smaller learning_rate, or representative data that is more like the test's.",
        )


def gate_report(trained: Trained, gate: Gate | None) -> dict[str, Any] | None:
    """The gate as the report has it; None without one."""
    if gate is None or "float" not in trained.evaluations:
        return None
    float_, int8 = trained.evaluations["float"], trained.evaluations[trained.method]
    lost = float_.correct - int8.correct
    return {
        "max_accuracy_drop": gate.max_drop,
        "accuracy_drop": lost / int8.samples,
        # As counts: 0.01 of 300 samples is 3 of them, whatever binary fractions say.
        "passed": lost <= gate.max_drop * int8.samples + 1e-9,
    }


def quantization_report(trained: Trained, gate: Gate | None) -> dict[str, Any] | None:
    """The part of the report on float, PTQ and QAT; None for a .tflite that was given."""
    if trained.method == "given":
        return None
    methods = [
        {
            "name": name,
            "accuracy": evaluation.accuracy,
            "correct": evaluation.correct,
            "total": evaluation.samples,
            "file_bytes": evaluation.file_bytes,
            "chosen": name == trained.method,
            "interval": list(comparison.accuracy_interval(evaluation.correct, evaluation.samples)),
            "against_float": _against_float(trained, name),
        }
        for name, evaluation in trained.evaluations.items()
    ]
    return {
        "activations": trained.activations,
        "methods": methods,
        "confusion": [list(row) for row in trained.evaluations[trained.method].confusion],
        "history": trained.history,
        "representative": trained.representative,
        "gate": gate_report(trained, gate),
        "layers": list(trained.layers),
        "agreement": trained.agreement,
        "sensitivity": trained.sensitivity,
        "ranges": list(trained.ranges),
        "warnings": list(trained.warnings),
    }


def _against_float(trained: Trained, name: str) -> dict[str, Any] | None:
    """What changes from the float model to another on the same test set; None where there is nothing to compare."""
    float_ = trained.evaluations.get("float")
    if float_ is None or name == "float" or trained.test is None:
        return None
    return comparison.paired(float_.answers, trained.evaluations[name].answers, trained.test.answers().tolist())


def confusion(scores: Array, answers: Array) -> tuple[tuple[int, ...], ...]:
    """Count answers: rows are true classes, columns the class with the highest score, the first of equal ones.

    Args:    scores: [samples, ..., classes] codes or real values. answers: [samples] true classes.
    """
    flat = scores.reshape(len(scores), -1)
    counts = np.zeros((flat.shape[1], flat.shape[1]), np.int64)
    np.add.at(counts, (answers, flat.argmax(axis=1)), 1)
    return _matrix(counts.tolist())


def _convert_options(recipe: Recipe, one_dense_scale_for: Sequence[str]) -> dict[str, Any]:
    """Arguments of convert.to_int8."""
    asked = recipe.convert or ConvertOptions()
    dense = asked.per_channel_dense
    return {
        "activations": asked.activations,
        "io": asked.io,
        "per_channel_dense": not one_dense_scale_for if dense is None else dense,
    }


def _dense_notes(graph: Graph, convert: Mapping[str, Any], libraries: Sequence[str]) -> list[str]:
    if convert["per_channel_dense"] or not libraries or not any(op.name == "FULLY_CONNECTED" for op in graph.ops):
        return []
    return [
        f"Dense layers have one weight scale for all outputs, because {' and '.join(libraries)} cannot compute with "
        "more; another library or the runtime aot can (`convert: {per_channel_dense: true}`)."
    ]


def _given(recipe: Recipe, path: Path, workspace: Workspace, progress: Progress) -> Trained:
    graph = tflite.read(path)
    require_int8(graph)
    model = tflite.quantized_model(graph)
    if recipe.data is None:
        return Trained(model, "given")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; a test set is for one of each.",
            hint="leave out the data section.",
        )
    data_step = _data_step(recipe, recipe.data, ["test"], workspace, progress)
    model_step = _model_step(recipe.name, {"given": path}, "given", data_step.path, workspace, progress)
    evaluations, judge, test = _judged(model_step.path)
    warnings = _json(model_step.path / "accuracy.json")["warnings"]
    return Trained(
        model, "given", evaluations, warnings=warnings, test=test, judge=judge, steps=(data_step, model_step)
    )


def _data_step(
    recipe: Recipe, source: DataSource, needed: Sequence[str], workspace: Workspace, progress: Progress
) -> StepResult:
    inputs = {"code": _code("contract", "data", "factory", "train_worker", "vectors")}
    contract = None if recipe.contract is None else recipe.contract.as_json()
    versions = {"numpy": importlib.metadata.version("numpy")}
    options: dict[str, Any] = {"needed": list(needed), "contract": contract}
    if source.npz is not None:
        npz = source.npz
        inputs["npz"] = file_digest(npz)

        def run(out: Path) -> None:
            data.save(data.from_npz(npz, needed, recipe.contract), out)
            progress("data", 1, 1)

    elif source.factory is not None:
        made_by = source.factory
        files = factory.sources(made_by.path)
        inputs["sources"] = files_digest([*files, *source.files], recipe.source.parent)
        versions |= {"python": platform.python_version(), **factory.package_versions(files, made_by.path.parent)}
        options["function"] = made_by.function

        def run(out: Path) -> None:
            arguments = {"factory": str(made_by), "needed": list(needed), "contract": contract}
            train_worker.run("data", arguments, out, workspace.log("data"), partial(progress, "data"))

    return workspace.step("data", inputs, options, versions, run)


def _model_step(
    name: str,
    files: Mapping[str, Path],
    chosen: str,
    folder: Path,
    workspace: Workspace,
    progress: Progress,
    representative_samples: int = 0,
) -> StepResult:
    """Run every int8 model over the test set, and keep the chosen one under the recipe's name."""
    tflm = _tflm_version()
    simulation = files["qat"].parent if "qat" in files else None

    def run(out: Path) -> None:
        dataset = data.load(folder)
        test = dataset.test
        if test is None:
            raise DataError(f"{folder}: the saved data has no test set.", hint="run again with --force.")
        judged: dict[str, Any] = {}
        judge = ""
        gaps: list[dict[str, Any]] = []
        agreement: dict[str, int] | None = None
        warnings: list[str] = []
        for done, (method, path) in enumerate(files.items()):
            progress("model", done, len(files))
            graph = tflite.read(path)
            model = tflite.quantized_model(graph)
            vectors = Vectors((data.quantized(test.x, model.inputs[0]),), "test set")
            if tflm:
                answers = golden.compute(model, vectors, ())
                scores, judge = answers.outputs[0], answers.source
                if method == chosen:
                    answers.save(out / "test_golden.npz")
            else:
                scores, judge = _second_opinion(model, vectors)
            if scores[0].size < 2 or scores[0].size <= int(test.y.max()):
                raise DataError(
                    f"the test set has class number {int(test.y.max())}; the model's output has shape "
                    f"{list(model.outputs[0].shape)}, one score for each class is needed."
                )
            answered = scores.reshape(len(scores), -1).argmax(axis=1)
            judged[method] = {
                "confusion": confusion(scores, test.y),
                "answers": answered.tolist(),
                "file_bytes": path.stat().st_size,
            }
            if method == "qat" and simulation is not None:
                expected = _json(simulation / "qat.json")["answers"]
                agreement = {"samples": len(expected), "same": int((np.asarray(expected) == answered).sum())}
                if tflm:
                    gaps = [dataclasses.asdict(gap) for gap in _gaps(graph, model, vectors, simulation / "layers.npz")]
            if method == chosen:
                warnings += calibration.warnings(graph, model.inputs[0], test.x)
                np.save(out / "test_inputs.npy", vectors.inputs[0], allow_pickle=False)
                np.save(out / "test_classes.npy", test.y, allow_pickle=False)
                if method != "given":
                    shutil.copyfile(path, out / f"{name}.tflite")
        used = None
        if representative_samples and dataset.representative is not None:
            used = calibration.describe(dataset.representative[:representative_samples], dataset.train)
            warnings += calibration.balance_warnings(used)
        if agreement is not None:
            warnings += comparison.agreement_warnings(agreement, gaps)
        report = {
            "judge": judge,
            "models": judged,
            "agreement": agreement,
            "gaps": gaps,
            "representative": used,
            "warnings": warnings,
        }
        (out / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        progress("model", len(files), len(files))

    inputs = {method: file_digest(path) for method, path in files.items()}
    inputs |= {path.stem: file_digest(path) for path in sorted(folder.glob("[xy]_*.npy"))}
    if simulation is not None:
        inputs |= {name: file_digest(simulation / name) for name in ("qat.json", "layers.npz")}
    modules = ("training", "calibration", "comparison", "data", "golden", "interpreters", "interpreter_worker")
    inputs["code"] = _code(*modules)
    options = {"name": name, "chosen": chosen, "representative_samples": representative_samples}
    return workspace.step("model", inputs, options, {"tflite-micro": tflm}, run)


def _gaps(graph: Graph, model: QuantizedModel, vectors: Vectors, simulation: Path) -> tuple[comparison.LayerGap, ...]:
    """Where the int8 model leaves its simulation, on the first samples of the test set."""
    with np.load(simulation, allow_pickle=False) as arrays:
        simulated = {name.removeprefix("layer "): arrays[name] for name in arrays.files}
    samples = len(next(iter(simulated.values())))
    first = Vectors((vectors.inputs[0][:samples],), vectors.source)
    answers = golden.compute(model, first, golden.all_layers(graph), samples)
    return comparison.layer_gaps(graph, answers.layers, simulated)


def _tflm_version() -> str:
    """The version of tflite-micro, "" where it is not installed."""
    try:
        return importlib.metadata.version("tflite-micro")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _second_opinion(model: QuantizedModel, vectors: Vectors) -> tuple[Array, str]:
    run, reason = interpreters.litert(model, vectors.inputs)
    if run is None:
        raise ToolError(
            f"there is no host interpreter to test the int8 model with: no tflite-micro, and {reason}.",
            hint="pip install 'tensorflash[golden]' (Linux on x86-64), or 'tensorflash[litert]'.",
        )
    return run.outputs[0], f"{run.package} {run.version} ({run.kernels})"


def _judged(folder: Path) -> tuple[dict[str, Evaluation], str, TestSet]:
    report = _json(folder / "accuracy.json")
    answers = folder / "test_golden.npz"
    test = TestSet(folder / "test_inputs.npy", folder / "test_classes.npy", answers if answers.exists() else None)
    evaluations = {method: _evaluation(judged) for method, judged in report["models"].items()}
    return evaluations, report["judge"], test


def _evaluation(judged: Mapping[str, Any]) -> Evaluation:
    return Evaluation(_matrix(judged["confusion"]), judged["file_bytes"], tuple(judged["answers"]))


def _model_inputs(source: ModelSource) -> tuple[dict[str, str], dict[str, str]]:
    """Hashes of what the float model comes from, and versions of the packages its factory imports."""
    if source.keras is not None:
        return {"keras": _saved_digest(source.keras)}, {}
    if source.factory is None:
        raise ValueError("a recipe without a model")
    files, folder = factory.sources(source.factory.path), source.factory.path.parent
    hashes = {"model": files_digest(files, folder) + source.factory.function}
    if source.weights is not None:
        hashes["weights"] = file_digest(source.weights)
    if source.files:
        hashes["files"] = "".join(file_digest(file) for file in source.files)
    return hashes, factory.package_versions(files, folder)


def _saved_digest(path: Path) -> str:
    """Of a file, or of all files of a SavedModel."""
    if path.is_dir():
        return files_digest([file for file in sorted(path.rglob("*")) if file.is_file()], path)
    return file_digest(path)


def _versions(wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Installed versions of TensorFlow and what it works with.

    Raises:  ToolError: one is missing.
    """
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    missing = []
    for name, distributions in {**wanted, "numpy": ("numpy",)}.items():
        for distribution in distributions:
            try:
                versions[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
        else:
            missing.append(name)
    if missing:
        raise ToolError(
            f"training and conversion need {', '.join(missing)}, which is not installed.",
            hint="pip install 'tensorflash[train]' (2.2 GB), or name an int8 .tflite as the recipe's model.",
        )
    return versions


def _code(*modules: str) -> str:
    """A hash of the modules that make a step: another version of them makes it anew."""
    here = Path(__file__).parent
    return files_digest([here / f"{module}.py" for module in modules], here)


def _plain(source: ModelSource) -> dict[str, str | None]:
    paths = {"keras": source.keras, "factory": source.factory, "weights": source.weights}
    return {name: None if value is None else str(value) for name, value in paths.items()}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _matrix(rows: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in rows)
