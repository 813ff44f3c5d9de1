"""A recipe.yaml becomes a Recipe: the whole request, validated, every path absolute.

The file is read node by node, so that every complaint has its line. There are no aliases, no tags and no merge keys:
a recipe is plain data, and cannot grow when it is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipeline.contract import Contract
from pipeline.errors import RecipeError
from pipeline.factory import Factory
from pipeline.factory import parse as parse_factory

MAX_FILE_BYTES = 256 * 1024
MAX_SAMPLES = 1_000_000
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")

# YAML 1.1 takes 1e-3 for text. It is a number, as in YAML 1.2.
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")


def _file(value: object, info: ValidationInfo) -> Path:
    """An existing file, relative to the recipe's folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("the path of a file is needed")
    path: Path = (info.context or {}).get("folder", Path()) / value
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return path


def _saved(value: object, info: ValidationInfo) -> Path:
    """A file, or the folder of a SavedModel."""
    if isinstance(value, str) and value and "\0" not in value:
        path: Path = (info.context or {}).get("folder", Path()) / value
        if path.is_dir():
            if not (path / "saved_model.pb").is_file():
                raise ValueError(f"a folder without saved_model.pb is no SavedModel: {path}")
            return path
        if not value.endswith(KERAS_SUFFIXES):
            raise ValueError(f"a file that ends in {' or '.join(KERAS_SUFFIXES)}, or a SavedModel's folder is needed")
    return _file(value, info)


def _factory(value: object, info: ValidationInfo) -> object:
    try:
        named = parse_factory(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("file.py:function is needed") from None
    return Factory(_file(str(named.path), info), named.function)


def _library(value: object, info: ValidationInfo) -> object:
    """A folder, absolute; or an entry of lib_deps, as it is: owner/name@version."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a folder or an entry of lib_deps is needed")
    folder = info.context["folder"] / value if info.context else Path(value)
    return str(folder) if folder.is_dir() else value


def _board(value: object, info: ValidationInfo) -> object:
    return str(_file(value, info)) if isinstance(value, str) and value.endswith(".toml") else value


def _suffix(*suffixes: str) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, str) and not value.endswith(suffixes):
            raise ValueError(f"a file that ends in {' or '.join(suffixes)} is needed")
        return value

    return BeforeValidator(check)


_PATH_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
AnyFile = Annotated[Path, BeforeValidator(_file), _PATH_SCHEMA]
KerasFile = Annotated[Path, BeforeValidator(_saved), _PATH_SCHEMA]
WeightsFile = Annotated[Path, BeforeValidator(_file), _suffix(".h5", ".hdf5"), _PATH_SCHEMA]
TfliteFile = Annotated[Path, BeforeValidator(_file), _suffix(".tflite"), _PATH_SCHEMA]
NpzFile = Annotated[Path, BeforeValidator(_file), _suffix(".npz"), _PATH_SCHEMA]
PythonFunction = Annotated[
    Factory,
    BeforeValidator(_factory),
    WithJsonSchema({"type": "string", "pattern": r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$"}),
]
TflmLibrary = Annotated[str, BeforeValidator(_library), _PATH_SCHEMA]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$"
_BOARD = r"^[a-z][a-z0-9_]{0,47}$|^.+\.toml$"
_PATTERNS = {
    _NAME: "at most 48 letters, digits, - and _ are needed",
    _BOARD: "at most 48 small letters, digits and _ are needed, or a file that ends in .toml",
}
Name = Annotated[str, Field(pattern=_NAME)]
LayerPattern = Annotated[str, Field(min_length=1, max_length=200)]
BoardName = Annotated[str, BeforeValidator(_board), Field(pattern=_BOARD)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _exactly_one(section: _Section, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(section, name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(names)} is needed, {' and '.join(given) or 'none'} given")


class ModelSource(_Section):
    """Where the model comes from: exactly one of keras, factory, tflite."""

    keras: Annotated[KerasFile | None, Field(description="a saved model: .keras, .h5, or a SavedModel's folder")] = None
    factory: Annotated[
        PythonFunction | None,
        Field(description="file.py:function, without arguments, gives a model of tf_keras or Keras 3"),
    ] = None
    weights: Annotated[
        WeightsFile | None, Field(description="trained weights (.weights.h5) for the factory's model")
    ] = None
    files: Annotated[
        tuple[AnyFile, ...],
        Field(strict=False, description="files the factory reads: when one changes, it is trained again"),
    ] = ()
    tflite: Annotated[TfliteFile | None, Field(description="an int8 model: nothing is trained")] = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelSource:
        _exactly_one(self, ("keras", "factory", "tflite"))
        if self.weights is not None and self.factory is None:
            raise ValueError("weights belong to a factory; a keras or tflite file has its own")
        if self.files and self.factory is None:
            raise ValueError("files are those a factory reads")
        return self


class DataSource(_Section):
    """Where the arrays come from: exactly one of npz, factory. The arrays: docs/recipe.md."""

    npz: Annotated[NpzFile | None, Field(description="x_train, y_train, x_test, y_test, x_representative")] = None
    factory: Annotated[
        PythonFunction | None,
        Field(description="file.py:function, without arguments, gives train, test and representative"),
    ] = None
    files: Annotated[
        tuple[AnyFile, ...],
        Field(strict=False, description="files the factory reads: when one changes, it runs again"),
    ] = ()

    @model_validator(mode="after")
    def _one_source(self) -> DataSource:
        _exactly_one(self, ("npz", "factory"))
        if self.files and self.factory is None:
            raise ValueError("files are those a factory reads")
        return self


Epochs = Annotated[int, Field(ge=1, le=100_000)]
LearningRate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]


class Phase(_Section):
    """A part of the float model's training, in which some layers are frozen."""

    epochs: Epochs
    learning_rate: LearningRate
    include: Annotated[
        tuple[LayerPattern, ...],
        Field(
            strict=False, description="layers that this phase trains: names, patterns, classes; the others are frozen"
        ),
    ] = ()
    exclude: Annotated[tuple[LayerPattern, ...], Field(strict=False, description="layers that are frozen")] = ()


Finite = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
PerChannel = Annotated[
    tuple[Finite, ...],
    Field(strict=False, min_length=1, max_length=65_536),
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}),
]


