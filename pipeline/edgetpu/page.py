"""What the report page shows of an Edge TPU: the mapping as a picture of the graph, memory, fixes, the device test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

ON_CHIP_BYTES = 8 << 20  # of the chip, for parameters and all else; what is left for parameters is less

_BOX = (188, 22)  # of an op, pixels
_GAP = (22, 14)
_LONG = 24  # ops, above which those in a row share a box


def verdict(targets: Sequence[Json], problems: Sequence[str]) -> dict[str, str]:
    """The page's first words where there are no other boards."""
    boards = ", ".join(target["board"]["id"] for target in targets)
    compared = sum(target["device"]["comparison"]["samples"] for target in targets)
    golden = ", ".join(sorted({target["device"]["golden"] for target in targets}))
    on_cpu = [target for target in targets if target["device"]["device"] != "edgetpu"]
    if problems:
        title, state = f"Not within the bounds on {boards}", "bad"
    elif on_cpu:
        title, state = f"The bundle for {boards} answers on the CPU", "idle"
    else:
        title, state = f"Within the bounds on {boards}", "good"
    text = f"{compared:,} inferences compared with {golden}, twice on the device."
    if on_cpu:
        text += " No Edge TPU took part: why, is told below."
    return {"title": title, "state": state, "text": text}


def shown(target: Json) -> dict[str, Any]:
    """A target with what its section needs: the picture, the bars of memory, the histogram."""
    check, device = target["check"], target["device"]
    blockers = _blockers(check["ops"])
    remedies = tuple(row["fix"] for row in blockers if row["fix"])  # which the table tells
    compiled = target["compile"]
    segments = [segment for model in (compiled or {"models": []})["models"] for segment in model["segments"]]
    return {
        **target,
        "good": not device["problems"],
        "picture": picture(target["graph"]),
        "blockers": blockers,
        "further": [s for s in target["fix"]["suggestions"] if not s.startswith(remedies)],
        "segments": segments,
        "memory": [_memory(segment) for segment in segments],
        "estimate": {
            "bytes": check["estimated_parameter_bytes"],
            "on_chip": check["estimated_on_chip_bytes"],
            "share": min(1.0, check["estimated_on_chip_bytes"] / ON_CHIP_BYTES),
        },
        "histogram": _histogram(device["comparison"]),
        "test_histogram": None if device["test_set"] is None else _histogram(device["test_set"]),
        "latency": _latency(device["timing"].get("latency_us", {})),
    }


def _blockers(verdicts: Sequence[Json]) -> list[dict[str, Any]]:
    """What is not mapped for its own sake, a row for each reason and remedy: its first ops by name, how many more."""
    rows: dict[tuple[str, str], list[str]] = {}
    for op in verdicts:
        if op["blocker"]:
            rows.setdefault((op["reason"], op["fix"] or ""), []).append(f"{op['index']} {op['op']}")
    return [
        {"ops": ops[:4], "more": max(len(ops) - 4, 0), "reason": reason, "fix": fix}
        for (reason, fix), ops in rows.items()
    ]


