"""The steps of docs/extending.md, followed: the kernel of the page in a real run."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from hogwild_dist.config import EngineConfig
from hogwild_dist.run.run import Run
from hogwild_dist.team.team import Limits, Team
from tests.paths import ROOT
from tests.tiny_engine import tiny_byte_model, tiny_engine
from tests.tiny_team import PROMPTS

BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def block_of(section: str, first_line: str) -> str:
    """A block of Python of a section, by its first line."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    part = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    blocks = [textwrap.dedent(match[2]) for match in BLOCK.finditer(part)]
    (found,) = [block for block in blocks if block.startswith(first_line)]
    return found


def texts(config: EngineConfig) -> Mapping[str, str]:
    team = Team(names=("Ann", "Ben"), prompts=PROMPTS, limits=Limits(max_tokens=20))
    run = Run(tiny_engine(tiny_byte_model(), attention=config.attention), "Count!", team)
    for _ in run:
        pass
    return run.result.texts


def test_the_kernel_of_the_page_runs_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_kernel.py").write_text(block_of("An attention kernel", "# my_kernel.py"))
    monkeypatch.syspath_prepend(tmp_path)
    code = block_of("An attention kernel", "from hogwild_dist import EngineConfig, load")
    asked: list[EngineConfig] = []

    def load(config: EngineConfig) -> None:
        asked.append(config)

    imports, _, call = code.partition("\n\n")
    exec(imports, namespace := {})
    exec(call, namespace | {"load": load})
    assert texts(asked[0]) == texts(EngineConfig())
