"""A recipe that is carried out in seconds: a model of two ops, twelve test samples, nothing to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.test_cli import small_model

TARGET = "native"
SAMPLES = 5


def write(folder: Path, *, target: str = TARGET, samples: int = SAMPLES, **changes: str) -> Path:
    """Write the model, the data and recipe.yaml into a folder.

    changes are the recipe's sections as YAML; an empty one leaves the section out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.tflite").write_bytes(small_model().build())
    write_data(folder / "data.npz")
    sections = {
        "name": "tiny",
        "model": "{tflite: small.tflite}",
        "data": "{npz: data.npz}",
        "targets": f"[{{board: {target}}}]",
        "verify": f"{{samples: {samples}, layer_samples: 2}}",
        "labels": "[left, middle, right]",
        **changes,
    }
    text = "".join(f"{key}: {value}\n" for key, value in sections.items() if value)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder / "recipe.yaml"


def write_data(path: Path, seed: int = 0) -> None:
    """A test set of twelve samples in three classes."""
    random = np.random.Generator(np.random.PCG64(seed))
    np.savez(path, x_test=random.uniform(-2, 2, (12, 4)).astype(np.float32), y_test=np.arange(12) % 3)


def report(work: Path) -> dict[str, Any]:
    """The report in a work folder, without how long things took."""
    found: dict[str, Any] = json.loads((work / "report" / "report.json").read_text(encoding="utf-8"))
    assert found.pop("timing")
    return found


def leftovers(folder: Path) -> list[str]:
    """What a run that ended in any way must not leave: half-made steps and files."""
    scraps = (".tmp-", ".report.", ".junit.", "tensorflash-scratch-")
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(scraps) or path.suffix == ".new")
