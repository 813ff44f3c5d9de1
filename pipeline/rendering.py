"""The templates of firmware/templates, filled in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path

import jinja2

_TEMPLATES = Path(str(package_files("pipeline.firmware"))) / "templates"


def render(template: str, values: Mapping[str, object]) -> bytes:
    """The text of one template, as UTF-8. A value it lacks is an error."""
    environment = jinja2.Environment(  # noqa: S701 (C and INI, not HTML; names are checked, other text is made plain)
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values).encode()
