"""`hogwild eval` on shards gives what it gives in one process."""

import json
import subprocess
import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def words(out: Path, data: Path, tiny_dir: Path, *where: str) -> list[str]:
    options = [
        data, "--grader", "number", "--model", tiny_dir, "--dtype", "float64", "--max-tokens", 6,
        "--budgets", 3, "--finisher-tokens", 3, "--out", out, *where,
    ]  # fmt: skip
    return ["eval", *map(str, options)]


def timeless_records(out: Path) -> list[dict]:
    records = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    for record in records:
        record.pop("seconds")
    return records


def test_shards_answer_as_one_process_does(
    cluster: Cluster, tmp_path: Path, tiny_dir: Path, hogwild
) -> None:
    data, alone, shards = (tmp_path / f"{name}.jsonl" for name in ("data", "alone", "shards"))
    data.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    done = hogwild(*words(alone, data, tiny_dir))
    assert done.code == 0, done.err
    where = ("--address", cluster.address, "--shards", "2")
    command = [sys.executable, "-m", "hogwild_dist.deploy.cli.app"]
    command += words(shards, data, tiny_dir, *where)
    called = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert called.returncode == 0, called.stderr
    assert timeless_records(shards) == timeless_records(alone)
    assert [record["team"] for record in timeless_records(alone)] == ["peers", "independent"]
