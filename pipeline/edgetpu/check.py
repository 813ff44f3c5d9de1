"""A .tflite file becomes a prediction: which of its ops the Edge TPU compiler will map, and why not the others.

The compiler makes one partition. It takes the ops in order, in alternating rounds: all that can be computed on the CPU,
or all that can be mapped, from what the rounds before have left ready. The first round of mapped ops is the
Edge TPU's part; a supported op outside of it is stranded behind one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import tflite
from pipeline.edgetpu import rules
from pipeline.edgetpu.rules import CUSTOM_OP, Judgement, OpFacts, Rules
from pipeline.errors import ModelError
from pipeline.tflite import Graph

# On-chip memory for parameters. 7.5 to 7.7 MiB were seen to be left in small models; large activations take their part
# of the 8 MiB: published logs show 6.7 to 7.2 MiB where parameters had to be streamed, and 1.9 MiB once.
ON_CHIP_BYTES = 7 * 1024 * 1024 + 512 * 1024
ON_CHIP_BYTES_LOW = 6 * 1024 * 1024 + 512 * 1024

# Ops with a filter: the place of its output channels in the filter's shape.
_WEIGHTED = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}


@dataclass(frozen=True)
class OpVerdict:
    """Where one op will run. reason is in the compiler's words; blocker: it is not mapped for its own sake.

    fix is "" for an op on the Edge TPU. behind: the first blocker, by index, that a stranded op waits for.
    """

    index: int
    op: str
    version: int
    target: str  # "edgetpu" or "cpu"
    reason: str
    blocker: bool
    certain: bool
    fix: str
    behind: int | None = None


@dataclass(frozen=True)
class Prediction:
    """What compiling will give. problems: what will end the compilation, a sentence each."""

    path: Path
    sha256: str
    runtime_version: int
    ops: tuple[OpVerdict, ...]
    parameter_bytes: int
    on_chip_bytes: int
    problems: tuple[str, ...]
    cuts: tuple[str, ...]

    @property
    def on_edgetpu(self) -> int:
        return sum(op.target == "edgetpu" for op in self.ops)

    @property
    def on_cpu(self) -> int:
        return len(self.ops) - self.on_edgetpu

    @property
    def fits_on_chip(self) -> bool:
        return self.on_chip_bytes <= ON_CHIP_BYTES

    @property
    def compiles(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The object that `tensorflash edgetpu check --json` prints."""
        return {
            "model": {"path": str(self.path), "sha256": self.sha256},
            "compiler": rules.load().compiler,
            "runtime_version": self.runtime_version,
            "compiles": self.compiles,
            "problems": list(self.problems),
            "on_edgetpu": self.on_edgetpu,
            "on_cpu": self.on_cpu,
            "estimated_parameter_bytes": self.parameter_bytes,
            "estimated_on_chip_bytes": self.on_chip_bytes,
            "fits_on_chip": self.fits_on_chip,
            "fits_on_chip_certain": not ON_CHIP_BYTES_LOW < self.on_chip_bytes <= ON_CHIP_BYTES * 1.05,
            "cut_tensors": list(self.cuts),
            "ops": [
                {
                    "index": op.index,
                    "op": op.op,
                    "version": op.version,
                    "target": op.target,
                    "reason": op.reason,
                    "blocker": op.blocker,
                    "certain": op.certain,
                    "fix": op.fix or None,
                    "behind": op.behind,
                }
                for op in self.ops
            ],
        }


def check_model(model: Path, runtime_version: int = 14) -> Prediction:
    """Predict what the compiler will make of a .tflite file.

    Raises:  ModelError: it cannot be read, or is compiled for the Edge TPU already.
    """
    return check_graph(tflite.read(model), runtime_version)


