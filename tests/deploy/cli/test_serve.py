"""`hogwild serve` and `hogwild keys`, as a user runs them."""

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hogwild_dist.actors.settings import ShardSettings
from hogwild_dist.config import EngineConfig, ExchangeBackend, Visibility
from hogwild_dist.deploy.cli.commands.keys import new
from hogwild_dist.deploy.service.config import ServiceConfig, read_fields, service_config
from hogwild_dist.deploy.service.sessions.session_params import TeamBuilder
from hogwild_dist.errors import ConfigError
from tests.paths import ROOT


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "hogwild_dist.deploy.cli.app", *map(str, words)]


def hogwild(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, check=False)


def read_config(path: Path) -> ServiceConfig:
    return service_config(read_fields(path))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modle: x", "at 'modle': there is no such key"),
        ("shards: 65", "at 'shards': it must be 64 or less"),
        ("scale: {min_groups: 3}", "at 'scale': min_groups is 3, above max_groups"),
        ("scale: {drain_seconds: -1}", "at 'scale.drain_seconds': it must be more than 0"),
        ("scale: {overlap: maybe}", "at 'scale.overlap': it must be "),
        ("health_seconds: .inf", "at 'health_seconds': it must be a finite number"),
        ("cpus_per_shard: .nan", "at 'cpus_per_shard': it must be a finite number"),
        ("defaults: {temperature: 1.0e-300}", "at 'defaults': temperature is 1e-300; it must be"),
        ("keys: [{name: a, sha256: x}]", "at 'keys.0.sha256': it must be a text that matches "),
        ("defaults: {team: nobody}", "The default team 'nobody' is not a team of the service"),
        ("teams: [no-such.toml]", "team file 'no-such.toml' does not exist"),
        ("hosts: [a.example:8000]", "at 'hosts.0': it must be a text that matches "),
        ("hosts: []", "at 'hosts': it must be 1 or more of them"),
        ("[", "cannot be read"),
        ("- 1", "holds no fields"),
        ("max_step_tokens: 0", "max_step_tokens is 0; it must be at least 1"),
        ("prefill_chunk: 0", "prefill_chunk is 0; it must be at least 1"),
        ("prefill_chunk: many", "at 'prefill_chunk': it must be a whole number"),
        ("threads: 0", "threads is 0; it must be at least 1"),
        ("load_settings: {model: x}", "there is no key 'load_settings'"),
        ("exchange_backend: mpi", "at 'exchange_backend': it must be 'gloo' or 'nccl'"),
        ("visibility: later", "at 'visibility': it must be 'same-step', 'next-step' or"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        TeamBuilder(read_config(path))
    assert sentence in str(caught.value)
    assert not str(caught.value).endswith("..")
    assert "\n" not in str(caught.value)


def test_a_file_and_the_options_set_the_engine_of_every_shard(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text(
        'model = "m"\ndtype = "float64"\nvisibility = "overlapped"\nprefill_chunk = 64\n'
        'exchange_backend = "gloo"\n'
    )
    fields = read_fields(path) | {"max_step_tokens": 128}
    assert service_config(fields).group_settings().shard == ShardSettings(
        model="m",
        dtype="float64",
        engine=EngineConfig(
            visibility=Visibility.OVERLAPPED,
            max_step_tokens=128,
            prefill_chunk=64,
            exchange_backend=ExchangeBackend.GLOO,
        ),
    )


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    key = '[[keys]]\nname = "ann"\nsha256 = "' + "0" * 64 + '"\n'
    path.write_text(key * 2)
    with pytest.raises(ConfigError, match="two keys are called 'ann'"):
        read_config(path)
    path.write_text(key)
    assert read_config(path).keys[0].name == "ann"


@pytest.mark.slow
def test_a_port_that_is_taken_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hogwild("serve", "--port", port)
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_new_key_fits_what_the_file_is_to_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new("ann")
    shown = capsys.readouterr().out
    key = shown.splitlines()[0].removeprefix("key: ")
    path = tmp_path / "service.toml"
    path.write_text(shown[shown.index("[[keys]]") :])
    (made,) = read_config(path).keys
    assert (made.name, made.sha256) == ("ann", hashlib.sha256(key.encode()).hexdigest())
    for wrong in ("an n", "", "ann\n", "a" * 65):
        with pytest.raises(ConfigError, match="The key name"):
            new(wrong)
