"""`hogwild eval` on shards gives what it gives in one process."""

import json
import subprocess
import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def evaluate(out: Path, data: Path, tiny_dir: Path, *where: str) -> list[dict]:
    words = [
        data, "--grader", "number", "--model", tiny_dir, "--dtype", "float64", "--max-tokens", 6,
        "--budgets", 3, "--finisher-tokens", 3, "--out", out,
    ]  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "hogwild_dist.deploy.cli.app",
        "eval",
        *map(str, words),
        *where,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    for record in records:
        record.pop("seconds")
    return records


def test_shards_answer_as_one_process_does(
    cluster: Cluster, tmp_path: Path, tiny_dir: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    alone = evaluate(tmp_path / "alone.jsonl", data, tiny_dir)
    shards = ("--address", cluster.address, "--shards", "2")
    assert evaluate(tmp_path / "shards.jsonl", data, tiny_dir, *shards) == alone
    assert [record["team"] for record in alone] == ["peers", "independent"]
