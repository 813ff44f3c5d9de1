"""Files of the repository that must agree with each other."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import pipeline

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "examples").rglob("*.md")]
)


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == pipeline.__version__
    assert re.search(
        rf"^## \[?({re.escape(pipeline.__version__)}|Unreleased)\b", (REPOSITORY / "CHANGELOG.md").read_text(), re.M
    )


def test_the_licence_is_the_whole_apache_2_0() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_package_is_in_the_distribution() -> None:
    packages = {
        ".".join(path.parent.relative_to(REPOSITORY).parts) for path in (REPOSITORY / "pipeline").rglob("__init__.py")
    }
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    assert packages == {name for name in listed if name not in PROJECT["tool"]["setuptools"]["package-dir"]}


def test_nobody_installs_tensorflow_to_verify_a_model() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    with_tensorflow = {name for name, needs in extras.items() if any(need.startswith("tensorflow>") for need in needs)}
    assert with_tensorflow == {"train"}
    assert not any("tensorflow" in need for need in PROJECT["project"]["dependencies"])


@pytest.mark.parametrize("extra", ["all", "dev"])
def test_what_set_up_installs_exists(extra: str) -> None:
    assert extra in PROJECT["project"]["optional-dependencies"]
    assert ".[all,dev]" in (REPOSITORY / "scripts" / "setup").read_text()


def test_every_dependency_has_a_range_that_was_tried() -> None:
    project = PROJECT["project"]
    unbounded = {"flatbuffers"}  # follows the schema's version
    for need in [
        *project["dependencies"],
        *(n for e, ns in project["optional-dependencies"].items() if e != "dev" for n in ns),
    ]:
        name = re.split(r"[^A-Za-z0-9_.-]", need)[0]
        if name not in unbounded | {"tensorflash"}:
            assert ">=" in need and "<" in need, need


def test_every_test_marker_is_declared() -> None:
    declared = {marker.split(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    used = {
        marker
        for path in (REPOSITORY / "tests").rglob("*.py")
        for marker in re.findall(r"pytest\.mark\.([a-z_]+)", path.read_text())
    }
    assert used - {"parametrize", "skipif", "usefixtures", "filterwarnings"} <= declared


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text()):
        found = path.parent / target if target else path
        assert found.exists(), f"{path}: link to {target}"
        assert not anchor or anchor in _anchors(found), f"{path}: link to {target}#{anchor}"


def test_every_document_is_linked_from_another() -> None:
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert any(f"{page.name})" in path.read_text() or f"{page.name}#" in path.read_text()
                   for path in DOCUMENTS if path != page), f"nothing leads to {page}"  # fmt: skip


def _anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_that_documents_name_exist(path: Path) -> None:
    """`pipeline/plan.py` in backticks, with a folder of this repository before it; <op> and * stand for a name."""
    for name in re.findall(r"`((?:pipeline|firmware|tests|scripts|docs|examples)/[\w./-]+)`", path.read_text()):
        assert (REPOSITORY / name).exists(), f"{path}: names {name}"


def test_the_readme_begins_with_the_two_commands_that_always_work() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert text.index("./scripts/demo") < 2500
    assert "./scripts/test" in text
