"""The installed wheel, outside the checkout, where a user's own `actors` and `deploy` lie about."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.actors.leftovers import comes_true
from tests.paths import ROOT

pytestmark = pytest.mark.slow

SOURCES = (
    "hogwild_dist",
    "actors",
    "deploy",
    "pyproject.toml",
    "ray_cluster.yaml",
    "README.md",
    "LICENSE",
)

FIELDS = ("--max-tokens", 8, "--device", "cpu", "--threads", 1, "--cache-tokens", 8_192)

Hogwild = Callable[..., str]


def run(*words: object, **options: object) -> str:
    """A command's output; a failure shows what it said."""
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that holds the wheel; its dependencies are this one's."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        found = ROOT / name
        if found.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(found, source / name)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    binaries = folder / "venv" / "bin"
    run(*pip, "--python", binaries / "python", "install", "--no-deps", wheel)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(binaries / "python", "-c", code).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return binaries


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that holds packages of a user's own, under the names of this project's folders."""
    for name in ("actors", "deploy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    return tmp_path


@pytest.fixture
def environment(home: Path, binaries: Path) -> dict[str, str]:
    """Variables under which a user's programs run in that folder."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    cache = own.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = f"{binaries}{os.pathsep}{own['PATH']}"
    return own | {"PATH": path, "XDG_CACHE_HOME": cache, "RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def hogwild(home: Path, binaries: Path, environment: dict[str, str]) -> Hogwild:
    return lambda *words: run(binaries / "hogwild", *words, cwd=home, env=environment)


def test_the_package_is_the_installed_one(
    binaries: Path, home: Path, environment: dict[str, str]
) -> None:
    code = "import hogwild_dist.actors, hogwild_dist.deploy as one; print(one.__file__)"
    found = run(binaries / "python", "-c", code, cwd=home, env=environment).strip()
    assert Path(found).is_relative_to(binaries.parent)


def test_files_that_are_no_code_are_installed(hogwild: Hogwild, home: Path) -> None:
    assert hogwild("--version").split() == ["hogwild", "0.2.0"]
    assert "solver-critic" in hogwild("teams")
    assert "[[workers]]" in hogwild("teams", "show", "coordinator")
    assert "rules_second.jinja" in hogwild("prompts", "show")
    hogwild("prompts", "export", "own")
    assert (home / "own" / "blocks" / "separator.jinja").is_file()
    hogwild("deploy-files", "cluster")
    here = {
        path.relative_to(home / "cluster").name
        for path in (home / "cluster").rglob("*")
        if path.is_file()
    }
    assert {"ray_cluster.yaml", "serve.yaml", "kuberay-service.yaml", "hogwild.json"} <= here


def test_a_team_runs_in_one_process_and_is_graded(
    hogwild: Hogwild, home: Path, tiny_dir: Path
) -> None:
    assert "Ann" in hogwild(
        "run", "Count!", "--model", tiny_dir, *FIELDS, "--worker", "Ann", "--worker", "Ben"
    )  # fmt: skip
    (home / "data.jsonl").write_text('{"question": "1+1?", "answer": 2}\n')
    hogwild(
        "eval", "data.jsonl", "--grader", "number", "--teams", "peers", "--finisher-tokens", 4,
        "--out", "results.jsonl", "--model", tiny_dir, *FIELDS,
    )  # fmt: skip
    assert "peers" in hogwild("report", "results.jsonl", "--out", "page.html")
    assert "<html" in (home / "page.html").read_text()


def test_a_job_runs_on_shards(hogwild: Hogwild, home: Path, tiny_dir: Path) -> None:
    """Ray's workers start where the user stands, and import the installed package all the same."""
    (home / "problems.jsonl").write_text('{"id": 1, "problem": "Count!"}\n')
    hogwild("job", "problems.jsonl", "done.jsonl", "--shards", 2, "--model", tiny_dir, *FIELDS)
    (line,) = (home / "done.jsonl").read_text().splitlines()
    assert json.loads(line).get("error") is None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_service_starts_answers_shows_its_page_and_ends(
    binaries: Path, home: Path, environment: dict[str, str], tiny_dir: Path
) -> None:
    port = free_port()
    words = ("serve", "--model", tiny_dir, "--port", port, "--threads", 1, "--cache-tokens", 8_192)
    with subprocess.Popen(
        [str(binaries / "hogwild"), *map(str, words)], cwd=home, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            use_and_end(process, port)
        finally:
            process.kill()
    assert comes_true(lambda: not listens(port), 10.0)


def use_and_end(process: subprocess.Popen[str], port: int) -> None:
    assert process.stdout is not None
    shown = [process.stdout.readline() for _ in range(4)]
    assert shown[0].split() == ["page", f"http://127.0.0.1:{port}/"]
    assert "model 'tiny'" in shown[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        assert "<html" in client.get("/").text
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 6}
        reply = client.post("/v1/chat/completions", json=body)
        assert reply.json()["usage"]["completion_tokens"] <= 6
        rebound = client.get("/v1/info", headers={"Host": f"evil.test:{port}"})
        assert rebound.status_code == 400
        assert "calls the host 'evil.test" in rebound.json()["error"]["message"]
    assert httpx.get(f"http://localhost:{port}/v1/info").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_serve_finds_the_application_by_the_name_in_the_docs(
    binaries: Path, home: Path, environment: dict[str, str]
) -> None:
    """`serve run` puts the current folder before all others."""
    run(
        binaries / "python", "-c",
        "import sys; sys.path.insert(0, '.'); from ray._common.utils import import_attr; "
        "print(import_attr('hogwild_dist.deploy.service.app:build_app'))",
        cwd=home, env=environment,
    )  # fmt: skip
    kept = (ROOT / "deploy" / "serve.yaml").read_text()
    assert "import_path: hogwild_dist.deploy.service.app:build_app" in kept
