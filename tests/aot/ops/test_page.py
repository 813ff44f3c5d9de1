"""docs/operators.md lists the ops that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.aot.ops import LOWERINGS

ROOT = Path(__file__).parents[3]


def test_the_page_of_operators_is_current() -> None:
    script = ROOT / "scripts" / "write_operators.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs" / "operators.md").read_text()
    assert all(f"| `{op}` |" in page for op in LOWERINGS)
