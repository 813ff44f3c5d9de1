"""Write docs/recipe.schema.json, with which editors complete a recipe. --check only says whether it is current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from generated import write_or_check

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


if __name__ == "__main__":
    sys.exit(write_or_check(PATH, schema()))
