"""What the Edge TPU compiler maps: the rules are data (rules.toml), here is what their words mean.

An op is judged by itself first: by its tensors, options and version. What becomes of an op that could be mapped but
lies behind one that cannot is the business of pipeline.edgetpu.check.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.tflite import Graph, Op

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RUNTIME_VERSIONS = (13, 14)
"""Those that `-m` of the compiler is used with today; the compiler itself is 14's."""

CUSTOM_OP = "edgetpu-custom-op"


@dataclass(frozen=True)
class TensorFacts:
    """What the rules ask of a tensor. values: of small integer constants, flat; zeros: a constant of zeros only.

    identity tells tensors of one model apart. scale is 0.0 where it is not known or there is none.
    """

    identity: int
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    values: tuple[int, ...] | None = None
    zeros: bool | None = None
    scale: float = 0.0

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class OpFacts:
    """What the rules ask of an op: no names, neither the model's nor a tensor's. Absent inputs are left out.

    options is None where they are not known.
    """

    index: int
    op: str
    version: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    options: Mapping[str, Any] | None = None
    custom_code: str = ""

    @property
    def data(self) -> TensorFacts | None:
        """The first input that is computed, which is where data comes in."""
        return next((t for t in self.inputs if not t.constant), None)

    @property
    def largest(self) -> int:
        """Elements of the largest tensor that is computed."""
        return max((t.elements for t in (*self.inputs, *self.outputs) if not t.constant), default=0)


@dataclass(frozen=True)
class Judgement:
    """Whether an op by itself can be mapped. reason is the compiler's word for it; fix is "" where it is mapped."""

    mapped: bool
    reason: str
    certain: bool
    fix: str = ""


