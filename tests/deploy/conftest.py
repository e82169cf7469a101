import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from hogwild_dist.deploy.cli.app import main
from tests.tiny_tokenizer import VOCAB_SIZE, byte_tokenizer


@pytest.fixture(scope="session")
def gpt2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with learned positions."""
    config = GPT2Config(vocab_size=VOCAB_SIZE, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    GPT2LMHeadModel(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


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
