"""The picture of a bench: a bar a runtime and figure, as SVG. Outlined bars are quoted, the others were measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.rendering import environment

Json = Mapping[str, Any]

FIGURES = (("instructions", "instructions"), ("overhead_bytes", "flash, less the weights"), ("ram_bytes", "RAM"))
_LABEL, _COLUMN, _BAR, _ROW = 190, 200, 110, 21


def rows(model: Json) -> list[dict[str, Any]]:
    """The runtimes of one model with their FIGURES: measured ones first, ours at the top, then quoted ones."""
    measured = [
        {**result, "ram_bytes": result["model_ram_bytes"], "kind": "ours" if result["runtime"] == "aot" else "other"}
        for result in model["results"]
        if result["error"] is None
    ]
    return [*measured, *({**entry, "kind": "quoted"} for entry in model["quoted"])]


def draw(found: Json) -> str:
    """The SVG of what bench_models returns."""
    models, y = [], 46
    for model in found["models"]:
        shown = rows(model)
        largest = {key: max((row[key] or 0 for row in shown), default=0) for key, _ in FIGURES}
        drawn = [
            {
                "runtime": row["runtime"],
                "kind": row["kind"],
                "y": y + 10 + _ROW * number,
                "bars": [_bar(row[key], largest[key], column) for column, (key, _) in enumerate(FIGURES)],
            }
            for number, row in enumerate(shown)
        ]
        models.append({"name": Path(model["model"]["path"]).name, "y": y, "rows": drawn})
        y += _ROW * len(shown) + 40
    return (
        environment("pipeline", "templates", escape=True)
        .get_template("bench.svg.j2")
        .render(
            title=f"One inference on {found['board']}",
            width=_LABEL + _COLUMN * len(FIGURES),
            height=y - 20,
            columns=[{"x": _LABEL + _COLUMN * i, "name": name} for i, (_, name) in enumerate(FIGURES)],
            models=models,
        )
    )


def _bar(value: int | None, largest: int, column: int) -> dict[str, Any]:
    width = None if value is None else max(1, round(_BAR * value / max(1, largest)))
    return {"x": _LABEL + _COLUMN * column, "width": width, "text": "" if value is None else f"{value:,}"}
