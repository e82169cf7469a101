"""The command line, called in this process."""

import sys
from dataclasses import dataclass

import pytest

from hogwild_dist.deploy.cli.app import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def hogwild(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["hogwild", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capsys.readouterr()
        return Done(int(exit_info.value.code or 0), out, err)

    return call
