"""The troubleshooting tables of docs/edgetpu.md are those that the messages come from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.edgetpu import troubles

PAGE = Path(__file__).parents[2] / "docs" / "edgetpu.md"
TABLES = (troubles.COMPILER, troubles.STATUS, troubles.RUNTIME, troubles.SSH)


def test_the_tables_in_the_documentation_are_current() -> None:
    head, marker, _ = PAGE.read_text(encoding="utf-8").partition("tests/edgetpu/test_troubles.py -->\n\n")
    assert marker
    current = head + marker + troubles.markdown()
    if os.environ.get("TENSORFLASH_UPDATE_GOLDEN"):
        PAGE.write_text(current, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == current, "TENSORFLASH_UPDATE_GOLDEN=1 writes them again"


def test_every_trouble_has_a_name_a_cause_and_a_remedy_of_its_own() -> None:
    known = [trouble for table in TABLES for trouble in table]
    assert len({trouble.kind for trouble in known}) == len(known)
    for trouble in known:
        assert trouble.says
        assert trouble.cause.endswith(".")
        assert trouble.remedy.endswith(".")
        re.compile(trouble.pattern)


def test_rows_of_the_tables_have_three_cells() -> None:
    rows = [line for line in troubles.markdown().splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_a_trouble_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        troubles.by_kind("weather", troubles.RUNTIME)
