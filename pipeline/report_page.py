"""report.html: what the page shows, worked out from a report's mapping. The look is in templates/report*."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from pipeline.edgetpu import page as edgetpu_page
from pipeline.rendering import environment

Json = Mapping[str, Any]

MATRIX_CLASSES = 40  # a larger confusion matrix is a list of the most frequent mistakes
FREQUENT_MISTAKES = 20
RANKED_LAYERS = 10  # the others are folded away
HUES = 6  # colours --c0 .. --c5 in report.css
METHOD_TITLES = {"float": "float32", "ptq": "PTQ", "qat": "QAT"}


def render(report: Json, problems: Sequence[str]) -> str:
    """The page, one self-contained document.

    Args:    report: a `pipeline.report.Report`, its strings fit to be shown. problems: what is wrong with it.
    """
    return _environment().get_template("report.html.j2").render(
        report=report,
        problems=problems,
        verdict=_verdict(report, problems),
        accuracy=None if report["quantization"] is None else _accuracy(report),
        targets=[_target(target, number) for number, target in enumerate(report["targets"], 1)],
        corals=[edgetpu_page.shown(target) for target in report.get("edgetpu", ())],
        timing=_timing(report["timing"]),
    )  # fmt: skip


def used_bytes(verify: Json, memory: str) -> int | None:
    """What the release build takes of the board's "flash", or of its "ram" with the stack at its deepest."""
    used: int | None = verify[f"{memory}_bytes"]
    if memory == "ram" and used is not None:
        used += verify["stack_bytes"] or 0
    return used


@cache
def _environment() -> Environment:
    made = environment("pipeline", "templates", escape=True)
    made.filters.update(
        count=_count, size=_size, number=_number, compact=_compact, percent=_percent, shape=_shape, short=_short,
        plural=_plural,
    )  # fmt: skip
    return made


# Numbers for people, with the exact value as a title


def _count(number: float) -> str:
    """`12,345`; a fraction keeps one digit."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}".removesuffix(".0")


def _plural(number: int, noun: str, several: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def _number(value: float | str) -> str:
    """A real number, short: `0.00390625`; the words for what is not finite stay."""
    return value if isinstance(value, str) else f"{value:.6g}".replace("-", "−")


def _bytes(number: int) -> str:
    """`312 B`, `61.2 KiB`, `1 MiB`."""
    size, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            break
        size, unit = size / 1024, larger
    digits = 0 if unit == "B" or size >= 100 else 1 if size >= 10 else 2
    text = f"{size:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text} {unit}"


def _size(number: int) -> Markup:
    return Markup('<span class="n" title="{} bytes">{}</span>').format(f"{number:,}", _bytes(number))


def _compact(number: float) -> Markup:
    """`1.23 M`: three digits."""
    size, unit = float(number), ""
    for larger in ("k", "M", "G"):
        if abs(size) < 999.5:
            break
        size, unit = size / 1000, " " + larger
    digits = f"{size:,.0f}" if not unit or size >= 99.95 else f"{size:.1f}" if size >= 9.995 else f"{size:.2f}"
    return Markup('<span class="n" title="{}">{}{}</span>').format(_count(number), digits, unit)


def _percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f} %"


def _shape(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes)) or "scalar"


def _short(name: str) -> str:
    """The telling part of a TFLite tensor name such as "model/conv/Relu;model/conv/BiasAdd/ReadVariableOp"."""
    parts = [part for part in name.split(";")[0].split("/") if part]
    return "/".join(parts[-2:]) if parts else name


def _clip(text: str, width: float, character: float) -> str:
    """Text that fits into `width` pixels, or "" where not even four characters do."""
    fitting = int(width / character)
    if len(text) <= fitting:
        return text
    return "" if fitting < 4 else text[: fitting - 1] + "…"


# The verdict


def _verdict(report: Json, problems: Sequence[str]) -> dict[str, Any]:
    """The page's first words, and the figures beside them."""
    targets = report["targets"]
    wrong = [target for target in targets if not target["exact"]]
    corals = report.get("edgetpu", ())
    if corals and not targets:
        return {**edgetpu_page.verdict(corals, problems), "tiles": _tiles(report)}
    if not targets:
        title, state = ("No board was asked", "idle") if not problems else ("Not good enough", "bad")
    elif wrong:
        title, state = f"Wrong answers on {_of(len(wrong), len(targets))}", "bad"
    elif problems:
        title, state = "Every byte right, but not good enough", "bad"
    else:
        title, state = f"Byte for byte exact on {_boards(targets)}", "good"
    return {"title": title, "state": state, "text": _evidence(targets), "tiles": _tiles(report)}


