"""What a person sees in a terminal: the objects that --json prints, as text of one screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_CODES = {"good": "32", "bad": "31", "dim": "2", "bold": "1"}


@dataclass(frozen=True)
class Paint:
    """Colours for a terminal, or none."""

    enabled: bool

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.enabled and text else text


PLAIN = Paint(False)


def clean(text: str, limit: int = 60) -> str:
    """Text from a file that somebody else wrote, without what would steer a terminal, its end kept if it is long."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else f"…{text[1 - limit :]}"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], paint: Paint = PLAIN, limit: int = 60) -> list[str]:
    """Lines of a table. A column of numbers is aligned to the right and written with thousands separators."""
    cells = [[_cell(value, limit) for value in row] for row in rows]
    right = [bool(cells) and all(row[i][1] for row in cells) for i in range(len(headers))]
    widths = [max([len(header), *(len(row[i][0]) for row in cells)]) for i, header in enumerate(headers)]

    def line(texts: Sequence[str]) -> str:
        aligned = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True))
        return ("  " + "  ".join(aligned)).rstrip()

    return [paint("dim", line(headers)), *(line([text for text, _ in row]) for row in cells)]


def _cell(value: object, limit: int) -> tuple[str, bool]:
    """The text of a cell, and whether it may stand in a column of numbers."""
    if value is None:
        return "-", True
    if isinstance(value, bool):
        return ("yes" if value else "no"), False
    if isinstance(value, int):
        return f"{value:,}", True
    return clean(str(value), limit), False


def shape(sizes: Sequence[int] | None) -> str:
    return "-" if sizes is None else "x".join(map(str, sizes)) or "scalar"


