"""The report: one mapping becomes report.html (for people), report.json (for programs) and junit.xml (for CI).

Equal mappings give equal bytes. What may differ between equal runs is in `timing` objects only; of those the page
shows the report's own, in its last section, and junit.xml none.

`Report` below is the mapping's type; `write` checks it at run time too. All of it is JSON, with sequences as lists
or tuples. A number that JSON has no word for (a loss that became NaN) is written as the string "NaN", "Infinity" or
"-Infinity".
"""

from __future__ import annotations

import json
import math
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, FiniteFloat, TypeAdapter, with_config
from typing_extensions import NotRequired, TypedDict  # pydantic needs this one before Python 3.12

from pipeline import report_page
from pipeline.errors import RequestError

_CLOSED = ConfigDict(extra="forbid", strict=True)
_OPEN = ConfigDict(extra="allow", strict=True)
_INVISIBLE = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")  # Unicode categories


@with_config(_CLOSED)
class RecipeFile(TypedDict):
    """The request. sha256 is null where there is no recipe file."""

    name: str
    sha256: str | None


@with_config(_CLOSED)
class Tensor(TypedDict):
    """A model input or output: real = scale * (code - zero_point); scale is 0 for a tensor without quantization."""

    name: str
    shape: Sequence[int]
    dtype: str
    scale: float
    zero_point: int


@with_config(_CLOSED)
class Model(TypedDict):
    """The int8 .tflite file. macs are of one inference, weights_bytes include biases.

    tensor_types: dtype -> how many tensors its ops work on.
    """

    name: str
    sha256: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    macs: int
    weights_bytes: int
    file_bytes: int
    tensor_types: NotRequired[Mapping[str, int]]


@with_config(_CLOSED)
class InputContract(TypedDict):
    """How raw values become the model's input: real = raw * scale[channel] + offset[channel], in float32.

    raw: dtype of the sensor or file. layout: "channels_last" or "channels_first". One value holds for all channels.
    """

    raw: str
    scale: Sequence[FiniteFloat]
    offset: Sequence[FiniteFloat]
    layout: str


@with_config(_CLOSED)
class AgainstFloat(TypedDict):
    """From the float model to another on the same test set: answers that changed, became right, became wrong.

    difference and interval (95 %): of the accuracies, as fractions.
    """

    changed: int
    gained: int
    lost: int
    difference: FiniteFloat
    interval: Sequence[FiniteFloat]


@with_config(_CLOSED)
class Method(TypedDict):
    """One way to have the network: name is "float", "ptq" or "qat". accuracy is a fraction, of the test set.

    interval: of 95 %, between which the accuracy lies. against_float: null for float itself.
    """

    name: str
    accuracy: FiniteFloat
    correct: int
    total: int
    file_bytes: int
    chosen: bool
    interval: NotRequired[Sequence[FiniteFloat]]
    against_float: NotRequired[AgainstFloat | None]


@with_config(_CLOSED)
class Representative(TypedDict):
    """The samples that set the quantization ranges, and the range of their values.

    classes: how many are of each class, where that is known.
    """

    samples: int
    min: float
    max: float
    classes: NotRequired[Sequence[int] | None]


@with_config(_CLOSED)
class Gate(TypedDict):
    """The accuracy the recipe insists on: float accuracy - the quantized model's, as fractions."""

    max_accuracy_drop: FiniteFloat
    accuracy_drop: FiniteFloat
    passed: bool


@with_config(_CLOSED)
class TrainedLayer(TypedDict):
    """How quantization-aware training treated a layer: int8 simulated, or float for a reason.

    weights, activations: settings of its quantizers (pipeline.quantizers), and the range learnt; null without one.
    max_lsb, mean_lsb: how far the int8 layer is from its simulation, in steps of its scale; null where not compared.
    """

    name: str
    kind: str
    int8: bool
    reason: str
    frozen: bool
    weights: NotRequired[Mapping[str, bool | int | FiniteFloat | str] | None]
    activations: NotRequired[Mapping[str, bool | int | FiniteFloat | str] | None]
    max_lsb: FiniteFloat | None
    mean_lsb: FiniteFloat | None


@with_config(_CLOSED)
class Agreement(TypedDict):
    """Test samples, and those that the int8 model puts in the same class as its simulation in training."""

    samples: int
    same: int