def check_graph(graph: Graph, runtime_version: int = 14) -> Prediction:
    """As check_model, for a graph that was read."""
    ops = rules.facts(graph)
    if any(op.custom_code == CUSTOM_OP for op in ops):
        raise ModelError(
            f"{graph.path}: it is compiled for the Edge TPU already.",
            hint="`tensorflash edgetpu inspect` reads it; check the .tflite file it was made from.",
        )
    verdicts = predict(ops, runtime_version)
    mapped = [op for op, verdict in zip(ops, verdicts, strict=True) if verdict.target == "edgetpu"]
    return Prediction(
        path=graph.path,
        sha256=graph.sha256,
        runtime_version=runtime_version,
        ops=verdicts,
        parameter_bytes=parameter_bytes(mapped),
        on_chip_bytes=on_chip_bytes(mapped),
        problems=_problems(graph, ops),
        cuts=_cuts(graph, ops, verdicts),
    )


def predict(ops: Sequence[OpFacts], runtime_version: int = 14, known: Rules | None = None) -> tuple[OpVerdict, ...]:
    """Say of each op where it will run. Ops are in the order of the file, which is one they can be computed in."""
    known = known or rules.load()
    judged = [rules.judge(op, runtime_version, known) for op in ops]
    part = _first_part(ops, judged)
    blockers = _blockers(ops, judged, part)
    verdicts = []
    for op, judgement in zip(ops, judged, strict=True):
        mapped, behind = op.index in part, None
        reason, fix, certain = judgement.reason, judgement.fix, judgement.certain
        before = blockers[op.index]
        if judgement.mapped and not mapped:
            reason, fix, behind = known.words["subgraph"], known.fixes["subgraph"], min(before, default=None)
            # One blocker that is sure is enough to strand it.
            certain = any(judged_by.certain for judged_by in before.values())
        elif mapped:
            # An op that is mapped has only mapped ones, or the first round on the CPU, before it.
            certain = certain and all(judged_by.certain for judged_by in before.values())
        verdicts.append(
            OpVerdict(
                index=op.index,
                op=op.custom_code or op.op,
                version=op.version,
                target="edgetpu" if mapped else "cpu",
                reason=reason,
                blocker=not judgement.mapped,
                certain=certain,
                fix=fix,
                behind=behind,
            )
        )
    return tuple(verdicts)


def _first_part(ops: Sequence[OpFacts], judged: Sequence[Judgement]) -> set[int]:
    """The ops of the first round that is mapped."""
    made_by = {t.identity: place for place, op in enumerate(ops) for t in op.outputs}
    sources = [{made_by[t.identity] for t in op.inputs if t.identity in made_by} for op in ops]
    done: set[int] = set()
    while len(done) < len(ops):
        before = len(done)
        turn: list[int] = []
        mapped: bool | None = None
        # The order of the file is one they can be computed in, so one walk finds the whole round.
        for place in range(len(ops)):
            if place in done or not sources[place] <= done:
                continue
            mapped = judged[place].mapped if mapped is None else mapped
            if judged[place].mapped is mapped:
                turn.append(place)
                done.add(place)
        if mapped:
            return {ops[place].index for place in turn}
        if len(done) == before:
            raise ValueError("the ops are not in an order they can be computed in")
    return set()


def _blockers(
    ops: Sequence[OpFacts], judged: Sequence[Judgement], part: set[int]
) -> Mapping[int, Mapping[int, Judgement]]:
    """For each op those before it, however far, that decide its fate: at most the four nearest of either kind.

    Ops that are unsure to be mapped count too: were one left on the CPU, what follows would be stranded.
    """
    found: dict[int, dict[int, Judgement]] = {}
    made_by = {t.identity: op for op in ops for t in op.outputs}
    for op, judgement in zip(ops, judged, strict=True):
        before: dict[int, Judgement] = {}
        for tensor in op.inputs:
            source = made_by.get(tensor.identity)
            if source is not None and source.index != op.index:
                before.update(found[source.index])
                own = judged[source.index] if source.index < len(judged) else None
                if own is not None and ((not own.mapped) or (not own.certain and source.index in part)):
                    before[source.index] = own
        if op.index in part:  # what was left of the first round on the CPU does not strand it
            before = {i: j for i, j in before.items() if j.mapped}
        elif judgement.mapped:
            before = {i: j for i, j in before.items() if not j.mapped} or before
        kept = sorted(before, key=lambda i: (not before[i].certain, i))[:4]
        found[op.index] = {i: before[i] for i in kept}
    return found


