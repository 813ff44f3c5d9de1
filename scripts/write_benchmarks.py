"""Write docs/benchmarks.md and its picture from measurements of now. Run by scripts/bench."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import tools
from pipeline.bench import bench_models, picture
from pipeline.errors import BudgetError
from pipeline.verification import verify_model
from tests.benchmark_models import MODELS

DOCS = Path(__file__).resolve().parent.parent / "docs"
SAMPLES = 10

Json = Mapping[str, Any]

# Board -> network -> instructions, flash less the weights, RAM; what each should stay below.
TARGETS = {
    "qemu_cortex_m4": {
        "AD": (390_000, 2 * 1024, 1536),
        "KWS": (4_000_000, 10 * 1024, 16_896),
        "IC": (15_500_000, 10 * 1024, 49 * 1024),
        "VWW": (11_000_000, 20 * 1024, 62 * 1024),
    },
    "qemu_cortex_m55": {
        "AD": (200_000, None, None),
        "KWS": (1_200_000, None, None),
        "IC": (3_300_000, None, None),
        "VWW": (4_200_000, None, None),
    },
}
RIVALS = {
    "qemu_cortex_m4": "",
    "qemu_cortex_m55": "",
    "qemu_cortex_m3": "No DSP extension: these are the portable C kernels.\n\n",
    "qemu_riscv32": "RV32IMC: the portable C kernels as well.\n\n",
}
OTHERS = ("qemu_cortex_m7", "qemu_cortex_m33", "qemu_cortex_m0")
MEASURED = "qemu_cortex_m4"  # in the picture, and layer by layer

HEAD = """\
# Benchmarks

Written by `scripts/bench`: instructions of one inference, softmax included, and what the model adds to flash and RAM,
on emulated cores. Every run compares all output bytes with TFLM's, ours all layers as well.

Measured at commit `{commit}` with {gcc} at `-O3` and {qemu}:

    tensorflash bench MODEL.tflite --board qemu_cortex_m4 --samples {samples}

Flash is `model_flash_bytes` - `weights_bytes`: code, kernels and tables, without weights and biases. RAM is
`model_ram_bytes`: arena, inputs, outputs and scratch. Instructions are the median of {samples} inputs.

AD and KWS are the published MLPerf Tiny files `ad01_int8.tflite` and `kws_ref_model.tflite`. IC and VWW have the shapes
of MLPerf Tiny's networks (ResNet-8 on 32 x 32 x 3; MobileNetV1 at a quarter of its width on 96 x 96 x 3) with random
weights: `python -m tests.benchmark_models FOLDER` writes them.

![Instructions, flash and RAM of each runtime on the Cortex-M4](benchmarks.svg)

"""

NOTES = """
{quoted}

BakeNN is installed by pip and built with the same firmware, compiler and flags in the same run. It refuses a batch
dimension of -1, a RESHAPE without options and SOFTMAX, which published models have: it is given models without these.
It has no target with Helium, and plans for CMSIS-NN the memory that its code for DSP needs, beyond which its code for
Helium writes: on the Cortex-M55 it has the code for DSP. Where the overrun does no visible harm, the code for Helium
takes half to two thirds of these instructions; KWS crashes.

