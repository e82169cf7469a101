"""Layers import downwards only, and the engine knows nothing of Ray."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

FORBIDDEN = {
    "hogwild_dist": {"ray", "actors", "deploy"},
    "actors": {"deploy"},
    "deploy": set(),
}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_imports_go_downwards(layer: str) -> None:
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    wrong = {str(path): imported(path) & FORBIDDEN[layer] for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_engine_imports_where_ray_cannot_be() -> None:
    code = (
        "import sys; sys.modules['ray'] = None; import hogwild_dist; "
        "print([getattr(hogwild_dist, name) for name in hogwild_dist.__all__])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Run" in done.stdout


def test_only_settings_reads_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for layer in FORBIDDEN
        for path in (ROOT / layer).rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["hogwild_dist/model/hub/settings.py"]


def test_the_engine_s_tests_need_no_ray() -> None:
    """So that they run where it is not installed."""
    elsewhere = {"actors", "deploy", "service"}
    files = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if path.relative_to(ROOT / "tests").parts[0] not in elsewhere
    ]
    assert len(files) > 30
    assert {str(path) for path in files if imported(path) & {"ray", "actors", "deploy"}} == set()