def count(number: int, noun: str) -> str:
    """`1 op`, `2 ops`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {name:<13} {text}" for name, text in rows]


def bench(found: Json, paint: Paint) -> str:
    """`tensorflash bench`."""
    lines = []
    for model in found["models"]:
        facts = model["model"]
        lines += [
            paint("bold", clean(facts["path"], 100)) + f" on {found['board']}",
            f"  {facts['macs']:,} MACs, {facts['weights_bytes']:,} bytes of weights and biases",
            "",
        ]
        measured = [result for result in model["results"] if result["error"] is None]
        most = max(result["instructions"] for result in measured)
        rows = [
            (
                result["runtime"],
                result["instructions"],
                _bar(result["instructions"] / most),
                result["overhead_bytes"],
                result["model_ram_bytes"],
                result["exact"],
            )
            for result in measured
        ]
        rows += [
            (f"{q['runtime']} (quoted)", q["instructions"], "", q["overhead_bytes"], q["ram_bytes"], "")
            for q in model["quoted"]
        ]
        lines += table(("runtime", "instructions", "", "flash - weights", "RAM", "exact"), rows, paint)
        for result in model["results"]:
            if result["error"]:
                lines.append(f"  {result['runtime']}: {paint('bad', clean(result['error'], 200))}")
            elif result["changes"]:
                lines.append(
                    paint("dim", f"  {result['runtime']} was given the model with {', '.join(result['changes'])}.")
                )
        lines += [
            paint("dim", f"  quoted: {source}.") for source in dict.fromkeys(q["source"] for q in model["quoted"])
        ]
        lines.append("")
    return "\n".join(lines[:-1])


def _bar(fraction: float, width: int = 20) -> str:
    return "█" * max(1, round(width * fraction))


def inspection(found: Json, paint: Paint) -> str:
    """`tensorflash inspect`."""
    model, totals, tensors = found["model"], found["totals"], found["tensors"]
    lines = [
        f"{paint('bold', clean(model['path'], 100))}",
        *_facts(
            [
                ("sha256", model["sha256"]),
                ("description", clean(model["description"], 100) or "-"),
                ("MACs", f"{totals['macs']:,} per inference"),
                ("weights", f"{totals['weights_bytes']:,} bytes, biases included"),
                ("inputs", "; ".join(_tensor(tensors[i]) for i in found["inputs"])),
                ("outputs", "; ".join(_tensor(tensors[i]) for i in found["outputs"])),
            ]
        ),
        "",
        count(totals["ops"], "op"),
        *table(
            ("op", "name", "version", "inputs", "outputs", "output shape", "MACs", "weight bytes"),
            (
                (
                    op["index"],
                    op["name"] if op["custom_code"] is None else f"CUSTOM {op['custom_code']}",
                    op["version"],
                    " ".join("-" if i < 0 else str(i) for i in op["inputs"]),
                    " ".join(map(str, op["outputs"])),
                    shape(op["output_shape"]),
                    op["macs"],
                    op["weight_bytes"],
                )
                for op in found["ops"]
            ),
            paint,
        ),
        "",
        count(totals["tensors"], "tensor"),
        *table(
            ("tensor", "shape", "dtype", "bytes", "kind", "quantization", "name"),
            (
                (
                    t["index"],
                    shape(t["shape"]),
                    t["dtype"],
                    t["bytes"],
                    "constant" if t["constant"] else "variable" if t["variable"] else "computed",
                    _quantization(t["quantization"]),
                    t["name"],
                )
                for t in tensors
            ),
            paint,
        ),
    ]
    return "\n".join(lines)


def _tensor(tensor: Json) -> str:
    return f"{clean(tensor['name'], 40)} {tensor['dtype']} {shape(tensor['shape'])}"


def _quantization(quantization: Json | None) -> str:
    if quantization is None:
        return ""
    if "scale" in quantization:
        scale, zero_point = quantization["scale"], quantization["zero_point"]
        return (
            f"{scale:.8g} * q"
            if zero_point == 0
            else f"{scale:.8g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"
        )
    return (
        f"{quantization['channels']} scales, {quantization['scale_min']:.3g} to {quantization['scale_max']:.3g},"
        f" axis {quantization['dimension']}"
    )


def check(found: Json, paint: Paint) -> str:
    """`tensorflash check`."""
    verdict = paint("good", "fits") if found["fits"] else paint("bad", "does not fit")
    lines = [f"{clean(found['model']['path'], 100)} {verdict} {found['board']} with the {found['runtime']} runtime"]
    for name, key in (("flash", "flash"), ("RAM", "ram")):
        part = found[key]
        budget = "no budget" if part["budget_bytes"] is None else f"of {part['budget_bytes']:,}"
        exact = all(p["exact"] for p in part["parts"])
        lines += ["", f"{name}: {'' if exact else 'about '}{part['needed_bytes']:,} bytes {budget}"]
        lines += table(
            ("bytes", "for", ""),
            ((p["bytes"], p["what"], "" if p["exact"] else "estimated") for p in part["parts"]),
            paint,
        )
    arena, least = found["arena_bytes"], found["arena_lower_bound"]
    needed = "the least possible" if arena == least else f"{least:,} are needed in one op"
    lines += ["", f"{count(len(found['ops']), 'op')}, arena {arena:,} bytes ({needed})"]
    lines += table(
        ("op", "name", "output shape", "MACs", "weight bytes", "kernel", "why"),
        (
            (
                op["index"],
                op["op"],
                shape(op["output_shape"]),
                op["macs"],
                op["weight_bytes"],
                op["kernel"] or "none",
                op["reason"],
            )
            for op in found["ops"]
        ),
        paint,
    )
    lines += [
        paint("dim", f"  {layer['op_index']} {layer['op']} has no kernel: {layer['reason']}.")
        for layer in found["layers_hidden"]
    ]
    return "\n".join([*lines, *(paint("bad", problem) for problem in found["problems"])])


def is_exact(verdict: Json) -> bool:
    """Whether a verification found no difference anywhere."""
    return bool(verdict["mismatched_samples"] == 0 and verdict["layer_mismatches"] == 0)


def verdict(found: Json, paint: Paint) -> str:
    """`tensorflash verify`."""
    exact = is_exact(found)
    head = paint("good", "exact") if exact else paint("bad", "WRONG")
    rows = [
        ("outputs", f"{found['mismatched_samples']:,} of {count(found['samples'], 'sample')} differ"),
        ("layers", f"{found['layer_mismatches']:,} of {found['layers_compared']:,} differ"),
    ]
    if not exact:
        rows.append(("largest", f"{found['mismatched_bytes']:,} bytes differ, by {found['max_abs_diff']} at most"))
    if found["first_divergence"] is not None:
        rows.append(("first", divergence(found["first_divergence"])))
    rows.append(("golden", clean(found["golden"])))
    rows.append(("beside it", _litert(found["litert"])))
    if found["instructions"] is not None:
        spread = found["instructions"]
        rows.append(
            ("instructions", f"{spread['median']:,} an inference ({spread['min']:,} to {spread['max']:,}), not cycles")
        )
    rows += [
        ("MACs", f"{found['macs']:,}"),
        ("flash", f"{found['flash_bytes']:,} bytes, {found['model_flash_bytes']:,} of them the model's"),
        ("RAM", f"{found['ram_bytes']:,} bytes and the stack, {found['model_ram_bytes']:,} of them the model's"),
    ]
    if found["stack_bytes"] is not None:
        rows.append(("stack", f"{found['stack_bytes']:,} bytes at the deepest"))
    title = f"{head}  {clean(found['model']['path'], 80)} on {found['board']} ({found['runtime']})"
    return "\n".join([title, *_facts(rows), *(f"  {clean(note, 200)}" for note in found["notes"]), *_profile(found)])


def _profile(found: Json) -> list[str]:
    """A row an op with its instructions, where they were counted layer by layer."""
    if "layers" not in found:
        return []
    if found["layers"] is None:
        return ["", f"  no profile: {found['board']} counts no instructions of layers"]
    lines = ["", "   op                          instructions   share         MACs   per MAC"]
    for row in found["layers"]:
        per_mac = "" if row["instructions_per_mac"] is None else f"{row['instructions_per_mac']:.2f}"
        lines.append(
            f"  {row['op_index']:>3} {row['op']:<24} {row['instructions']:>12,}  {row['share']:>6.1%} "
            f"{row['macs']:>12,} {per_mac:>9}"
        )
    return lines


def _litert(found: Json) -> str:
    if found["package"] is None:
        return f"no other interpreter: {found['reason']}"
    text = f"{found['package']} {found['version']} ({found['kernels']}): "
    if not found["mismatched_samples"]:
        return text + "the same bytes"
    text += f"other bytes on {count(found['mismatched_samples'], 'sample')}, by {found['max_abs_diff']} at most"
    first = found["first_difference"]
    return text if first is None else f"{text}, first in op {first['op_index']} ({first['op']})"


def divergence(found: Json) -> str:
    """The first byte that differs, in one line."""
    return (
        f"sample {found['sample']}: op {found['op_index']} ({found['op']}), {clean(found['tensor'])} "
        f"[{found['index']}] is {found['actual']}, should be {found['expected']}"
    )


def run(found: Json, paint: Paint) -> str:
    """`tensorflash run`: accuracies, one line a target, and where the report lies."""
    lines: list[str] = [paint("bold", clean(found["recipe"], 100))]
    quantization = found["quantization"]
    if quantization:
        lines += ["", "accuracy on the test set"]
        for method in quantization["methods"]:
            share = f"{100 * method['accuracy']:.2f} %  {method['correct']:,} of {method['total']:,}"
            lines.append(f"  {method['name']:<13} {share}{'  <- this one' if method['chosen'] else ''}")
    if found["warnings"]:
        lines += ["", *(f"{paint('bold', 'warning')}  {clean(warning, 500)}" for warning in found["warnings"])]
    for target in found["targets"]:
        lines += ["", verdict(target["verify"], paint)]
        device = target["device_accuracy"]
        if device:
            text = (
                f"{device['correct']:,} of {device['total']:,} right on the board, "
                f"{device['host_correct']:,} on the host, {device['mismatched_samples']:,} differ"
            )
            lines += _facts([("test set", text)])
    for target in found["edgetpu"]:
        lines += ["", _edgetpu_target(target, paint)]
    reused = sum(1 for s in found["stages"] if s["reused"])
    lines += ["", f"{count(len(found['stages']), 'step')}, {reused} of them reused from an earlier run"]
    if found["problems"]:
        lines += ["", *(paint("bad", clean(p, 200)) for p in found["problems"])]
    elif found["report"] is not None and found["targets"]:
        boards_proved = ", ".join(dict.fromkeys(t["board"] for t in found["targets"]))
        lines += ["", f"{paint('good', 'proved')}  the same bytes on {boards_proved} as on the host"]
    if found["report"] is not None:
        lines.append(f"report: {found['report']}")
    return "\n".join(lines)


def _edgetpu_target(target: Json, paint: Paint) -> str:
    device = {**target["device"], "place": target["board"], "bundle": target["bundle"]}
    lines = [edgetpu_deploy(device, paint)]
    lines += _facts([("identity", target["bundle"]["identity"])])
    if target["compile_skipped"]:
        lines.append(f"  not compiled, because: {clean(target['compile_skipped'].splitlines()[0], 200)}")
    return "\n".join(lines)


def edgetpu_check(found: Json, paint: Paint) -> str:
    """`tensorflash edgetpu check`: alike ops that follow each other take one line."""
    total = found["on_edgetpu"] + found["on_cpu"]
    whole = found["on_cpu"] == 0 and found["compiles"]
    head = (
        paint("good", "maps whole") if whole else paint("bad", f"{found['on_cpu']} of {count(total, 'op')} on the CPU")
    )
    size = f"about {found['estimated_parameter_bytes']:,} bytes, {found['estimated_on_chip_bytes']:,} on the chip"
    fits = "fit" if found["fits_on_chip"] else "do not fit"
    sure = "" if found["fits_on_chip_certain"] else ", but that is close"
    unsure = sum(not op["certain"] for op in found["ops"])
    rows = [
        ("compiler", f"{found['compiler']}, runtime version {found['runtime_version']}"),
        ("parameters", f"{size}: they {fits}{sure}"),
        ("unsure", f"of {count(unsure, 'op')}"),
    ]
    lines = [f"{head}  {clean(found['model']['path'], 100)}", *_facts(rows)]
    lines += [paint("bad", f"  will not compile: {clean(problem, 300)}") for problem in found["problems"]]
    lines += ["", *table(("ops", "", "where", "sure", "why"), _edgetpu_runs(found["ops"]), paint, 120)]
    fixes = {op["fix"]: op for op in reversed(found["ops"]) if op["blocker"] and op["fix"]}
    if fixes:
        lines += ["", "what to do"]
        lines += [f"  op {op['index']} ({clean(op['op'])}): {fix}" for fix, op in reversed(fixes.items())]
    if found["cut_tensors"]:
        names = ",".join(clean(name, 200) for name in found["cut_tensors"])
        lines += ["", f"the Edge TPU's part ends at: {names}"]
    return "\n".join(lines)


def _edgetpu_runs(ops: Sequence[Json]) -> list[tuple[str, str, str, str, str]]:
    """Ops in a row with the same fate, one row each; blockers one by one."""
    runs: list[list[Json]] = []
    for op in ops:
        alike = runs and all(runs[-1][-1][key] == op[key] for key in ("target", "reason", "certain", "blocker"))
        if alike and not op["blocker"]:
            runs[-1].append(op)
        else:
            runs.append([op])
    rows = []
    for run in runs:
        first, last = run[0], run[-1]
        span = f"{first['index']}" if first is last else f"{first['index']} to {last['index']}"
        name = f"{clean(first['op'])} v{first['version']}" if first is last else f"{len(run)} ops"
        where = "Edge TPU" if first["target"] == "edgetpu" else "CPU"
        behind = "" if first["behind"] is None else f" (behind op {first['behind']})"
        rows.append((span, name, where, "yes" if first["certain"] else "no", first["reason"] + behind))
    return rows


def edgetpu_fix(found: Json, paint: Paint) -> str:
    """`tensorflash edgetpu fix`."""
    before, after, proof = found["before"], found["after"], found["proof"]
    mapped = (
        f"{before['on_edgetpu']:,} of {before['ops']:,} ops before, {after['on_edgetpu']:,} of {after['ops']:,} after"
    )
    same = "the file is a copy"
    if proof is not None:
        same = f"the same bytes on {count(proof['samples'], 'input')} ({proof['package']} {proof['version']})"
    rows = [("on Edge TPU", f"{mapped} (predicted)"), ("on the CPU", same)]
    lines = [f"{paint('good', 'written')}  {clean(found['out'], 100)}", *_facts(rows)]
    lines += ["", "repaired" if found["repairs"] else "nothing to repair automatically"]
    lines += [f"  {clean(repair, 200)}" for repair in found["repairs"]]
    lines += [paint("bad", f"  will not compile yet: {clean(problem, 300)}") for problem in after["problems"]]
    if found["suggestions"]:
        lines += ["", "what only you can do"]
        lines += [f"  {clean(suggestion, 4000)}" for suggestion in found["suggestions"]]
    return "\n".join(lines)


def edgetpu_inspection(found: Json, paint: Paint) -> str:
    """`tensorflash edgetpu inspect`."""
    totals, micro = found["totals"], found["dev_board_micro"]
    transfers = ", ".join(
        f"{name} {found['transfer_at_least_ms'][link]:.2f} ms"
        for link, name in (("usb2", "USB 2"), ("usb3", "USB 3"), ("pcie", "PCIe"))
    )
    rows = [
        ("runtime", f"version {found['minimum_runtime_version']} or newer"),
        ("chip", clean(", ".join(found["chip"]))),
        ("packages", f"{len(found['packages'])}, by compiler {clean(found['packages'][0]['compiler']) or 'unknown'}"),
        ("cached", f"{totals['cached_parameter_bytes']:,} bytes of parameters"),
        ("streamed", f"{totals['streamed_parameter_bytes']:,} bytes of parameters on each inference"),
        ("instructions", f"{totals['instruction_bytes']:,} bytes"),
        ("scratch", f"{totals['scratch_bytes']:,} bytes"),
        ("transfers", f"{totals['moved_bytes_per_inference']:,} bytes an inference; at least {transfers}"),
        ("Board Micro", "would run it" if micro["runs"] else f"would not run it: {'; '.join(micro['reasons'])}"),
        ("inputs", "; ".join(_compiled_tensor(t) for t in found["inputs"])),
        ("outputs", "; ".join(_compiled_tensor(t) for t in found["outputs"])),
    ]
    left = found["on_cpu"]
    lines = [paint("bold", clean(found["model"]["path"], 100)), *_facts(rows)]
    lines += [f"  {note}" for note in found["notes"]]
    lines += ["", f"{count(len(left), 'op')} left on the CPU" if left else "nothing left on the CPU"]
    if left:
        lines += table(("op", "name", "version"), ((op["index"], op["op"], op["version"]) for op in left), paint)
    return "\n".join(lines)


def edgetpu_compile(found: Json, paint: Paint) -> str:
    """`tensorflash edgetpu compile`."""
    lines = []
    for model in found["models"]:
        mapped, ops = model["on_edgetpu"], model["ops"]
        lines.append(f"{paint('good', 'compiled')}  {clean(model['path'], 100)}: {mapped:,} of {ops:,} ops mapped")
        for segment in model["segments"]:
            said, left = segment["said"], segment["cpu_ops"]
            rows = [
                ("package", f"{clean(segment['path'], 100)}, {segment['bytes']:,} bytes"),
                ("sha256", segment["sha256"]),
                (
                    "on the CPU",
                    clean(", ".join(left[:8]), 100) + (" .." if len(left) > 8 else "") if left else "nothing",
                ),
            ]
            for title, key in (("cached", "cached_parameter_bytes"), ("streamed", "streamed_parameter_bytes")):
                if said[key] is not None:
                    rows.append((title, f"{said[key]:,} bytes of parameters, as the compiler rounds them"))
            if segment["inspection"] is not None:
                rows.append(("runtime", f"version {segment['inspection']['minimum_runtime_version']} or newer"))
            lines += _facts(rows)
    again = len(found["attempts"]) - 1
    lines += [f"  {count(again, 'attempt')} failed before"] if again else []
    lines += [paint("bad", f"  {clean(sentence, 300)}") for sentence in found["disagreements"]]
    return "\n".join([*lines, f"  log  {clean(found['log'], 100)}"])


def edgetpu_deploy(found: Json, paint: Paint) -> str:
    """`tensorflash edgetpu deploy`."""
    compared, latency = found["comparison"], found["timing"]["latency_us"]
    where = "Edge TPU" if found["device"] == "edgetpu" else "CPU"
    top1 = compared["top1_agreement"]
    rows = [
        ("ran on", f"the {where} of {clean(found['place'], 60)}"),
        ("compared", f"{count(compared['samples'], 'sample')} with {clean(found['golden'], 60)}"),
        ("LSB", ", ".join(f"{lsb}: {codes:,}" for lsb, codes in list(compared["lsb_histogram"].items())[:10])),
        ("top class", "not a classifier" if top1 is None else f"{100 * top1:.2f} % as on the host"),
        ("two runs", "byte-identical" if found["identical_passes"] else "differ"),
        ("latency", ", ".join(f"{key} {value:,.0f} us" for key, value in latency.items() if value is not None)),
    ]
    verdict = paint("bad", "not within the bounds") if found["problems"] else paint("good", "within the bounds")
    lines = [f"{verdict}  {clean(found['bundle']['path'], 100)}", *_facts(rows)]
    lines += [f"  the CPU, because: {clean(found['reason'], 600)}"] if found["reason"] else []
    return "\n".join([*lines, *(paint("bad", f"  {clean(problem, 300)}") for problem in found["problems"])])


def _compiled_tensor(tensor: Json) -> str:
    text = f"{clean(tensor['name'], 40)} {tensor['dtype']} {shape(tensor['shape'])}"
    return f"{text} = {tensor['scale']:.6g} * (q - {tensor['zero_point']})" if tensor["scale"] else text


def boards(found: Json, paint: Paint) -> str:
    """`tensorflash boards`."""
    return "\n".join(
        table(
            ("id", "core", "features", "flash", "RAM", "runs here as", "title"),
            (
                (
                    b["id"],
                    b["core"],
                    " ".join(b["features"]) or "-",
                    b["flash_bytes"],
                    b["ram_bytes"],
                    b["runs"],
                    b["title"],
                )
                for b in found["boards"]
            ),
            paint,
        )
    )


def project(found: Json, paint: Paint) -> str:
    """`tensorflash project`."""
    lines = [f"{paint('good', 'written')}  {found['path']}"]
    if found["environments"]:
        lines.append(f"  build it:  pio run -d {found['path']} -e {found['environments'][0]}")
    lines += [f"  kept, because you changed it:  {name}" for name in found["kept"]]
    lines += [f"  replaced:  {name}" for name in found["replaced"]]
    lines += [f"  {clean(note, 200)}" for note in found["notes"]]
    return "\n".join(lines)


def doctor(found: Json, paint: Paint) -> str:
    """`tensorflash doctor`."""
    findings = found["findings"]
    names, versions = (max(len(f[key] or "-") for f in findings) for key in ("name", "found"))
    lines = []
    for f in findings:
        mark = paint("good", "ok     ") if f["ok"] else paint("bad", "missing")
        lines.append(
            f"  {mark}  {f['name']:<{names}}  {f['found'] or '-':<{versions}}  {paint('dim', f['needed_for'])}"
        )
    missing = [f for f in findings if not f["ok"]]
    if missing:
        lines += ["", "to install what is missing:"]
        lines += [f"  {command}" for command in dict.fromkeys(f["install"] for f in missing)]
    else:
        lines += ["", "everything is there"]
    return "\n".join(lines)
