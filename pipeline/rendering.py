"""Templates, filled in: those of firmware/templates here, those of pages and bundles by their own modules."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

import jinja2


def render(template: str, values: Mapping[str, object]) -> bytes:
    """The text of one template of firmware/templates, as UTF-8. A value it lacks is an error."""
    return _firmware().get_template(template).render(values).encode()


def environment(package: str, folder: str, *, escape: bool) -> jinja2.Environment:
    """The templates in a folder of a package, which want all their values.

    Args:    escape: for HTML and SVG. In C, INI and Python names are checked, and other text is made plain before.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(str(package_files(package))) / folder),
        autoescape=escape,  # noqa: S701
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _firmware() -> jinja2.Environment:
    return environment("pipeline.firmware", "templates", escape=False)