def _of(part: int, whole: int) -> str:
    return "the board" if whole == 1 else f"{part} of {whole} boards"


def _boards(targets: Sequence[Json]) -> str:
    return str(targets[0]["board"]["id"]) if len(targets) == 1 else f"{len(targets)} boards"


def _evidence(targets: Sequence[Json]) -> str:
    if not targets:
        return "The run ended before a board."
    samples = sum(target["verify"]["samples"] for target in targets)
    layers = sum(target["verify"]["layers_compared"] for target in targets)
    golden = sorted({target["verify"]["golden"] for target in targets})
    return f"{_plural(samples, 'inference')} and {_plural(layers, 'layer')} compared in bytes with {', '.join(golden)}."


def _tiles(report: Json) -> list[dict[str, Any]]:
    """At most five figures; each a label, a value, what it is seen against, and perhaps its share of a budget."""
    tiles = [
        _accuracy_tile(report["quantization"] or {"methods": ()}),
        _device_tile([t["device_accuracy"] for t in report["targets"] if t["device_accuracy"] is not None]),
        _memory_tile("Flash", report["targets"], "flash"),
        _memory_tile("RAM, with stack", report["targets"], "ram"),
        _instructions_tile([t["verify"]["instructions"]["median"] for t in report["targets"]
                            if t["verify"]["instructions"]]),
    ]  # fmt: skip
    return [{"bad": False, "share": None, **tile} for tile in tiles if tile is not None]


def _codes(quantization: Json) -> str:
    """What a quantized model computes with: int8, or int16x8, activations of int16 and weights of int8."""
    return "int16x8" if quantization.get("activations") == "int16" else "int8"


def _titled(method: str, quantization: Json) -> str:
    title = METHOD_TITLES.get(method, method)
    return title if method == "float" else f"{_codes(quantization)}, {title}"


def _accuracy_tile(quantization: Json) -> dict[str, Any] | None:
    methods = quantization["methods"]
    chosen = next((m for m in methods if m["chosen"]), None)
    if chosen is None:
        return None
    reference = next((m for m in methods if m["name"] == "float" and not m["chosen"]), None)
    against = "of the test set" if reference is None else f"{_percent(reference['accuracy'])} in float32"
    label = f"Accuracy, {_titled(chosen['name'], quantization)}"
    return {"label": label, "value": _percent(chosen["accuracy"]), "against": against}


def _device_tile(devices: Sequence[Json]) -> dict[str, Any] | None:
    if not devices:
        return None
    worst = min(_fraction(d["correct"], d["total"]) for d in devices)
    same = all(d["mismatched_samples"] == 0 and d["correct"] == d["host_correct"] for d in devices)
    against = "every answer as on the host" if same else "not what the host answers"
    label = f"Accuracy on the board{'s' if len(devices) > 1 else ''}"
    return {"label": label, "value": _percent(worst), "against": against, "bad": not same}


def _memory_tile(label: str, targets: Iterable[Json], memory: str) -> dict[str, Any] | None:
    """Of the target that uses the largest share of its budget."""
    found = [(used_bytes(t["verify"], memory), t["board"][f"{memory}_bytes"], t["board"]["id"]) for t in targets]
    known = [(used, budget, board) for used, budget, board in found if used is not None and budget]
    if not known:
        return None
    used, budget, board = max(known, key=lambda k: (k[0] / k[1], k[2]))
    where = "" if len(known) == 1 else f" on {board}"
    return {
        "label": label,
        "value": _size(used),
        "against": f"of {_bytes(budget)}{where}",
        "bad": used > budget,
        "share": min(1.0, used / budget),
    }


def _instructions_tile(counts: Sequence[float]) -> dict[str, Any] | None:
    if not counts:
        return None
    more = Markup(", up to {}").format(_compact(max(counts))) if max(counts) > min(counts) else ""
    return {"label": "Instructions", "value": _compact(min(counts)), "against": "an inference" + more}


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


# Accuracy


