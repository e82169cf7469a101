"""`hogwild check` and `hogwild run` judge a model alike."""

import shutil
from pathlib import Path

import torch
from transformers import AutoTokenizer, CohereConfig

from hogwild_dist.model.small_model import random_model
from tests.families import SIZES
from tests.tiny_tokenizer import byte_tokenizer


def test_check_and_run_refuse_with_the_same_sentence(hogwild, tmp_path: Path) -> None:
    config = CohereConfig(**{**SIZES, "vocab_size": 258})
    random_model(config, dtype=torch.float32, device=torch.device("cpu")).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    for dtype in ("float32", "bfloat16"):
        checked = hogwild("check", tmp_path, "--dtype", dtype)
        run = hogwild("run", "Hi", "--model", tmp_path, "--dtype", dtype)
        assert (checked.code, run.code) == (2, 2)
        assert checked.err.splitlines()[-1] == run.err.splitlines()[-1]
        assert "does not rotate its keys as two halves of a head" in run.err
        assert "DIFFERS" in checked.out


def test_check_looks_at_the_chat_template(hogwild, tiny_dir: Path, tmp_path: Path) -> None:
    done = hogwild("check", tiny_dir)
    assert done.code == 0
    assert "has no chat template, so prompts are plain text" in done.out
    model = tmp_path / "model"
    shutil.copytree(tiny_dir, model)
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    tokenizer.chat_template = "{% for m in messages %}"
    tokenizer.save_pretrained(model)
    checked, run = hogwild("check", model), hogwild("run", "Hi", "--model", model)
    assert (checked.code, run.code) == (2, 2)
    assert "The chat template of the model fails" in checked.err
    assert checked.err == run.err