def picture(graph: Sequence[Json]) -> dict[str, Any]:
    """Geometry of the graph, pixels: blocks of one depth stand in a row, arrows go down, colours say who runs an op.

    blocks: a block is an op; in a long graph, also ops in a row that share their fate. strip: all ops, in order.
    """
    wide, high = _BOX
    blocks = _blocks(graph)
    block_of = {op["index"]: number for number, block in enumerate(blocks) for op in block}
    sources = [sorted({block_of[i] for op in block for i in op["reads"]} - {n}) for n, block in enumerate(blocks)]
    depths: list[int] = []
    for reads in sources:
        depths.append(1 + max((depths[i] for i in reads), default=-1))
    rows = [[n for n, depth in enumerate(depths) if depth == row] for row in range(max(depths, default=-1) + 1)]
    lanes = max((len(row) for row in rows), default=1)
    width = lanes * (wide + _GAP[0]) + 2 * _GAP[0]
    place: dict[int, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * (wide + _GAP[0]) + _GAP[0]) / 2
        for lane, number in enumerate(row):
            place[number] = (left + lane * (wide + _GAP[0]), _GAP[1] + depth * (high + _GAP[1]))
    edges = []
    for number, reads in enumerate(sources):
        for source in reads:
            x1, y1 = place[source][0] + wide / 2, place[source][1] + high
            x2, y2 = place[number][0] + wide / 2, place[number][1]
            if depths[number] == depths[source] + 1:
                edges.append(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")
            else:  # a branch that skips rows goes around the boxes
                aside = (wide / 2 + _GAP[0] / 2) / 0.75  # which is how far a curve swings of its bend
                bend = f"{x1 + aside:.1f} {y1 + 12:.1f} {x2 + aside:.1f} {y2 - 12:.1f}"
                edges.append(f"M{x1:.1f} {y1:.1f}C{bend} {x2:.1f} {y2:.1f}")
    return {
        "width": round(width),
        "height": round(2 * _GAP[1] + len(rows) * (high + _GAP[1])),
        "box": {"width": wide, "height": high},
        "boxes": [
            {
                "x": round(place[number][0], 1),
                "y": round(place[number][1], 1),
                "state": _state(block[0]),
                "sure": block[0]["certain"],
                "text": _text(block)[:28],
                "title": _title(block),
            }
            for number, block in enumerate(blocks)
        ],
        "edges": edges,
        "strip": [{"state": _state(op), "title": _title([op])} for op in graph],
    }


def _blocks(graph: Sequence[Json]) -> list[list[Json]]:
    """The ops of each box: one, or in a long graph those in a row that share their fate; blockers always alone."""
    blocks: list[list[Json]] = []
    for op in graph:
        fate = ("target", "blocker", "certain")
        alike = blocks and not op["blocker"] and all(blocks[-1][-1][key] == op[key] for key in fate)
        if alike and len(graph) > _LONG:
            blocks[-1].append(op)
        else:
            blocks.append([op])
    return blocks


def _state(op: Json) -> str:
    return "good" if op["target"] == "edgetpu" else "bad" if op["blocker"] else "note"


def _text(block: Sequence[Json]) -> str:
    first, last = block[0]["index"], block[-1]["index"]
    return f"{first} {block[0]['op']}" if first == last else f"{first} to {last}: {len(block)} ops"


def _title(block: Sequence[Json]) -> str:
    """What a pointer over a box shows."""
    op = block[0]
    kinds = Counter(str(other["op"]) for other in block)
    what = f"op {op['index']} {op['op']}" if len(block) == 1 else ", ".join(f"{n} {k}" for k, n in kinds.most_common())
    where = "Edge TPU" if op["target"] == "edgetpu" else "CPU"
    return f"{what}: {where}. {op['reason']}" + ("" if op["certain"] else " (not certain)")


def _latency(latency_us: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """Percentiles of one inference in microseconds, the smallest first."""
    names = {"p50": "median", "p90": "90 % within", "p99": "99 % within", "p100": "longest"}
    return [(name, value) for key, name in names.items() if (value := latency_us.get(key)) is not None]


def _memory(segment: Json) -> dict[str, Any]:
    inspected = segment["inspection"]
    if inspected is not None:
        totals = inspected["totals"]
        cached, streamed = totals["cached_parameter_bytes"], totals["streamed_parameter_bytes"]
        source = "read from the package"
    else:
        said = segment["said"]
        cached, streamed = said["cached_parameter_bytes"] or 0, said["streamed_parameter_bytes"] or 0
        source = "as the compiler rounds it"
    return {
        "name": segment["path"],
        "cached": cached,
        "streamed": streamed,
        "share": min(1.0, cached / ON_CHIP_BYTES),
        "source": source,
        "subgraphs": segment["edgetpu_subgraphs"],
        "cpu_ops": segment["cpu_ops"],
        "sha256": segment["sha256"],
    }


def _histogram(comparison: Json) -> list[dict[str, Any]]:
    """Bars of differences: 0, 1, 2 .. and the rest in one; shares are of all codes."""
    counts = {int(lsb): count for lsb, count in comparison["lsb_histogram"].items()}
    whole = max(sum(counts.values()), 1)
    bars = [{"lsb": str(lsb), "codes": counts[lsb]} for lsb in sorted(counts) if lsb < 12]
    rest = sum(count for lsb, count in counts.items() if lsb >= 12)
    if rest:
        bars.append({"lsb": f"12 to {max(counts)}", "codes": rest})
    return [{**bar, "share": bar["codes"] / whole} for bar in bars]