@with_config(_CLOSED)
class SensitiveLayer(TypedDict):
    """What quantization costs in one layer: SQNRs of the model's answers in dB, null without any error.

    merged: names of all layers that are one with it when converted, its own is the last.
    lost: right answers lost when only this layer is quantized; regained: when only this one is float. low, high: its
    range. weights_bits: of its weights, null without any.
    """

    layer: str
    merged: NotRequired[Sequence[str]]
    kinds: Sequence[str]
    sqnr_db: FiniteFloat | None
    weights_sqnr_db: FiniteFloat | None
    output_sqnr_db: FiniteFloat | None
    lost: int
    regained: int
    low: FiniteFloat
    high: FiniteFloat
    weights_bits: int | None
    suggestion: str


@with_config(_CLOSED)
class Sensitivity(TypedDict):
    """Quantization simulated on the float model, the most sensitive layer first; reason: why there is none."""

    samples: int
    float_correct: int
    quantized_correct: int
    sqnr_db: FiniteFloat | None
    reason: str
    layers: Sequence[SensitiveLayer]


@with_config(_CLOSED)
class LayerRange(TypedDict):
    """A layer's output: its range, calibrated in the float model or learnt by qat, and its values on the test set.

    clipped, usual: fraction of the test set's values, and of the representative ones, beyond the range by more than a
    step.
    """

    layer: str
    low: FiniteFloat
    high: FiniteFloat
    test_low: FiniteFloat
    test_high: FiniteFloat
    clipped: FiniteFloat
    usual: FiniteFloat


@with_config(_CLOSED)
class Quantization(TypedDict):
    """How the quantized model came about.

    activations: "int8" or "int16"; weights are int8, or int4 in quantizers of the recipe.
    confusion: of the chosen model, rows are the true class, columns the predicted one; null if it does not classify.
    history:   training ("float", "qat") -> curve ("loss", "val_loss") -> one value an epoch.
    warnings:  what is suspicious and what to do about it, a sentence each.
    """

    activations: NotRequired[str]
    methods: Sequence[Method]
    confusion: Sequence[Sequence[int]] | None
    history: Mapping[str, Mapping[str, Sequence[float]]]
    representative: Representative | None
    gate: NotRequired[Gate | None]
    layers: NotRequired[Sequence[TrainedLayer]]
    agreement: NotRequired[Agreement | None]
    sensitivity: NotRequired[Sensitivity | None]
    ranges: NotRequired[Sequence[LayerRange]]
    warnings: NotRequired[Sequence[str]]


@with_config(_CLOSED)
class Board(TypedDict):
    """flash_bytes and ram_bytes are the budget; null where there is none (the host)."""

    id: str
    title: str
    core: str
    flash_bytes: int | None
    ram_bytes: int | None


@with_config(_OPEN)
class VerifiedModel(TypedDict):
    path: str
    sha256: str


@with_config(_OPEN)
class Divergence(TypedDict):
    """The first byte that differs, in the earliest op that differs on that sample; a string is a NaN or infinity."""

    sample: int
    op_index: int
    op: str
    tensor: str
    index: int
    expected: int | float | str
    actual: int | float | str


@with_config(_OPEN)
class OpDifference(TypedDict):
    """The first op that differs in LiteRT, and by how much at most on that sample."""

    sample: int
    op_index: int
    op: str
    tensor: str
    max_abs_diff: int | float


@with_config(_OPEN)
class Instructions(TypedDict):
    """Of one inference."""

    median: int | FiniteFloat
    min: int | FiniteFloat
    max: int | FiniteFloat


@with_config(_OPEN)
class LiteRt(TypedDict):
    """The host LiteRT interpreter on the same samples: reported, never required equal. reason: why there is none."""

    package: str | None
    version: str | None
    kernels: str | None
    mismatched_samples: int | None
    max_abs_diff: int | float | None
    first_difference: NotRequired[OpDifference | None]
    reason: NotRequired[str | None]