class InputOptions(_Section):
    """What raw data are, and how they become what the model takes: in training, in tests and in the firmware.

    One of: scale and offset (real = scale * raw + offset), mean and std (real = (raw - mean) / std), range (the reals
    that 0 and 255 stand for). Each is one value, or one for each channel. Without any, real = raw.
    """

    raw: Annotated[Literal["uint8", "int16", "float32"], Field(description="what the sensor or the file gives")]
    layout: Annotated[
        Literal["channels_last", "channels_first"], Field(description="of a raw sample; the model's is channels last")
    ] = "channels_last"
    scale: Annotated[PerChannel | None, Field(description="real = scale * raw + offset")] = None
    offset: Annotated[PerChannel | None, Field(description="default: 0")] = None
    mean: Annotated[PerChannel | None, Field(description="of raw values: real = (raw - mean) / std")] = None
    std: Annotated[PerChannel | None, Field(description="of raw values, above 0")] = None
    range: Annotated[
        tuple[Finite, Finite] | None, Field(strict=False, description="real numbers that the raw 0 and 255 stand for")
    ] = None

    @model_validator(mode="after")
    def _one_normalisation(self) -> InputOptions:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        ways = [self.scale is not None or self.offset is not None, self.mean is not None, self.range is not None]
        if sum(ways) > 1:
            raise ValueError("scale and offset, mean and std, or range: one of the three")
        if self.range is not None and (self.raw != "uint8" or self.range[0] == self.range[1]):
            raise ValueError("range has two different numbers, and goes with raw: uint8")
        lengths = {len(value) for value in (self.scale, self.offset, self.mean, self.std) if value} - {1}
        if len(lengths) > 1:
            raise ValueError(
                f"values for {' and '.join(map(str, sorted(lengths)))} channels; as many everywhere, or one for all"
            )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std has to be above 0")
        contract = self.contract
        if not np.isfinite((*contract.scale, *contract.offset)).all() or 0.0 in contract.scale:
            raise ValueError("a scale is 0, or beyond float32")
        return self

    @property
    def contract(self) -> Contract:
        """The one formula that all of them become; computed in float64, rounded once."""
        if self.range is not None:
            scale, offset = np.array([(self.range[1] - self.range[0]) / 255]), np.array([self.range[0]])
        elif self.mean is not None and self.std is not None:
            scale = 1 / np.array(self.std)
            offset = 0.0 - np.array(self.mean) * scale  # not -0.0
        else:
            scale, offset = np.array(self.scale or (1.0,)), np.array(self.offset or (0.0,))
        with np.errstate(over="ignore"):  # which the validator finds
            rounded = [tuple(map(float, value.astype(np.float32))) for value in (scale, offset)]
        return Contract(self.raw, rounded[0], rounded[1], self.layout)