def _accuracy(report: Json) -> dict[str, Any]:
    quantization = report["quantization"]
    methods = quantization["methods"]
    reference = next((m for m in methods if m["name"] == "float"), None)
    largest = max((m["file_bytes"] for m in methods), default=0)
    rows = [
        {
            **method,
            "title": _titled(method["name"], quantization),
            "points": None
            if reference is None or method is reference
            else _points(method["accuracy"] - reference["accuracy"]),
            "file_share": method["file_bytes"] / largest if largest else 0.0,
            "between": _between(method["interval"]) if method.get("interval") else None,
        }
        for method in methods
    ]
    confusion = quantization["confusion"]
    return {
        "codes": _codes(quantization),
        "rows": rows,
        "confusion": None if confusion is None else _confusion(confusion, report["labels"]),
        "history": _history(quantization["history"]),
        "representative": quantization["representative"],
        "gate": quantization.get("gate"),
        "glance": _glance(quantization),
        "warnings": quantization.get("warnings", []),
        "agreement": quantization.get("agreement"),
        "layers": [layer for layer in quantization.get("layers", []) if _is_telling(layer)],
        "trained": _trained(quantization.get("layers", [])),
        "sensitivity": quantization.get("sensitivity"),
        "shown": RANKED_LAYERS,
    }