@with_config(_OPEN)
class Verify(TypedDict):
    """What `tensorflash verify --json` prints; keys that this page does not know pass into report.json.

    notes: of the runtime, a sentence each, such as which library it builds with.
    """

    model: VerifiedModel
    board: str
    runtime: str
    samples: int
    mismatched_samples: int
    mismatched_bytes: int
    max_abs_diff: int | float
    first_divergence: Divergence | None
    instructions: Instructions | None
    flash_bytes: int | None
    ram_bytes: int | None
    arena_bytes: int
    stack_bytes: int | None
    macs: int
    golden: str
    litert: LiteRt | None
    layers_compared: int
    layer_mismatches: int
    weights_bytes: int
    model_flash_bytes: int | None
    model_ram_bytes: int | None
    notes: Sequence[str]


@with_config(_CLOSED)
class Kernel(TypedDict):
    """How one op is carried out, and why so. kernel is "" where nothing is left to do at run time."""

    op_index: int
    op: str
    kernel: str
    reason: str
    output_shape: Sequence[int]
    macs: int
    weight_bytes: int
    instructions: NotRequired[int | FiniteFloat | None]


@with_config(_CLOSED)
class LayerCheck(TypedDict):
    """One layer's bytes against the golden ones: on `compared` samples, of which `mismatched` differ."""

    op_index: int
    op: str
    tensor: str
    shape: Sequence[int]
    dtype: str
    bytes: int
    compared: int
    mismatched: int


@with_config(_CLOSED)
class Slot(TypedDict):
    """Bytes [offset, offset + bytes) from step `first` to step `last`; -1 is before the first step."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@with_config(_CLOSED)
class Arena(TypedDict):
    """The arena's plan. slots is empty where the runtime does not tell (TFLM plans on the device)."""

    bytes: int
    lower_bound: int
    steps: int
    slots: Sequence[Slot]


@with_config(_CLOSED)
class DeviceAccuracy(TypedDict):
    """The test set on the board; the host ran the same samples. mismatched_samples differ in any byte."""

    correct: int
    total: int
    host_correct: int
    mismatched_samples: int


@with_config(_CLOSED)
class Rung(TypedDict):
    """One rung of the exactness ladder, from the host up to the board.

    against:  the rung it was compared with; null for the reference itself.
    required: false where a difference is reported but is not a fault (LiteRT rounds differently). Default true.
    """

    rung: str
    against: str | None
    samples: int
    mismatched_samples: int
    max_abs_diff: int | float
    note: str
    required: NotRequired[bool]


@with_config(_CLOSED)
class Target(TypedDict):
    """One board with one runtime. sections are the release build's, in bytes."""

    board: Board
    runtime: str
    exact: bool
    verify: Verify
    kernels: Sequence[Kernel]
    layers: Sequence[LayerCheck]
    arena: Arena
    sections: Mapping[str, int]
    device_accuracy: DeviceAccuracy | None
    ladder: Sequence[Rung]


@with_config(_CLOSED)
class CoralBoard(TypedDict):
    """A computer with an Edge TPU."""

    id: str
    title: str


@with_config(_OPEN)
class EdgeTpuComparison(TypedDict):
    """Output codes against the host's: lsb_histogram maps an absolute difference to how many codes have it."""

    samples: int
    codes: int
    lsb_histogram: Mapping[str, int]
    max_lsb: int
    top1_agreement: FiniteFloat | None
    accuracy: Mapping[str, int] | None
    bounds: Mapping[str, int | FiniteFloat]
    within: bool
    problems: Sequence[str]


@with_config(_OPEN)
class EdgeTpuDevice(TypedDict):
    """The device test. device: "edgetpu", or "cpu" with the reason. problems: bounds that are not kept."""

    device: str
    reason: str
    identical_passes: bool
    passes: int
    golden: str
    comparison: EdgeTpuComparison
    test_set: EdgeTpuComparison | None
    versions: Mapping[str, str]
    timing: Mapping[str, Any]
    problems: Sequence[str]


@with_config(_CLOSED)
class EdgeTpuTarget(TypedDict):
    """One board with an Edge TPU: what `edgetpu check`, `fix` and `compile` say of the model, and the device test.

    graph: the ops of the repaired model with where they run, and which ops they read from. compile is null where the
    compiler is not installed; compile_skipped says so.
    """

    board: CoralBoard
    runtime: str
    check: Mapping[str, Any]
    fix: Mapping[str, Any]
    graph: Sequence[Mapping[str, Any]]
    compile: Mapping[str, Any] | None
    compile_skipped: str | None
    bundle: Mapping[str, Any]
    device: EdgeTpuDevice