class TrainOptions(_Section):
    """Training of the float model. Without this section the model is taken as trained."""

    epochs: Epochs | None = None
    batch_size: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 32
    learning_rate: LearningRate = 1e-3
    phases: Annotated[
        tuple[Phase, ...],
        Field(
            strict=False, description="one after another, instead of epochs; what the last one froze, qat keeps frozen"
        ),
    ] = ()

    @model_validator(mode="after")
    def _epochs_or_phases(self) -> TrainOptions:
        if self.phases and {"epochs", "learning_rate"} & self.model_fields_set:
            raise ValueError("each of the phases has epochs and learning_rate of its own")
        if not self.phases and self.epochs is None:
            raise ValueError("epochs or phases are needed")
        return self


class MostSensitive(_Section):
    """The layers that lose most when they alone are int8, as the report ranks them."""

    most_sensitive: Annotated[int, Field(ge=1, le=10_000)]


def _layer_choice(value: object) -> object:
    if isinstance(value, Mapping) and set(value) == {"most_sensitive"}:
        count = value["most_sensitive"]
        if isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= 10_000:
            return MostSensitive(most_sensitive=count)
    if not isinstance(value, str):
        raise ValueError("a name, a pattern or a class is needed, or such as {most_sensitive: 3}")
    return value


LayerChoice = Annotated[
    LayerPattern | MostSensitive,
    BeforeValidator(_layer_choice),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 200},
                {
                    "type": "object",
                    "properties": {"most_sensitive": {"type": "integer", "minimum": 1}},
                    "required": ["most_sensitive"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class WeightOptions(_Section):
    """How weights are quantized. TFLite's int8 weights are symmetric: code 0 is 0."""

    bits: Literal[8, 4] = 8
    per_channel: Annotated[
        bool | None,
        Field(description="a scale for each output channel, or one; default: for all but Dense. Dense: 8 bits only"),
    ] = None
    narrow_range: Annotated[bool, Field(description="codes -127..127 (-7..7), and not -128..127 (-8..7)")] = True
    symmetric: Annotated[bool, Field(exclude=True)] = True

    @model_validator(mode="after")
    def _symmetric(self) -> WeightOptions:
        if not self.symmetric:
            raise ValueError("int8 models have symmetric weights: TFLite has no zero point for them")
        return self


class ActivationOptions(_Section):
    """How the range of what a layer gives is learnt."""

    range: Annotated[
        Literal["moving_average", "min_max", "percentile"],
        Field(
            description="moving_average: of the batches' min and max; min_max: all values ever seen; percentile: a "
            "moving average without a batch's outermost values"
        ),
    ] = "moving_average"
    decay: Annotated[
        float, Field(ge=0, lt=1, allow_inf_nan=False, description="the weight of the old range when a batch moves it")
    ] = 0.99
    percentile: Annotated[
        float, Field(gt=50, lt=100, allow_inf_nan=False, description="of a batch's values, at either end")
    ] = 99.9
    symmetric: Annotated[bool, Field(description="0 is code 0: as far below it as above")] = False

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> ActivationOptions:
        if self.range == "min_max" and "decay" in self.model_fields_set:
            raise ValueError("min_max never forgets; decay is for moving_average and percentile")
        if self.range != "percentile" and "percentile" in self.model_fields_set:
            raise ValueError("a percentile goes with `range: percentile`")
        return self


class QuantizerOptions(_Section):
    """Quantizers of some layers; of several that mean a layer, the last counts, for weights and activations apart."""

    layers: Annotated[
        tuple[LayerChoice, ...],
        Field(strict=False, min_length=1, description="names, patterns, classes, or {most_sensitive: k}"),
    ]
    weights: WeightOptions | None = None
    activations: ActivationOptions | None = None

    @model_validator(mode="after")
    def _has_a_quantizer(self) -> QuantizerOptions:
        if self.weights is None and self.activations is None:
            raise ValueError("weights or activations are needed")
        return self


class EarlyStopping(_Section):
    """Training ends when a part of the training data, kept apart, no longer gains; the best weights are kept."""

    patience: Annotated[int, Field(ge=1, le=100_000, description="epochs without gain")]
    monitor: Annotated[Literal["loss", "accuracy"], Field(description="on the part kept apart")] = "loss"
    held_out: Annotated[
        float, Field(gt=0, lt=1, allow_inf_nan=False, description="the part of the training data kept apart")
    ] = 0.1


class QuantizeOptions(_Section):
    """How the float model becomes int8. qat trains on with quantization simulated; ptq only calibrates."""

    method: Literal["qat", "ptq"] = "qat"
    epochs: Annotated[int, Field(ge=1, le=100_000, description="of quantization-aware training")] = 10
    batch_size: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1e-4
    learning_rate_decay: Annotated[
        Literal["cosine", "none"], Field(description="of qat's learning rate, over its epochs: half a cosine down to 0")
    ] = "cosine"
    representative_samples: Annotated[
        int, Field(ge=1, le=MAX_SAMPLES, description="at most so many of the representative samples are used")
    ] = 200
    include: Annotated[
        tuple[LayerChoice, ...],
        Field(strict=False, description="layers that qat trains with int8 simulated: names, patterns, classes"),
    ] = ()
    exclude: Annotated[
        tuple[LayerChoice, ...], Field(strict=False, description="layers that qat trains float, calibrated afterwards")
    ] = ()
    quantizers: Annotated[tuple[QuantizerOptions, ...], Field(strict=False)] = ()
    early_stopping: EarlyStopping | None = None
    freeze_ranges_after: Annotated[
        int | None, Field(ge=0, le=100_000, description="epochs of qat, after which ranges of activations are kept")
    ] = None
    freeze_batch_norm_after: Annotated[
        int | None,
        Field(ge=0, le=100_000, description="epochs of qat, after which batch normalization is kept; default: half"),
    ] = None

    @model_validator(mode="after")
    def _layers_are_for_qat(self) -> QuantizeOptions:
        if self.method == "ptq" and (self.include or self.exclude):
            raise ValueError("include and exclude choose layers for qat; ptq quantizes all")
        for name in ("early_stopping", "freeze_ranges_after", "freeze_batch_norm_after"):
            if self.method == "ptq" and getattr(self, name) is not None:
                raise ValueError(f"{name} is for qat; ptq does not train")
        if self.freeze_ranges_after is not None and self.freeze_ranges_after >= self.epochs:
            raise ValueError(f"freeze_ranges_after has to be below epochs, {self.epochs}")
        if self.freeze_batch_norm_after is not None and self.freeze_batch_norm_after > self.epochs:
            raise ValueError(f"freeze_batch_norm_after has to be at most epochs, {self.epochs}, which is never")
        return self


class ConvertOptions(_Section):
    """How the model is written as .tflite: integers throughout, weights of int8 in any case."""

    activations: Annotated[
        Literal["int8", "int16"], Field(description="what layers give; int16: finer, slower, twice the RAM, ptq only")
    ] = "int8"
    io: Annotated[
        Literal["int8", "uint8", "int16", "float32"] | None,
        Field(
            description="type of the model's input and output; float32: quantized at the edges, by the device; "
            "default: that of the activations"
        ),
    ] = None
    per_channel_dense: Annotated[
        bool | None,
        Field(description="a weight scale for each output of Dense; default: unless a target's TFLM library is wrong"),
    ] = None

    @model_validator(mode="after")
    def _io_fits(self) -> ConvertOptions:
        fitting = {"int8": ("int8", "uint8", "float32"), "int16": ("int16", "float32")}[self.activations]
        if self.io is not None and self.io not in fitting:
            raise ValueError(
                f"io: {self.io} with activations of {self.activations}; {' or '.join(fitting)} goes with them"
            )
        return self


class Gate(_Section):
    """What the int8 model has to reach."""

    max_drop: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="float accuracy - the quantized model's, as a fraction"),
    ]