@dataclass(frozen=True)
class Limit:
    """Conditions that all have to hold to keep an op on the CPU; evidence: sources it would not be known without."""

    reason: str
    when: Mapping[str, Any]
    source: str
    fix: str = ""
    certain: bool = True
    unless_op: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpRule:
    """What is known of one op that the Edge TPU has."""

    runtime: int
    runtime_certain: bool
    versions: Mapping[str, int]
    needs: tuple[Mapping[str, Any], ...]
    newest: int | None
    parses: int
    seen_versions: tuple[int, ...]
    seen_elements: int
    limits: tuple[Limit, ...]
    source: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """All of rules.toml."""

    compiler: str
    words: Mapping[str, str]
    fixes: Mapping[str, str]
    everywhere: tuple[Limit, ...]
    ops: Mapping[str, OpRule]
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@cache
def load() -> Rules:
    """The rules that come with tensorflash.  Raises:  ValueError: a mistake in rules.toml."""
    return parse(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Rules:
    """Rules from TOML, checked."""
    data = tomllib.loads(text)
    rules = Rules(
        compiler=data["compiler"],
        words=data["words"],
        fixes=data["fixes"],
        everywhere=tuple(_limit(entry) for entry in data["everywhere"]),
        ops={name: _op_rule(entry) for name, entry in data["ops"].items()},
        others=data["others"],
    )
    for limit in (*rules.everywhere, *(limit for rule in rules.ops.values() for limit in rule.limits)):
        unknown = set(limit.when) - set(CONDITIONS)
        if unknown or limit.reason not in rules.words or not limit.source:
            raise ValueError(f"rules.toml: {limit}: {sorted(unknown) or 'no such reason, or no source'}")
    for name, rule in rules.ops.items():
        for need in rule.needs:
            if unknown := set(need) - set(CONDITIONS) - {"version"}:
                raise ValueError(f"rules.toml: {name}: needs: {sorted(unknown)}")
    return rules


def _limit(entry: Mapping[str, Any]) -> Limit:
    return Limit(
        reason=entry["reason"],
        when=entry["when"],
        source=entry["source"],
        fix=entry.get("fix", ""),
        certain=entry.get("certain", True),
        unless_op=tuple(entry.get("except", ())),
        evidence=tuple(entry.get("evidence", ())),
    )


def _op_rule(entry: Mapping[str, Any]) -> OpRule:
    return OpRule(
        runtime=entry["runtime"],
        runtime_certain=entry.get("runtime_certain", True),
        versions=entry["versions"],
        needs=tuple(entry.get("needs", ())),
        newest=entry.get("newest"),
        parses=entry["parses"],
        seen_versions=tuple(entry["seen"]["versions"]),
        seen_elements=entry["seen"]["elements"],
        limits=tuple(_limit(limit) for limit in entry.get("limits", ())),
        source=entry["source"],
        evidence=tuple(entry.get("evidence", ())),
    )


def judge(op: OpFacts, runtime_version: int, rules: Rules | None = None) -> Judgement:
    """Say whether an op by itself can be mapped for a runtime version, and why not."""
    rules = rules or load()
    rule = rules.ops.get(op.op)
    certain = True
    for limit in rules.everywhere:
        if op.op not in limit.unless_op and (holds := _holds(op, limit.when, runtime_version)) is not False:
            if holds:
                fix = rules.others.get(op.op, {}).get("fix") or limit.fix or rules.fixes[limit.reason]
                return Judgement(False, rules.words[limit.reason], limit.certain, fix)
            certain = op.options is None
    if rule is None:
        fix = rules.others.get(op.op, {}).get("fix") or rules.fixes["unsupported"]
        return Judgement(False, rules.words["unsupported"], True, fix)
    if runtime_version < rule.runtime:
        if rule.runtime_certain:
            fix = f"runtime version {rule.runtime} or newer on the device"
            return Judgement(False, rules.words["unsupported"], True, fix)
        certain = False
    newest = rule.parses if rule.newest is None else min(rule.newest, rule.parses)
    if op.version > newest:
        return Judgement(False, rules.words["version"], op.version >= rule.parses or bool(rule.evidence), _lower(op))
    for limit in rule.limits:
        holds = _holds(op, limit.when, runtime_version)
        if holds:
            return Judgement(False, rules.words[limit.reason], limit.certain, limit.fix or rules.fixes[limit.reason])
        # Where no options are known at all, unusual ones are not held against an op.
        certain = certain and (holds is False or op.options is None)
    data = op.data or (op.outputs[0] if op.outputs else None)
    usual = op.version <= rule.versions.get(data.dtype if data else "", 0)
    known = bool(rule.seen_versions) and (usual or op.version in rule.seen_versions)
    return Judgement(True, rules.words["mapped"], certain and known and op.largest <= rule.seen_elements)


def _lower(op: OpFacts) -> str:
    needed = needed_version(op)
    rules = load()
    if needed is not None and needed < op.version:
        return f"version {needed} is enough for it: tensorflash edgetpu fix"
    return rules.fixes["version"]


def needed_version(op: OpFacts, rules: Rules | None = None) -> int | None:
    """The lowest version that says all this op needs; None where that is not known.

    Source: tensorflow/lite/tools/versioning/op_version.cc, for 8-bit data.
    """
    rule = (rules or load()).ops.get(op.op)
    data = op.data
    if rule is None or data is None or op.options is None:
        return None
    for need in rule.needs:
        conditions = {key: value for key, value in need.items() if key != "version"}
        holds = _holds(op, conditions, max(RUNTIME_VERSIONS))
        if holds is None:
            return None
        if holds:
            return int(need["version"])
    return rule.versions.get(data.dtype)


def known_to_parse(op: OpFacts, rules: Rules | None = None) -> int | None:
    """The newest version of an op that the compiler's own interpreter knows; None where that is not known."""
    rules = rules or load()
    if op.op in rules.ops:
        return rules.ops[op.op].parses
    parses = rules.others.get(op.op, {}).get("parses")
    return None if parses is None else int(parses)


def facts(graph: Graph) -> tuple[OpFacts, ...]:
    """What the rules ask of each op of a graph."""
    return tuple(_op_facts(graph, op) for op in graph.ops)


def _op_facts(graph: Graph, op: Op) -> OpFacts:
    def tensor(index: int) -> TensorFacts:
        t = graph.tensor(index)
        small = t.data is not None and t.data.dtype.kind in "iu" and t.data.size <= 64
        return TensorFacts(
            identity=index,
            shape=t.shape,
            dtype=t.dtype,
            constant=t.is_constant,
            values=tuple(int(v) for v in t.data.reshape(-1)) if small and t.data is not None else None,
            zeros=None if t.data is None else bool((t.data == t.zero_point).all()),
            scale=t.scale,
        )

    return OpFacts(
        index=op.index,
        op=op.name,
        version=op.version,
        inputs=tuple(tensor(i) for i in op.inputs if i >= 0),
        outputs=tuple(tensor(i) for i in op.outputs),
        options=op.options,
        custom_code=op.custom_code,
    )


def _holds(op: OpFacts, when: Mapping[str, Any], runtime_version: int) -> bool | None:
    """Whether all conditions hold; None where that cannot be known."""
    unknown = False
    for name, wanted in when.items():
        found = runtime_version < wanted if name == "runtime_under" else CONDITIONS[name](op, wanted)
        if found is False:
            return False
        unknown = unknown or found is None
    return None if unknown else True


# The conditions. Each is given an op and the value from rules.toml; True, False, or None: it cannot be known.


def _computed(op: OpFacts) -> list[TensorFacts]:
    return [t for t in (*op.inputs, *op.outputs) if not t.constant]


def _option(op: OpFacts, wanted: Mapping[str, Any]) -> bool | None:
    if op.options is None:
        return None
    return all(op.options.get(name, type(value)()) == value for name, value in wanted.items())


def _option_not(op: OpFacts, wanted: Mapping[str, Any]) -> bool | None:
    if op.options is None:
        return None
    return any(op.options.get(name, value) != value for name, value in wanted.items())


def _dilations(op: OpFacts) -> tuple[int, int] | None:
    if op.options is None:
        return None
    return op.options.get("dilation_hfactor", 1), op.options.get("dilation_wfactor", 1)


def _axes(op: OpFacts) -> set[int] | None:
    """The dimensions a reduction takes away."""
    if len(op.inputs) < 2 or op.inputs[1].values is None:
        return None
    rank = len(op.inputs[0].shape)
    return {axis + rank if axis < 0 else axis for axis in op.inputs[1].values}


def _reduced(op: OpFacts) -> int | None:
    axes = _axes(op)
    if axes is not None:
        return math.prod(size for i, size in enumerate(op.inputs[0].shape) if i in axes)
    if op.inputs and op.outputs and op.outputs[0].elements:  # how many elements become one
        return op.inputs[0].elements // op.outputs[0].elements
    return None


def _enlarges(op: OpFacts) -> float | None:
    if not op.inputs or not op.outputs or len(op.inputs[0].shape) != 4 or len(op.outputs[0].shape) != 4:
        return None
    before, after = op.inputs[0].shape[1:3], op.outputs[0].shape[1:3]
    return max((a / b for a, b in zip(after, before, strict=True) if b), default=None)


def _grouped(op: OpFacts) -> bool | None:
    if len(op.inputs) < 2 or len(op.inputs[0].shape) != 4 or len(op.inputs[1].shape) != 4:
        return None
    return op.inputs[0].shape[3] != op.inputs[1].shape[3]


def _rescale(op: OpFacts, least: float) -> bool | None:
    scales = [t.scale for t in (*op.inputs[:2], *op.outputs[:1])]
    if len(scales) != 3 or not all(scales):
        return None
    return scales[0] * scales[1] / scales[2] >= least


def _pads_channels(op: OpFacts) -> bool | None:
    if len(op.inputs) < 2 or not op.outputs:
        return None
    return op.inputs[0].shape[-1:] != op.outputs[0].shape[-1:]


def _splits_batch(op: OpFacts) -> bool | None:
    data = op.data
    if data is None or not data.shape or not op.outputs or not op.outputs[0].shape:
        return None
    return data.shape[0] != op.outputs[0].shape[0]


def _squeezes_inner(op: OpFacts) -> bool | None:
    if op.data is None or not op.outputs:
        return None
    shape, rank = op.data.shape, len(op.outputs[0].shape)
    return shape[len(shape) - rank :] != op.outputs[0].shape


def _strides(op: OpFacts) -> bool | None:
    if len(op.inputs) < 4 or op.inputs[3].values is None:
        return None
    return any(stride != 1 for stride in op.inputs[3].values)


def _constant_not_zero(op: OpFacts) -> bool | None:
    known = [t.zeros for t in op.inputs if t.constant]
    return None if None in known else not all(known)


def _among(flags: set[int] | None, wanted: int) -> bool | None:
    return None if flags is None else wanted in flags


def _over(found: float | None, limit: float) -> bool | None:
    return None if found is None else found > limit


def _rows(shape: tuple[int, ...]) -> int:
    return math.prod(shape[:-1])


CONDITIONS: Mapping[str, Callable[[OpFacts, Any], bool | None]] = {
    # The compilation is for a runtime older than this (decided by _holds).
    "runtime_under": lambda op, version: None,
    # A computed tensor has one of these types; has another than these.
    "types_any": lambda op, types: any(t.dtype in types for t in (*op.inputs[:2], *op.outputs) if not t.values),
    "types_not": lambda op, types: any(t.dtype not in types for t in _computed(op)),
    # A constant is of a floating-point type.
    "constant_float": lambda op, _: any(t.constant and t.dtype.startswith("float") for t in op.inputs),
    # A computed tensor has a size over 1 in another than its last three dimensions; in its first of four or more.
    "outer_dimensions": lambda op, _: any(math.prod(t.shape[:-3]) > 1 for t in _computed(op)),
    "batch_over_one": lambda op, _: any(len(t.shape) > 3 and t.shape[0] > 1 for t in op.outputs),
    "rank_over": lambda op, rank: any(len(t.shape) > rank for t in op.inputs),
    # The inputs have different shapes.
    "broadcast": lambda op, _: len({t.shape for t in op.inputs[:2]}) > 1,
    # The input at this place is not a constant.
    "computed_input": lambda op, place: len(op.inputs) > place and not op.inputs[place].constant,
    "any_constant": lambda op, _: any(t.constant for t in op.inputs),
    "constant_not_zero": lambda op, _: _constant_not_zero(op),
    "inputs_over": lambda op, count: len(op.inputs) > count,
    "inputs_under": lambda op, count: len(op.inputs) < count,
    # Options of the schema: all have these values; one has another.
    "option": _option,
    "option_not": _option_not,
    "dilated": lambda op, _: None if _dilations(op) is None else _dilations(op) != (1, 1),
    "dilations_differ": lambda op, _: None if (d := _dilations(op)) is None else d[0] != d[1],
    # Height and width of the filter are both larger than this.
    "filter_sides_over": lambda op, size: len(op.inputs) > 1 and min(op.inputs[1].shape[1:3], default=0) > size,
    # The filter has fewer input channels than the input.
    "grouped": lambda op, _: _grouped(op),
    # Input scale * input scale / output scale of a multiplication.
    "rescale_at_least": _rescale,
    # Elements of the largest computed tensor; vectors in the output (elements but for the last dimension); how many
    # dimensions of an output are larger than 1; the last dimension changes.
    "elements_over": lambda op, count: op.largest > count,
    "rows_over": lambda op, count: any(_rows(t.shape) > count for t in op.outputs),
    "alpha_rows_over": lambda op, count: len(op.inputs) > 1 and _rows(op.inputs[1].shape) > count,
    "output_dimensions_over": lambda op, count: any(sum(size > 1 for size in t.shape) > count for t in op.outputs),
    "moves_channels": lambda op, _: bool(
        op.inputs and op.outputs and op.inputs[0].shape[-1:] != op.outputs[0].shape[-1:]
    ),
    # Reductions.
    "reduces_batch": lambda op, _: None if (axes := _axes(op)) is None else 0 in axes and op.inputs[0].shape[0] > 1,
    "reduces_channels": lambda op, _: _among(_axes(op), len(op.inputs[0].shape) - 1),
    "reduced_elements_over": lambda op, count: _over(_reduced(op), count),
    "channels_not_multiple_of": lambda op, n: bool(op.inputs) and op.inputs[0].shape[-1:] != () and (
        op.inputs[0].shape[-1] % n != 0
    ),
    # A resize makes height or width larger by more than this factor.
    "enlarges_over": lambda op, factor: _over(_enlarges(op), factor),
    "pads_channels": lambda op, _: _pads_channels(op),
    "splits_batch": lambda op, _: _splits_batch(op),
    "squeezes_inner": lambda op, _: _squeezes_inner(op),
    "strides_not_one": lambda op, _: _strides(op),
}  # fmt: skip
