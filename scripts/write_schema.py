"""Write docs/recipe.schema.json, with which editors complete a recipe. --check only says whether it is current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.recipe import Recipe

PATH = Path(__file__).resolve().parent.parent / "docs" / "recipe.schema.json"


def schema() -> str:
    """The JSON schema of a recipe, as text."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tensorflash recipe",
        **{k: v for k, v in Recipe.model_json_schema().items() if k != "title"},
    }
    return json.dumps(document, indent=2) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        current = PATH.is_file() and PATH.read_text(encoding="utf-8") == schema()
        print(f"{PATH.name} is {'current' if current else 'out of date: run scripts/write_schema.py'}")
        return 0 if current else 1
    PATH.write_text(schema(), encoding="utf-8")
    print(f"wrote {PATH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
