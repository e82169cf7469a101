"""Rooms import downwards only, and the engine knows nothing of Ray."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

FOLDERS = {
    "hogwild_dist": ROOT / "hogwild_dist",
    "hogwild_dist.actors": ROOT / "actors",
    "hogwild_dist.deploy": ROOT / "deploy",
}
"""Installed name -> the folder that holds it; `pyproject.toml` maps them alike."""

FLOORS: dict[str, list[set[str]]] = {
    "hogwild_dist": [
        {"evaluation"},
        {"run"},
        {"engine", "team"},
        {"session"},
        {"model"},
        {"attention"},
        {"exchange"},
        {"kvcache"},
        {"config", "timeline"},
        {"settings"},
        {"errors", "environment"},
    ],
    "hogwild_dist.actors": [
        {"client"},
        {"driver"},
        {"shard", "placement"},
        {"metrics", "logs", "detached", "watched"},
        {"settings"},
        {"errors"},
    ],
    "hogwild_dist.deploy": [{"cli"}, {"service", "view"}],
    "hogwild_dist.deploy.cli": [
        {"main"},
        {"app"},
        {"lazy"},
        {"commands"},
        {"execution"},
        {"options"},
        {"sources", "progress"},
        {"output"},
    ],
    "hogwild_dist.deploy.service": [
        {"default"},
        {"app"},
        {"http", "replicas"},
        {"openai"},
        {"sessions"},
        {"keys", "metrics"},
        {"config", "errors", "failures"},
    ],
}
"""Package -> its rooms from the top floor to the ground; rooms of one floor do not meet."""

ENGINE_ALONE = {"ray", "fastapi", "typer", "hogwild_dist.actors", "hogwild_dist.deploy"}
"""What the engine never imports."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module under its installed name."""
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "hogwild_dist" and parts[0] in {"actors", "deploy"}:
                continue  # a link in the checkout
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports; names out of a package count with it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, packages: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def floor_of(package: str, module: str) -> tuple[str, int] | None:
    """A module's room in a package, and the room's floor; None for what lies outside of rooms."""
    room = module.removeprefix(f"{package}.").partition(".")[0]
    for floor, rooms in enumerate(FLOORS[package]):
        if room in rooms and module.startswith(f"{package}."):
            return room, floor
    return None


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_downwards(package: str) -> None:
    wrong = []
    for module, path in modules():
        source = floor_of(package, module)
        for name in imported(path) if source else ():
            target = floor_of(package, name)
            if target and target[0] != source[0] and target[1] <= source[1]:
                wrong.append(f"{module} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {
        module.removeprefix(f"{package}.").partition(".")[0]
        for module, _ in modules()
        if module.startswith(f"{package}.")
    } - {"actors", "deploy"}
    listed = [room for floor in FLOORS[package] for room in floor]
    assert rooms <= set(listed)
    assert len(listed) == len(set(listed))


def test_layers_import_downwards() -> None:
    wrong = []
    for module, path in modules():
        actors = within(module, {"hogwild_dist.actors"})
        deploy = within(module, {"hogwild_dist.deploy"})
        forbidden = {"hogwild_dist.deploy"} if actors else set() if deploy else ENGINE_ALONE
        wrong += [f"{module} imports {name}" for name in imported(path) if within(name, forbidden)]
    assert wrong == []


def test_nothing_imports_by_a_name_that_a_user_s_folder_may_have() -> None:
    """`import deploy` finds whatever lies where the user stands."""
    sources = [path for _, path in modules()]
    sources += [path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources
        for name in imported(path)
        if within(name, {"actors", "deploy"})
    ]
    assert wrong == []


def test_every_folder_is_a_package_that_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = project["tool"]["setuptools"]["packages"]
    found = {
        module if path.stem == "__init__" else module.rpartition(".")[0]
        for module, path in modules()
    }
    assert sorted(installed) == sorted(found)
    mapped = project["tool"]["setuptools"]["package-dir"]
    assert {name: ROOT / folder for name, folder in mapped.items()} == {
        name: folder for name, folder in FOLDERS.items() if name != "hogwild_dist"
    }


def test_the_engine_imports_where_ray_and_gguf_cannot_be() -> None:
    code = (
        "import sys; sys.modules['ray'] = sys.modules['gguf'] = None; import hogwild_dist; "
        "print([getattr(hogwild_dist, name) for name in hogwild_dist.__all__])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Run" in done.stdout


def test_processes_without_a_model_do_not_load_its_code() -> None:
    """Drivers, ingresses and most commands start without it in half the time."""
    code = (
        "import sys; import hogwild_dist.actors.driver.driver, hogwild_dist.deploy.service.app; "
        "print('transformers.modeling_utils' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_only_one_module_touches_the_environment() -> None:
    readers = [
        module
        for module, path in modules()
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["hogwild_dist.environment"]


def test_the_engine_s_tests_need_no_ray() -> None:
    """So that they run where it is not installed."""
    tests = ROOT / "tests"
    files = [
        path
        for path in tests.rglob("*.py")
        if path.relative_to(tests).parts[0] not in {"actors", "deploy", "faults"}
    ]
    assert len(files) > 30
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if within(name, {"ray", "hogwild_dist.actors", "hogwild_dist.deploy"})
    ]
    assert wrong == []
