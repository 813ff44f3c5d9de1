"""Runs in an environment of its own, which has BakeNN: compiles one .tflite file with it.

    python bakenn_worker.py MODEL.tflite FOLDER [cmsis_nn]

Writes FOLDER/out/, BakeNN's files, and FOLDER/answer.json: {"error": null or what BakeNN refuses, "arena_bytes",
"sources": [...], "include_dirs": [...], "defines": [...]}, paths relative to out/.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import bakenn


def compile_model(model: Path, folder: Path, cmsis_nn: bool) -> dict[str, Any]:
    """What answer.json holds."""
    out = folder / "out"
    options = bakenn.CBackendOptions(
        kernel_policy=bakenn.KernelPolicy.STATIC_PRIORITY,
        enable_cmsis_nn=cmsis_nn,
        target=bakenn.CORTEX_M4 if cmsis_nn else bakenn.PORTABLE_32,
    )
    try:
        bakenn.compile_tflite(str(model), out, name="net", backend_options=options)
    except bakenn.BakeNNError as error:
        return {"error": str(error)}
    listed = (out / "bakenn_sources.cmake").read_text(encoding="utf-8")
    sets = dict(re.findall(r"set\((BAKENN_\w+)\n(.*?)\)", listed, re.DOTALL))
    paths = {name: re.findall(r'"\$\{CMAKE_CURRENT_LIST_DIR\}/([^"]+)"', text) for name, text in sets.items()}
    arena = re.search(r"#define BKNN_NET_ARENA_SIZE (\d+)u", (out / "bknn_net.h").read_text(encoding="utf-8"))
    return {
        "error": None,
        "arena_bytes": int(arena[1]) if arena else 0,
        "sources": paths["BAKENN_MODEL_SOURCES"],
        "include_dirs": paths["BAKENN_MODEL_INCLUDE_DIRS"],
        "defines": sets["BAKENN_MODEL_COMPILE_DEFINITIONS"].split(),
    }


if __name__ == "__main__":
    answer = compile_model(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["cmsis_nn"])
    (Path(sys.argv[2]) / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
