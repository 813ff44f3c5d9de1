"""What the scripts that write a document share."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(path: Path, text: str) -> int:
    """Write a document, or with --check only say whether it is current. Returns the exit code."""
    if "--check" in sys.argv[1:]:
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        print(f"{path.name} is {'current' if current else f'out of date: run scripts/{Path(sys.argv[0]).name}'}")
        return 0 if current else 1
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}")
    return 0
