"""Layers of a Keras model that a recipe means: by name, by a pattern of names (block_1_*), by class (Dense)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from pipeline.errors import RecipeError


def matches(layer: Any, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns means this layer."""
    return any(fnmatchcase(layer.name, p) or type(layer).__name__ == p for p in patterns)


def chosen(layer: Any, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a layer is one of `include` (no patterns: of all) and none of `exclude`."""
    return (not include or matches(layer, include)) and not matches(layer, exclude)


def require_matches(layers: Sequence[Any], patterns: Sequence[str], section: str) -> None:
    """Raises:  RecipeError: a pattern means no layer. section: of the recipe, for the message."""
    for pattern in patterns:
        if not any(matches(layer, (pattern,)) for layer in layers):
            names = ", ".join(layer.name for layer in layers[:20]) + (", .." if len(layers) > 20 else "")
            raise RecipeError(
                f"{section}: {pattern!r} is the name or class of no layer; there are {names}.",
                hint="a pattern such as 'block_1_*', or a class such as Conv2D.",
            )