@with_config(_CLOSED)
class Report(TypedDict):
    """All there is to tell about a run.

    quantization is null for a .tflite that was given, input_contract where the recipe has none. versions: package ->
    version; tools: gcc, qemu, .. -> version; hashes: file -> sha256; timing: stage -> seconds.
    """

    tensorflash: str
    recipe: RecipeFile
    model: Model
    labels: Sequence[str]
    input_contract: NotRequired[InputContract | None]
    quantization: Quantization | None
    targets: Sequence[Target]
    edgetpu: NotRequired[Sequence[EdgeTpuTarget]]
    versions: Mapping[str, str]
    tools: Mapping[str, str]
    hashes: Mapping[str, str]
    timing: Mapping[str, FiniteFloat]


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write report.html, report.json and junit.xml into the folder `out`, each whole or not at all.

    Args:    report: a `Report`.
    Raises:  ValueError: the mapping is not a `Report`; it says which key.
             RequestError: a file cannot be written.
    """
    report = _checked(report)
    readable = _readable(report)
    files = {
        "report.json": (json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n").encode(),
        "report.html": report_page.render(readable, problems(readable)).encode(),
        "junit.xml": _junit(readable),
    }
    temporary = {out / name: out / f".{name}.tmp" for name in files}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, aside in temporary.items():
            aside.write_bytes(files[path.name])
        for path, aside in temporary.items():
            aside.replace(path)
    except OSError as error:
        raise RequestError(
            f"{out}: the report cannot be written: {error.strerror}.",
            hint="free some space, or name a folder that you may write with --out.",
        ) from error
    finally:
        for aside in temporary.values():
            _remove(aside)


def problems(report: Mapping[str, Any]) -> list[str]:
    """What is wrong, a sentence each, the gravest first. Empty: everything that was asked is proved.

    Args:    report: a `Report`.
    """
    found = [f"{_where(target)}: {sentence}" for target in report["targets"] for sentence in _wrong_answers(target)]
    for target in report["targets"]:
        found += [f"{_where(target)}: {over}" for over in (over_budget(target, "flash"), over_budget(target, "ram"))
                  if over is not None]  # fmt: skip
        found += [f"{_where(target)}: {wrong}" for wrong in (_wrong_accuracy(target),) if wrong is not None]
    for target in report.get("edgetpu", ()):
        found += [f"{_where(target)}: {problem}" for problem in target["device"]["problems"]]
    gate = (report["quantization"] or {}).get("gate")
    if gate is not None and not gate["passed"]:
        found.append(_failed_gate(gate))
    return found


def over_budget(target: Mapping[str, Any], memory: str) -> str | None:
    """The sentence that says by how much the release build exceeds the board's "flash" or "ram"; None if it fits."""
    budget, used = target["board"][f"{memory}_bytes"], report_page.used_bytes(target["verify"], memory)
    if budget is None or used is None or used <= budget:
        return None
    name = {"flash": "flash", "ram": "RAM"}[memory]
    return f"{used:,} bytes of {name} are needed, the board has {budget:,}: {used - budget:,} too many."


def divergence(first: Mapping[str, Any]) -> str:
    """The first byte that differs, as a sentence."""
    return (
        f"first in op {first['op_index']} ({first['op']}), {first['tensor']}, sample {first['sample']}: "
        f"element {first['index']} is {first['actual']}, should be {first['expected']}."
    )


def _where(target: Mapping[str, Any]) -> str:
    return f"{target['board']['id']} ({target['runtime']})"


def _wrong_answers(target: Mapping[str, Any]) -> list[str]:
    if target["exact"]:
        return []
    verify = target["verify"]
    sentence = f"{verify['mismatched_samples']:,} of {verify['samples']:,} samples and "
    sentence += f"{verify['layer_mismatches']:,} of {verify['layers_compared']:,} compared layers differ"
    first = verify["first_divergence"]
    return [f"{sentence}; {divergence(first)}" if first is not None else f"{sentence}."]


def _wrong_accuracy(target: Mapping[str, Any]) -> str | None:
    accuracy = target["device_accuracy"]
    if accuracy is None or (accuracy["mismatched_samples"] == 0 and accuracy["correct"] == accuracy["host_correct"]):
        return None
    return (
        f"on the test set {accuracy['mismatched_samples']:,} of {accuracy['total']:,} answers differ from the host's; "
        f"{accuracy['correct']:,} are right on the board, {accuracy['host_correct']:,} on the host."
    )