def parameter_bytes(mapped: Sequence[OpFacts]) -> int:
    """Estimate the parameter bytes in a package: those that a device caches or is sent.

    For each output channel its weights and 8 bytes, in 4 times the space where the filter is depthwise; below 64
    channels they are padded to a multiple of 16, above to one of 64. Of 53 compiled models with more than 300 kB all
    are within 8 %. What an LSTM takes is not known, and left out.
    """
    return sum(_padded(channels, 64 if channels >= 64 else 16) * each for channels, each, _ in _filters(mapped))


def on_chip_bytes(mapped: Sequence[OpFacts]) -> int:
    """Estimate what the same parameters take of the chip's memory: 64 output channels at a time, depthwise as above.

    Three models whose compiler logs tell it are within 3 %.
    """
    return sum(
        _padded(channels, 16 if depthwise and channels < 64 else 64) * each
        for channels, each, depthwise in _filters(mapped)
    )


def _filters(mapped: Sequence[OpFacts]) -> Iterator[tuple[int, int, bool]]:
    """Of each filter the output channels, the bytes that one takes, and whether it is depthwise."""
    for op in mapped:
        if op.op in _WEIGHTED and len(op.inputs) > 1:
            tensor, axis, depthwise = op.inputs[1], _WEIGHTED[op.op], op.op == "DEPTHWISE_CONV_2D"
            if axis < len(tensor.shape) and tensor.shape[axis]:
                yield tensor.shape[axis], tensor.elements // tensor.shape[axis] * (4 if depthwise else 1) + 8, depthwise


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _problems(graph: Graph, ops: Sequence[OpFacts]) -> tuple[str, ...]:
    """What will end the compilation, in the compiler's words first."""
    found = []
    if not any(t.dtype in ("int8", "uint8") for op in ops for t in op.outputs):
        found.append("Model not quantized: no op computes 8-bit values. Convert with full integer quantization.")
    newer: dict[tuple[str, int, int], list[int]] = {}
    for op in ops:
        known = rules.known_to_parse(op)
        if known is not None and op.version > known:
            newer.setdefault((op.op, op.version, known), []).append(op.index)
    for (name, version, known), places in newer.items():
        found.append(
            f"Didn't find op for builtin opcode '{name}' version '{version}' (ops {_places(places)}): newer than the "
            f"compiler, which knows up to {known}."
        )
    shapes = [op.index for op in ops if op.op == "SHAPE"]
    if shapes:
        found.append(
            f"Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized "
            f"tensors (ops {_places(shapes)} ask for a shape): a static batch of 1 is needed."
        )
    if graph.subgraphs > 1:
        found.append(f"{graph.subgraphs} subgraphs: control flow (IF, WHILE) cannot be compiled.")
    return tuple(found)


def _places(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return shown if len(indices) <= 5 else f"{shown} and {len(indices) - 5} more"


def _cuts(graph: Graph, ops: Sequence[OpFacts], verdicts: Sequence[OpVerdict]) -> tuple[str, ...]:
    """The tensors at which the Edge TPU's part ends: what the compiler's -i takes to end it there on purpose."""
    if all(v.target == "edgetpu" for v in verdicts):
        return ()
    part = {v.index for v in verdicts if v.target == "edgetpu"}
    made = {t.identity for op in ops if op.index in part for t in op.outputs}
    read_outside = {t.identity for op in ops if op.index not in part for t in op.inputs}
    ends = sorted(made & (read_outside | set(graph.outputs)))
    return tuple(graph.tensor(index).name for index in ends)