class Target(_Section):
    """A board and the runtime it runs the model with."""

    board: Annotated[BoardName, Field(description="its id, or a board file of your own (.toml)")]
    runtime: Annotated[
        Literal["aot", "tflm", "edgetpu"], Field(description="default: aot, and edgetpu for a board with an Edge TPU")
    ] = "aot"


class TflmOptions(_Section):
    """Of the tflm runtime."""

    library: Annotated[
        TflmLibrary | None,
        Field(description="a folder that is ready for PlatformIO, or an entry of lib_deps; default: the framework's"),
    ] = None


class EdgeTpuSection(_Section):
    """Of the edgetpu runtime: where the bundle runs, how the model is compiled, what is asked of the answers."""

    host: Annotated[
        str | None, Field(max_length=300, description="as ssh takes it, user@board; default: this computer")
    ] = None
    port: Annotated[int | None, Field(ge=1, le=65535, description="of ssh")] = None
    folder: Annotated[str, Field(max_length=300, description="on the board, in its home")] = "tensorflash"
    python: Annotated[str, Field(max_length=300, description="on the board")] = "python3"
    device: Annotated[
        Literal["auto", "edgetpu", "cpu"], Field(description="auto: the CPU where there is no Edge TPU")
    ] = "auto"
    segments: Annotated[int, Field(ge=1, le=16, description="for as many Edge TPUs")] = 1
    min_runtime_version: Annotated[int | None, Field(ge=10, le=14, description="the oldest runtime to run it")] = None
    timeout_s: Annotated[int, Field(ge=1, le=86_400, description="of one attempt of the compiler")] = 180
    lsb: Annotated[
        int, Field(ge=0, le=255, description="output codes may differ by so much, before a final SOFTMAX or LOGISTIC")
    ] = 2
    within_lsb: Annotated[float, Field(ge=0, le=1, description="the part of all codes that has to keep to it")] = 0.95
    top1_agreement: Annotated[float, Field(ge=0, le=1, description="the part of samples with the host's top class")] = (
        0.98
    )
    accuracy_drop: Annotated[float, Field(ge=0, le=1, description="below the host's on the test set")] = 0.01