def _failed_gate(gate: Mapping[str, Any]) -> str:
    return (
        f"accuracy gate: the quantized model is {100 * gate['accuracy_drop']:.2f} percentage points less accurate "
        f"than the float one; the recipe allows {100 * gate['max_accuracy_drop']:.2f}."
    )


@cache
def _schema() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def _checked(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping, proved to be a Report, as plain JSON values."""
    _schema().validate_python(dict(report))
    plain: Mapping[str, Any] = _plain(report)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _readable(value: Any) -> Any:
    """The same values with every string fit to be shown and to stand in XML.

    Control characters, bidirectional overrides and lone surrogates, which a model file may contain, appear as escapes.
    """
    if isinstance(value, Mapping):
        return {_visible(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return _visible(value) if isinstance(value, str) else value


def _visible(text: str) -> str:
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") else _escape(c) for c in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _remove(path: Path) -> None:
    """Remove what a failed write left; a write that failed has its own error to tell."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _junit(report: Mapping[str, Any]) -> bytes:
    """JUnit XML: a suite for the accuracy gate, if there is one, and a suite for each target."""
    root = ElementTree.Element("testsuites", name=f"tensorflash {report['recipe']['name']}")
    gate = (report["quantization"] or {}).get("gate")
    if gate is not None:
        suite = _Suite(root, f"{report['recipe']['name']}.accuracy")
        suite.case("accuracy gate", None if gate["passed"] else _failed_gate(gate))
    for target in report["targets"]:
        suite = _Suite(root, f"{target['board']['id']}.{target['runtime']}")
        suite.case("exactness", next(iter(_wrong_answers(target)), None))
        for layer in target["layers"]:
            name = f"layer {layer['op_index']} {layer['op']} {layer['tensor']}"
            suite.case(name, _wrong_layer(target, layer), skipped=None if layer["compared"] else "not compared")
        for memory in ("flash", "ram"):
            budget, used = target["board"][f"{memory}_bytes"], report_page.used_bytes(target["verify"], memory)
            reason = "the board has no budget" if budget is None else "not measured" if used is None else None
            suite.case(f"budget {memory}", over_budget(target, memory), skipped=reason)
        if target["device_accuracy"] is not None:
            suite.case("device accuracy", _wrong_accuracy(target))
    for target in report.get("edgetpu", ()):
        suite = _Suite(root, f"{target['board']['id']}.edgetpu")
        suite.case("compile", None, skipped=target["compile_skipped"])
        device = target["device"]
        wrong = "; ".join(device["problems"]) or None
        if device["device"] == "edgetpu":
            suite.case("answers on the Edge TPU", wrong)
        else:
            suite.case("answers on the Edge TPU", None, skipped=device["reason"])
            suite.case("answers of the bundle on the CPU", wrong)
    for key in ("tests", "failures", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _wrong_layer(target: Mapping[str, Any], layer: Mapping[str, Any]) -> str | None:
    if not layer["mismatched"]:
        return None
    sentence = f"{layer['mismatched']:,} of {layer['compared']:,} samples differ"
    first = target["verify"]["first_divergence"]
    if first is not None and first["op_index"] == layer["op_index"]:
        return f"{sentence}; {divergence(first)}"
    return f"{sentence}."


class _Suite:
    """A <testsuite> under construction, its counts always those of its cases."""

    def __init__(self, root: ElementTree.Element, name: str) -> None:
        self._name = name
        self._element = ElementTree.SubElement(root, "testsuite", name=name, tests="0", failures="0", skipped="0")

    def case(self, name: str, failure: str | None, *, skipped: str | None = None) -> None:
        case = ElementTree.SubElement(self._element, "testcase", classname=self._name, name=name)
        self._count("tests")
        if failure is not None:
            ElementTree.SubElement(case, "failure", message=failure).text = failure
            self._count("failures")
        elif skipped is not None:
            ElementTree.SubElement(case, "skipped", message=skipped)
            self._count("skipped")

    def _count(self, what: str) -> None:
        self._element.set(what, str(int(self._element.get(what, "0")) + 1))