def _between(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{_percent(low)} to {_percent(high)}"


def _is_telling(layer: Json) -> bool:
    """Layers that are merged into the next one have nothing to tell."""
    return not layer["int8"] or layer["frozen"] or layer["max_lsb"] is not None


def _trained(layers: Sequence[Json]) -> str:
    """How the layers were trained, and which int8 layer is the furthest from its simulation."""
    simulated = sum(layer["int8"] for layer in layers)
    frozen = sum(layer["frozen"] for layer in layers)
    text = f"{simulated} of {_plural(len(layers), 'layer')} with int8 simulated"
    text += f", {frozen} frozen." if frozen else "."
    compared = [layer for layer in layers if layer["max_lsb"] is not None]
    if compared:
        furthest = max(compared, key=lambda layer: layer["mean_lsb"])
        text += (
            f" The furthest from its simulation is {furthest['name']}: {furthest['mean_lsb']:.2f} steps of its own "
            f"scale on average, {furthest['max_lsb']:.1f} at most. Rounding adds about a step in a layer, and layers "
            "hand on what they have."
        )
    return text


def _glance(quantization: Json) -> list[dict[str, str]]:
    """Is the quantized model good enough, which layer hurts, and what to try: questions with their answers."""
    methods, gate, kind = quantization["methods"], quantization.get("gate"), _codes(quantization)
    chosen = next((m for m in methods if m["chosen"] and m.get("against_float")), None)
    if chosen is None:
        return []
    against = chosen["against_float"]
    low, high = against["interval"]
    change = f"{_points(against['difference'])}, with 95 % between {_points(low)} and {_points(high)}"
    if high < 0:
        good = f"Quantization costs accuracy, beyond chance: {change}."
    elif low > 0:
        good = f"The {kind} model is more accurate than float32, beyond chance: {change}."
    else:
        good = f"No difference to float32 beyond chance: {change}."
    good += (
        f" {_plural(against['changed'], 'answer')} changed: {against['gained']:,} became right, {against['lost']:,} "
        "became wrong."
    )
    ranked = [
        layer for layer in (quantization.get("sensitivity") or {}).get("layers", ()) if layer["sqnr_db"] is not None
    ]
    found = [{"question": "Is it good enough?", "answer": good}]
    if ranked:
        hurting = [layer for layer in ranked if layer["suggestion"]]
        most = ranked[0]
        which = f"{most['layer']}: alone in {kind} it leaves {most['sqnr_db']:.1f} dB of signal to error in the answers"
        which += f"; {len(hurting) - 1} more below." if len(hurting) > 1 else "."
        found.append({"question": "Which layer hurts?", "answer": which if hurting else f"None. The most is {which}"})
    lost = high < 0 or (gate is not None and not gate["passed"])
    return [*found, {"question": "What to try?", "answer": _advice(methods, chosen, ranked, lost, kind)}]


def _advice(methods: Sequence[Json], chosen: Json, ranked: Sequence[Json], lost: bool, kind: str) -> str:
    """What to try. ranked: layers, the most sensitive first. lost: the model is worse than it may be."""
    ptq = next((m for m in methods if m["name"] == "ptq"), None)
    if chosen["name"] == "qat" and ptq is not None and ptq["correct"] >= chosen["correct"]:
        return "Calibration alone (method: ptq) is as good, and needs no training."
    if not lost:
        return f"Nothing: {kind} loses nothing beyond chance."
    training = (
        "More epochs of qat, or 8 bits where there are 4"
        if chosen["name"] == "qat"
        else "Quantization-aware training (method: qat) may win it back"
        if kind == "int8"
        else "What weights of int8 lose, quantization-aware training may win back (method: qat, activations: int8)"
    )
    worst = [f"Of {layer['layer']} {layer['suggestion']}." for layer in ranked[:1] if layer["suggestion"]]
    return " ".join([f"{training}.", *worst])


def _points(difference: float) -> str:
    text = f"{100 * difference:+.2f}".replace("-", "−")
    return "±0.00 pp" if text[1:] == "0.00" else f"{text} pp"


def _confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> dict[str, Any]:
    """The matrix as cells with a shade each, or the most frequent mistakes where it would be too large to read."""
    names = [labels[i] if i < len(labels) else str(i) for i in range(len(matrix))]
    mistakes = [
        (number, names[true], names[predicted] if predicted < len(names) else str(predicted))
        for true, row in enumerate(matrix)
        for predicted, number in enumerate(row)
        if true != predicted and number
    ]
    mistakes.sort(key=lambda m: -m[0])
    as_list = len(matrix) > MATRIX_CLASSES
    most = FREQUENT_MISTAKES if as_list else min(FREQUENT_MISTAKES, len(matrix))
    rows = []
    for true, row in enumerate(matrix):
        total = sum(row)
        cells = [
            {"number": number, "shade": _shade(number, total), "right": true == predicted}
            for predicted, number in enumerate(row)
        ]
        right = row[true] if true < len(row) else 0
        rows.append({"name": names[true], "cells": cells, "total": total, "recall": right / total if total else None})
    return {
        "names": names,
        "rows": rows,
        "total": sum(map(sum, matrix)),
        "wrong": sum(number for number, _, _ in mistakes),
        "mistakes": [{"number": number, "true": true, "answer": answer} for number, true, answer in mistakes[:most]],
        "tall": any(len(name) > 4 for name in names),
        "as_list": as_list,
    }


def _shade(number: int, total: int) -> int:
    """0 (nothing) to 6 (all of the row); a single mistake among many is seen."""
    return 0 if not number or not total else max(1, math.ceil(6 * math.sqrt(number / total)))


def _history(history: Json) -> dict[str, Any] | None:
    """Loss curves on a logarithmic axis, one training after the other along the epochs."""
    order = sorted(history, key=lambda name: (name != "float", name))
    curves: list[tuple[str, str, int, Sequence[Any]]] = []
    begins, epochs = [], 0
    for training in order:
        length = max((len(values) for values in history[training].values()), default=0)
        if length:
            begins.append((training, epochs, length))
            curves += [(training, metric, epochs, values) for metric, values in sorted(history[training].items())
                       if "loss" in metric and values]  # fmt: skip
            epochs += length
    drawable = [v for *_, values in curves for v in values if _positive(v)]
    if not drawable:
        return None
    low, high = math.floor(math.log10(min(drawable))), math.ceil(math.log10(max(drawable)))
    high += low == high
    left, top, width, height = 52, 24, 460, 250

    def x(epoch: int) -> float:
        return left + width * (epoch + 0.5) / epochs

    def y(value: float) -> float:
        return top + height * (high - math.log10(value)) / (high - low)

    lines = [
        {
            "title": f"{METHOD_TITLES.get(training, training)}: {metric}, last {_number(values[-1])}",
            "hue": order.index(training) % HUES,
            "dashed": metric != "loss",
            "points": " ".join(f"{x(begin + i):.1f},{y(v):.1f}" for i, v in enumerate(values) if _positive(v)),
        }
        for training, metric, begin, values in curves
    ]
    return {
        "width": left + width + 12,
        "height": top + height + 40,
        "left": left,
        "right": left + width,
        "top": top,
        "bottom": top + height,
        "lines": lines,
        "decades": [{"y": round(y(10.0**e), 1), "text": f"{10.0**e:g}"} for e in range(low, high + 1)],
        "trainings": [
            {
                "name": METHOD_TITLES.get(training, training),
                "hue": order.index(training) % HUES,
                "x": round(left + width * begin / epochs, 1),
                "middle": round(left + width * (begin + length / 2) / epochs, 1),
                "epochs": length,
            }
            for training, begin, length in begins
        ],
        "dashed": any(line["dashed"] for line in lines),
    }


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


# A target


def _target(target: Json, number: int) -> dict[str, Any]:
    verify = target["verify"]
    memories = [_flash(target), _ram(target)]
    fits = all(not memory["over"] for memory in memories)
    return {
        **target,
        "anchor": f"target-{number}",
        "fits": fits,
        "good": target["exact"] and fits,
        "memories": memories,
        "layer_table": _layers(target),
        "picture": _picture(target),
        "rungs": [_rung(rung) for rung in target["ladder"]],
        "per_mac": verify["instructions"]["median"] / verify["macs"]
        if verify["instructions"] and verify["macs"]
        else None,
    }


def _rung(rung: Json) -> dict[str, Any]:
    differs = rung["mismatched_samples"] > 0
    if rung["against"] is None:
        state = "reference"
    elif differs:
        state = "bad" if rung.get("required", True) else "note"
    else:
        state = "good"
    return {**rung, "state": state}


def _flash(target: Json) -> dict[str, Any]:
    verify = target["verify"]
    model = verify["model_flash_bytes"] or 0
    parts = [
        ("weights and biases", verify["weights_bytes"]),
        ("model code, kernels, constants", model - verify["weights_bytes"]),
        ("start-up, C library, application", (verify["flash_bytes"] or 0) - max(model, verify["weights_bytes"])),
    ]
    return _memory("Flash", parts, used_bytes(verify, "flash"), target["board"]["flash_bytes"])


def _ram(target: Json) -> dict[str, Any]:
    verify = target["verify"]
    model = max(verify["model_ram_bytes"] or 0, verify["arena_bytes"])
    parts = [
        ("arena", verify["arena_bytes"]),
        ("inputs, outputs, scratch", model - verify["arena_bytes"]),
        ("start-up, C library, application", (verify["ram_bytes"] or 0) - model),
        ("stack, at its deepest", verify["stack_bytes"] or 0),
    ]
    return _memory("RAM", parts, used_bytes(verify, "ram"), target["board"]["ram_bytes"])


def _memory(title: str, parts: Iterable[tuple[str, int]], used: int | None, budget: int | None) -> dict[str, Any]:
    """A stacked bar against the budget, and a magnified one where that shows too little.

    Shares are of the bar's whole length: the budget, or what is used if that is more or there is no budget.
    """
    known = [(hue, name, size) for hue, (name, size) in enumerate(parts) if size > 0] if used is not None else []
    whole = max(used or 0, budget or 0, 1)
    share = (used or 0) / whole
    return {
        "title": title,
        "used": used,
        "budget": budget,
        "over": budget is not None and used is not None and used > budget,
        "of_budget": used / budget if used is not None and budget else None,
        "mark": None if budget is None else budget / whole,
        "share": share,
        "magnified": bool(budget) and bool(known) and share < 0.5,
        "parts": [
            {"hue": hue, "name": name, "bytes": size, "share": size / whole, "of_used": size / (used or 1)}
            for hue, name, size in known
        ],
    }


def _layers(target: Json) -> dict[str, Any]:
    """One row an op: how it is done, what it costs, whether its bytes are right."""
    kernels, layers = target["kernels"], target["layers"]
    first = target["verify"]["first_divergence"]
    known = {kernel["op_index"] for kernel in kernels}
    rows = [
        _layer_row(kernel, [layer for layer in layers if layer["op_index"] == kernel["op_index"]]) for kernel in kernels
    ]
    rows += [_layer_row(None, [layer]) for layer in layers if layer["op_index"] not in known]
    macs = sum(row["macs"] or 0 for row in rows)
    instructions = [row["instructions"] for row in rows if row["instructions"] is not None]
    for row in rows:
        row["mac_share"] = (row["macs"] or 0) / macs if macs else 0.0
        row["instruction_share"] = (row["instructions"] or 0) / sum(instructions) if sum(instructions) else 0.0
        row["first"] = first is not None and first["op_index"] == row["op_index"]
    return {
        "rows": rows,
        "macs": macs,
        "weight_bytes": sum(row["weight_bytes"] or 0 for row in rows),
        "output_bytes": sum(row["bytes"] or 0 for row in rows) if layers else None,
        "instructions": sum(instructions) if instructions else None,
        "wrong": sum(1 for row in rows if row["mismatched"]),
        "compared": sum(1 for row in rows if row["compared"]),
    }


def _layer_row(kernel: Json | None, layers: Sequence[Json]) -> dict[str, Any]:
    shown: Json = kernel if kernel is not None else layers[0]
    return {
        "op_index": shown["op_index"],
        "op": shown["op"],
        "tensors": [layer["tensor"] for layer in layers],
        "shape": shown["output_shape"] if kernel is not None else layers[0]["shape"],
        "dtypes": sorted({layer["dtype"] for layer in layers}),
        "bytes": sum(layer["bytes"] for layer in layers) if layers else None,
        "kernel": None if kernel is None else kernel["kernel"],
        "reason": None if kernel is None else kernel["reason"],
        "macs": None if kernel is None else kernel["macs"],
        "weight_bytes": None if kernel is None else kernel["weight_bytes"],
        "instructions": None if kernel is None else kernel.get("instructions"),
        "compared": min((layer["compared"] for layer in layers), default=0),
        "mismatched": max((layer["mismatched"] for layer in layers), default=0),
    }


# The arena over time


def _picture(target: Json) -> dict[str, Any] | None:
    """Geometry of the arena's picture, pixels: steps along, offsets upward, a block a tensor."""
    arena = target["arena"]
    slots, steps = arena["slots"], arena["steps"]
    if not slots:
        return None
    before, after = min(0, *(s["first"] for s in slots)), max(steps - 1, *(s["last"] for s in slots))
    columns = after - before + 1
    left, top, width, height = 66.0, 26.0, 1000.0, 300.0
    column = width / columns
    top_bytes = max([arena["bytes"], arena["lower_bound"], 1, *(s["offset"] + s["bytes"] for s in slots)])

    def x(step: int) -> float:
        return left + float(column * (step - before))

    def y(offset: int) -> float:
        return top + height * (1 - float(offset / top_bytes))

    blocks = []
    for number, slot in enumerate(slots):
        tall = max(2.0, height * slot["bytes"] / top_bytes)
        wide = column * (slot["last"] - slot["first"] + 1)
        room = wide - 12 if tall >= 15 else 0
        label = _clip(_short(slot["name"]), room, 6.9)
        size = _bytes(slot["bytes"])
        blocks.append(
            {
                "x": round(x(slot["first"]) + 1, 1),
                "y": round(y(slot["offset"]) - tall, 1),
                "width": round(max(1.0, wide - 2), 1),
                "height": round(tall, 1),
                "hue": number % HUES,
                "label": label,
                "label_y": round(y(slot["offset"]) - tall + (16 if tall >= 34 else tall / 2 + 4), 1),
                "size": size if label and tall >= 34 and len(size) * 6.9 <= room else "",
                "title": f"{slot['name']}: {slot['bytes']:,} bytes at offset {slot['offset']:,}, "
                f"{_steps(slot['first'], slot['last'], steps)}",
            }
        )
    live = [sum(s["bytes"] for s in slots if s["first"] <= n <= s["last"]) for n in range(before, after + 1)]
    peak = live.index(max(live)) + before
    operations = [kernel["op"] for kernel in target["kernels"]] if len(target["kernels"]) == steps else None
    every = max(1, math.ceil(18 / column))
    labels = [
        {"x": round(x(n) + column / 2, 1), "text": _step_label(n, steps, operations), "peak": n == peak}
        for n in range(before, after + 1)
        if (n - before) % every == 0 or n == peak
    ]
    return {
        "width": round(left + width + 10),
        "height": round(top + height + (106 if operations else 34)),
        "left": left,
        "right": left + width,
        "top": top,
        "bottom": top + height,
        "tilted": operations is not None,
        "blocks": blocks,
        "labels": labels,
        "ticks": [{"y": round(y(tick), 1), "text": _bytes(tick)} for tick in _ticks(top_bytes)],
        "peak": {"x": round(x(peak), 1), "width": round(column, 1), "bytes": max(live),
                 "step": _step_label(peak, steps, operations)},
        "bound_y": round(y(arena["lower_bound"]), 1),
        "arena_y": round(y(arena["bytes"]), 1),
    }  # fmt: skip


def _steps(first: int, last: int, steps: int) -> str:
    begin = "before the first step" if first < 0 else f"step {first}"
    end = "after the last step" if last >= steps else f"step {last}"
    return begin if first == last else f"from {begin} to {end}"


def _step_label(step: int, steps: int, operations: Sequence[str] | None) -> str:
    if step < 0:
        return "input"
    if step >= steps:
        return "output"
    return f"{step}" if operations is None else f"{step} {_clip(operations[step], 110, 6.9)}"


def _ticks(top: int) -> list[int]:
    """Four to eight round offsets from 0 up to `top`."""
    step = 1
    while top / step > 8:
        step *= 2
    return list(range(0, top + 1, step))


# The end of the page


def _timing(timing: Json) -> dict[str, Any]:
    total = sum(timing.values())
    return {
        "total": total,
        "stages": [
            {"name": name, "seconds": seconds, "share": seconds / total if total else 0.0}
            for name, seconds in timing.items()
        ],
    }