Instructions are not cycles. The head comment of each `firmware/kernels/*_dsp.c` and `*_mve.c` says what its loads and
its code size mean on silicon; nothing here was measured on a board.
"""


def page(folder: Path) -> tuple[str, str]:
    """The page and its picture."""
    models = _models(folder)
    found = {
        board: bench_models(
            list(models.values()), board=board, samples=SAMPLES, seed=0, rivals=True, progress=_progress
        )
        for board in RIVALS
    }
    first = found[MEASURED]
    source = first["models"][0]["quoted"][0]["source"]
    parts = [
        HEAD.format(
            commit=_commit(),
            gcc=f"GCC {tools.version('arm-none-eabi-gcc')}",
            qemu=f"QEMU {tools.version('qemu-system-arm')}",
            samples=SAMPLES,
        )
    ]
    for board, kernels in RIVALS.items():
        parts.append(f"## {board}\n\n{kernels}")
        head = ("network", "runtime", "instructions", "a MAC", "flash", "RAM", "exact", "target")
        parts.append(_table(head, _rows(board, dict(zip(models, found[board]["models"], strict=True)))) + "\n")
    parts += [
        "## Other cores\n\n",
        _table(
            ("network", *(f"`{board}`" for board in OTHERS)),
            ((name, *(_instructions(path, board) for board in OTHERS)) for name, path in models.items()),
        ),
        NOTES.format(quoted=textwrap.fill(f"A runtime in italics is quoted, not measured here: {source}.", 118)),
        "\n## Where they go\n\nBy `tensorflash verify --profile` on the Cortex-M4, the layers of a kind together:\n\n",
        _table(
            ("network", "op", "layers", "MACs", "instructions", "a MAC", "share"),
            (row for name, path in models.items() for row in _profile(name, path)),
        ),
    ]
    return "".join(parts), picture.draw(first)


def _instructions(path: Path, board: str) -> str:
    """Of our runtime alone."""
    try:
        found = bench_models([path], board=board, samples=SAMPLES, seed=0, rivals=False, progress=_progress)
    except BudgetError:
        return "too large"
    return _number(found["models"][0]["results"][0]["instructions"])


def _rows(board: str, models: Mapping[str, Json]) -> Iterable[Sequence[str]]:
    for name, model in models.items():
        macs = model["model"]["macs"]
        for result in model["results"]:
            figures = result["instructions"], result["overhead_bytes"], result["model_ram_bytes"]
            ours = result["runtime"] == "aot"
            yield (
                f"**{name}**" if ours else name,
                f"**{result['runtime']}**" if ours else result["runtime"],
                *(("-",) * 4 if result["error"] else _figures(figures, macs)),
                result["error"] or ("yes" if result["exact"] else "no"),
                _target(figures, TARGETS[board][name]) if ours and board in TARGETS else "",
            )
        for quote in model["quoted"]:
            figures = quote["instructions"], quote["overhead_bytes"], quote["ram_bytes"]
            yield name, f"*{quote['runtime']}*", *_figures(figures, macs), "", ""


def _figures(figures: Sequence[int | None], macs: int) -> tuple[str, ...]:
    instructions, flash, ram = figures
    each = "-" if instructions is None else f"{instructions / macs:.2f}"
    return _number(instructions), each, _number(flash), _number(ram)


def _target(figures: Sequence[int | None], limits: Sequence[int | None]) -> str:
    """ "met", or the figures that miss their limit."""
    names = ("instructions", "flash", "RAM")
    missed = [
        f"{name} {figure - limit:,} over {limit:,}"
        for name, figure, limit in zip(names, figures, limits, strict=True)
        if limit is not None and figure is not None and figure > limit
    ]
    return "; ".join(missed) or f"met: {', '.join(_number(limit) for limit in limits if limit is not None)}"


def _profile(name: str, path: Path) -> Iterable[Sequence[str]]:
    found = verify_model(
        path, board=MEASURED, runtime="aot", samples=1, seed=0, inputs=None, golden_file=None, transport="fast",
        out=None, progress=_progress, profile=True,
    )  # fmt: skip
    whole = sum(layer["instructions"] for layer in found["layers"])
    for op in dict.fromkeys(layer["op"] for layer in found["layers"]):
        layers = [layer for layer in found["layers"] if layer["op"] == op]
        macs, count = (sum(layer[key] for layer in layers) for key in ("macs", "instructions"))
        each = f"{count / macs:.2f}" if macs else "-"
        yield name, op, str(len(layers)), _number(macs or None), _number(count), each, f"{100 * count / whole:.1f} %"


def _models(folder: Path) -> dict[str, Path]:
    zoo = os.environ.get("TENSORFLASH_MODEL_ZOO")
    published = {
        name: Path(zoo or "") / "mlperf_tiny" / file
        for name, file in (("AD", "ad01_int8.tflite"), ("KWS", "kws_ref_model.tflite"))
    }
    missing = [str(path) for path in published.values() if not path.is_file()]
    if zoo is None or missing:
        sys.exit("scripts/bench: TENSORFLASH_MODEL_ZOO has to name a folder with " + " and ".join(missing))
    made = {name: folder / f"{file}.tflite" for name, file in (("IC", "resnet8"), ("VWW", "mobilenet_v1_025"))}
    for path in made.values():
        path.write_bytes(MODELS[path.stem]())
    return published | made


def _commit() -> str:
    git = ["git", "-C", str(DOCS.parent)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return commit.stdout.strip()


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _progress(stage: str, done: int, total: int) -> None:
    if done == 0:
        print(f"{stage} ...", file=sys.stderr, flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text, drawn = page(Path(folder))
    (DOCS / "benchmarks.md").write_text(text, encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(drawn, encoding="utf-8")
    print(f"wrote {DOCS / 'benchmarks.md'} and benchmarks.svg")


if __name__ == "__main__":
    main()
