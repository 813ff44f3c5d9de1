"""What makes `pytest --pyargs pipeline.device_tests` know its options, and every other run of pytest not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_NAMED = re.compile(r"(^|[./\\])device_tests($|[./\\:])")


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Loads the suite where an argument names it."""
    if names_the_suite(args):
        early_config.pluginmanager.import_plugin("pipeline.device_tests.suite")
        from .suite import in_parallel

        args[:] = [*in_parallel(args), *args]


def names_the_suite(args: Sequence[str]) -> bool:
    """Whether one of pytest's arguments is this package, by its name or by its path."""
    return any(_NAMED.search(argument) for argument in args if not argument.startswith("-"))
