"""The pages by which a reader enters the code name files and definitions that exist."""

import ast
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

PAGES = ["architecture.md", "extending.md"]

NAMED = re.compile(r"`((?:hogwild_dist|actors|deploy|tests|docs|benchmarks)/[\w./-]*)(?::(\w+))?`")
"""`path` or `path:Name` in code font."""

METHOD = re.compile(r"`([A-Z][a-z]\w*)\.(\w+)(?:\(\))?`")
"""`Class.method` in code font."""

LINK = re.compile(r"\]\(([\w./-]+\.md)?(#[\w-]+)?\)")


@cache
def defined(path: Path) -> set[str]:
    """Names that a module defines at its top."""
    return names_in(ast.parse(path.read_text(encoding="utf-8")).body)


def names_in(body: Sequence[ast.stmt]) -> set[str]:
    """Names that the body of a module or a class defines."""
    names = set()
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@cache
def members_by_class() -> dict[str, set[str]]:
    """Methods and fields of all classes of the three packages, by class name."""
    members: dict[str, set[str]] = {}
    for top in ("hogwild_dist", "actors", "deploy"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    members.setdefault(node.name, set()).update(names_in(node.body))
    return members


def headings(page: Path) -> set[str]:
    """The anchors of a page."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in found}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = NAMED.findall(text)
    assert len(named) > 15
    wrong = [path for path, _ in named if not (ROOT / path).exists()]
    wrong += [
        f"{path}:{name}"
        for path, name in named
        if name and (ROOT / path).is_file() and name not in defined(ROOT / path)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_methods_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = METHOD.findall(text)
    assert named
    members = members_by_class()
    assert [f"{cls}.{name}" for cls, name in named if name not in members.get(cls, ())] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        path = ROOT / "docs" / (target or page)
        assert path.is_file(), target
        assert not anchor or anchor[1:] in headings(path), f"{target}{anchor}"


def test_every_room_is_in_the_picture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        path.relative_to(ROOT)
        for top in ("hogwild_dist", "actors", "deploy")
        for path in (ROOT / top).iterdir()
        if path.is_dir() and not path.is_symlink() and path.name != "__pycache__"
    }
    assert [str(room) for room in rooms if f"`{room}/`" not in text] == []