class VerifyOptions(_Section):
    """What is compared on every target."""

    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES, description="synthetic inputs")] = 100
    layer_samples: Annotated[
        int, Field(ge=1, le=MAX_SAMPLES, description="samples on which every layer is compared")
    ] = 10
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    test_set: Annotated[bool, Field(description="also run the whole test set on the device")] = True


class Recipe(_Section):
    """A request: a model, data, quantization, and the boards to prove it on."""

    name: Name
    model: ModelSource
    data: DataSource | None = None
    input: InputOptions | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="of training; equal seeds give equal bytes")] = 0
    threads: Annotated[
        int, Field(ge=1, le=1024, description="TensorFlow trains with; another number gives another model")
    ] = 1
    train: TrainOptions | None = None
    quantize: QuantizeOptions | None = None
    convert: ConvertOptions | None = None
    gate: Gate | None = None
    targets: Annotated[tuple[Target, ...], Field(strict=False, json_schema_extra={"minItems": 1})]
    verify: VerifyOptions = VerifyOptions()
    edgetpu: EdgeTpuSection = EdgeTpuSection()
    tflm: TflmOptions = TflmOptions()
    labels: Annotated[tuple[str, ...], Field(strict=False, description="names of the classes, in order")] = ()

    _source: Path = PrivateAttr(default=Path())

    @property
    def source(self) -> Path:
        """The file it was read from."""
        return self._source

    @property
    def quantization(self) -> QuantizeOptions:
        """The quantize section, or its defaults."""
        return self.quantize or QuantizeOptions()

    @property
    def activations(self) -> str:
        """Type of what layers give: int8 or int16."""
        return (self.convert or ConvertOptions()).activations

    @property
    def contract(self) -> Contract | None:
        """What the input section says, if there is one."""
        return None if self.input is None else self.input.contract

    @field_validator("targets")
    @classmethod
    def _targets_differ(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if not targets:
            raise ValueError("at least one is needed, such as {board: native}")
        for index, target in enumerate(targets):
            if target in targets[:index]:
                raise ValueError(f"{target.board} with {target.runtime} is there twice")
        return targets

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        if self.model.tflite is None:
            if self.data is None:
                raise ValueError("a Keras model needs a data section: it is trained, calibrated and tested with it")
        else:
            for section in ("train", "quantize", "convert", "gate"):
                if getattr(self, section) is not None:
                    raise ValueError(f"a {section} section goes with a Keras model; {self.model.tflite.name} is int8")
        if self.activations == "int16" and (self.quantization.method == "qat" or self.quantization.quantizers):
            found = "quantizers" if self.quantization.quantizers else "the method qat"
            raise ValueError(
                f"activations of int16 with {found}: tensorflow-model-optimization simulates int8 alone; "
                "`quantize: {method: ptq}`, without quantizers, goes with int16"
            )
        return self


def load(path: Path) -> Recipe:
    """Read a recipe. Paths in it are relative to its folder.

    Raises:  RecipeError: with file and line of every mistake.
    """
    text = _text(path)
    try:
        loader = _PlainLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise RecipeError(f"{path}: the file is empty.", hint=_START_HINT)
        if not isinstance(root, yaml.MappingNode):
            raise RecipeError(f"{path}:1: {_KINDS[type(root)]} where keys and values were expected.", hint=_START_HINT)
        lines: dict[tuple[str | int, ...], int] = {}
        document = _plain(loader, root, (), lines)
    except _PlainError as error:
        raise RecipeError(f"{path}:{error.line}: {error}", hint=error.hint) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        hint = "indent with spaces." if "\\t" in str(error.problem) else None
        raise RecipeError(f"{path}:{line}: not valid YAML: {error.problem or error.context}.", hint=hint) from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {str(error).splitlines()[0]}.") from None
    except RecursionError:
        raise RecipeError(f"{path}: nested too deeply for a recipe.") from None
    try:
        recipe = Recipe.model_validate(document, context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise _explained(path, error.errors(include_url=False), lines) from None
    recipe._source = path.absolute()
    return recipe


_START_HINT = "start from examples/digits/recipe.yaml."
_KINDS: dict[type[yaml.Node], str] = {
    yaml.ScalarNode: "text",
    yaml.SequenceNode: "a list",
    yaml.MappingNode: "a mapping",
}


def _text(path: Path) -> str:
    if path.suffix in (".tflite", ".keras", ".h5"):
        raise RecipeError(
            f"{path}: a model; a recipe is a YAML file that names one.",
            hint="`tensorflash verify` takes a .tflite file; docs/recipe.md says what a recipe holds.",
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file.", hint="give the path of a recipe.yaml.") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: a folder; a recipe file is needed.", hint=f"{path / 'recipe.yaml'}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise RecipeError(f"{path}: more than {MAX_FILE_BYTES:,} bytes; this is not a recipe.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RecipeError(f"{path}:{line}: not UTF-8 text.", hint="save the file as UTF-8.") from None


class _PlainError(Exception):
    def __init__(self, node_or_event: Any, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.line: int = node_or_event.start_mark.line + 1
        self.hint = hint


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: nothing in the file stands for more than it says."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _PlainError(event, f"alias *{event.anchor}: recipes have no aliases.", "write the value out.")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def _plain(
    loader: _PlainLoader, node: yaml.Node, where: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> Any:
    """The value of a node; notes the line of everything in it."""
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        if node.tag != "tag:yaml.org,2002:map":
            raise _PlainError(node, f"tag {node.tag}: recipes have no tags.")
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _PlainError(key_node, f"{_KINDS[type(key_node)]} as a key; a name is needed.")
            key = key_node.value
            if key in mapping:
                first = lines[(*where, key)]
                raise _PlainError(key_node, f"{_name((*where, key))} is there twice, first on line {first}.")
            lines[(*where, key)] = key_node.start_mark.line + 1
            mapping[key] = _plain(loader, value_node, (*where, key), lines)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        if node.tag != "tag:yaml.org,2002:seq":
            raise _PlainError(node, f"tag {node.tag}: recipes have no tags.")
        return [_plain(loader, child, (*where, i), lines) for i, child in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:str":
        if isinstance(node, yaml.ScalarNode) and node.style is None and _FLOAT.fullmatch(node.value):
            return float(node.value)
        return node.value
    if node.tag.removeprefix("tag:yaml.org,2002:") not in ("null", "bool", "int", "float"):
        raise _PlainError(node, f"{node.value!r} is not text, a number or a truth value ({node.tag}).", "quote it.")
    try:
        return loader.construct_object(node)
    except ValueError:
        raise _PlainError(node, f"{node.value[:40]!r} cannot be read as a number.", "quote it.") from None


def _explained(path: Path, errors: list[ErrorDetails], lines: Mapping[tuple[str | int, ...], int]) -> RecipeError:
    messages, hints = [], []
    for error in sorted(errors, key=lambda error: _line(error["loc"], lines)):
        where = error["loc"]
        text = f"{path}:{_line(where, lines)}: "
        if error["type"] == "extra_forbidden":
            known = _keys(where[:-1])
            text += f"{_name(where[:-1])} has no key {where[-1]!r}; it has {', '.join(known)}."
            near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.6)
            hints += [f"{near[0]!r} instead of {where[-1]!r}."] if near else []
        elif error["type"] == "missing":
            text += f"{_name(where[:-1])} has no {where[-1]!r}, which is needed."
            hints.append("docs/recipe.md says what a recipe holds.")
        elif error["type"] == "model_type":
            keys = ", ".join(_keys(where))
            text += f"{_name(where)} is {_short(error['input'])}: a section is needed; it has {keys}."
        else:
            reason = _PATTERNS.get(error.get("ctx", {}).get("pattern", ""), error["msg"])
            reason = reason.removeprefix("Value error, ").removeprefix("Input ")
            found = "" if isinstance(error["input"], dict | BaseModel) else f" is {_short(error['input'])}"
            text += f"{_name(where)}{found}: {reason[0].lower()}{reason[1:]}."
        messages.append(text)
    return RecipeError("\n".join(messages), hint=" ".join(dict.fromkeys(hints)) or None)


def _line(where: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]) -> int:
    while where not in lines:
        where = where[:-1]
    return lines[where]


def _name(where: tuple[str | int, ...]) -> str:
    """model.factory, targets[1].board; the recipe for the whole."""
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return name.lstrip(".") or "the recipe"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys(where: tuple[str | int, ...]) -> list[str]:
    """The keys that the section at `where` can have."""
    sections: dict[tuple[str, ...], type[BaseModel]] = {
        (): Recipe,
        ("model",): ModelSource,
        ("data",): DataSource,
        ("input",): InputOptions,
        ("train",): TrainOptions,
        ("train", "phases"): Phase,
        ("quantize",): QuantizeOptions,
        ("quantize", "early_stopping"): EarlyStopping,
        ("quantize", "quantizers"): QuantizerOptions,
        ("quantize", "quantizers", "weights"): WeightOptions,
        ("quantize", "quantizers", "activations"): ActivationOptions,
        ("convert",): ConvertOptions,
        ("gate",): Gate,
        ("targets",): Target,
        ("verify",): VerifyOptions,
        ("edgetpu",): EdgeTpuSection,
        ("tflm",): TflmOptions,
    }
    return list(sections[tuple(part for part in where if isinstance(part, str))].model_fields)
