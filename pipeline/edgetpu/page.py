"""What the report page shows of an Edge TPU: the mapping as a picture of the graph, memory, fixes, the device test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

ON_CHIP_BYTES = 8 << 20  # of the chip, for parameters and all else; what is left for parameters is less

_BOX = (176, 22)  # of an op, pixels
_GAP = (22, 14)


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
    compiled = target["compile"]
    segments = [segment for model in (compiled or {"models": []})["models"] for segment in model["segments"]]
    return {
        **target,
        "good": not device["problems"],
        "picture": picture(target["graph"]),
        "blockers": [op for op in check["ops"] if op["blocker"]],
        "segments": segments,
        "memory": [_memory(segment) for segment in segments],
        "estimate": {
            "bytes": check["estimated_parameter_bytes"],
            "on_chip": check["estimated_on_chip_bytes"],
            "share": min(1.0, check["estimated_on_chip_bytes"] / ON_CHIP_BYTES),
        },
        "histogram": _histogram(device["comparison"]),
        "test_histogram": None if device["test_set"] is None else _histogram(device["test_set"]),
        "latency": {k: v for k, v in device["timing"].get("latency_us", {}).items() if v is not None},
    }


def picture(graph: Sequence[Json]) -> dict[str, Any]:
    """Geometry of the graph, pixels: ops of one depth stand in a row, arrows go down, colours say who runs an op."""
    wide, high = _BOX
    rows: dict[int, list[Json]] = {}
    for op in graph:
        rows.setdefault(op["depth"], []).append(op)
    lanes = max((len(row) for row in rows.values()), default=1)
    width = lanes * (wide + _GAP[0]) + 2 * _GAP[0]
    place: dict[int, tuple[float, float]] = {}
    for depth, row in rows.items():
        left = (width - len(row) * (wide + _GAP[0]) + _GAP[0]) / 2
        for number, op in enumerate(row):
            place[op["index"]] = (left + number * (wide + _GAP[0]), _GAP[1] + depth * (high + _GAP[1]))
    depths = {op["index"]: op["depth"] for op in graph}
    boxes, edges = [], []
    for op in graph:
        x, y = place[op["index"]]
        where = "Edge TPU" if op["target"] == "edgetpu" else "CPU"
        boxes.append(
            {
                "x": round(x, 1),
                "y": round(y, 1),
                "state": "good" if op["target"] == "edgetpu" else "bad" if op["blocker"] else "note",
                "sure": op["certain"],
                "text": f"{op['index']} {op['op']}"[:24],
                "title": f"op {op['index']} {op['op']}: {where}. {op['reason']}"
                + ("" if op["certain"] else " (not certain)"),
            }
        )
        for source in op["reads"]:
            sx, sy = place[source]
            aside = 0.0 if depths[op["index"]] == depths[source] + 1 else wide / 2 + _GAP[0] * 0.8
            x1, y1, x2, y2 = sx + wide / 2, sy + high, x + wide / 2, y
            if aside:  # a branch that skips rows goes around the boxes
                bend = f"{x1 + aside:.1f} {y1 + 12:.1f} {x2 + aside:.1f} {y2 - 12:.1f}"
                path = f"M{x1:.1f} {y1:.1f}C{bend} {x2:.1f} {y2:.1f}"
            else:
                path = f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"
            edges.append(path)
    return {
        "width": round(width),
        "height": round(2 * _GAP[1] + (max(rows, default=0) + 1) * (high + _GAP[1])),
        "box": {"width": wide, "height": high},
        "boxes": boxes,
        "edges": edges,
        "long": len(graph) > 60,
    }


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
