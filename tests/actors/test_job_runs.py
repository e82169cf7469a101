"""A batch job on a real cluster."""

import json
import subprocess
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from tests.paths import ROOT


def job(cluster_address: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hogwild_dist.deploy.cli.app", "job", *map(str, arguments)]
    command += ["--address", cluster_address, "--shards", "2", "--dtype", "float64"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_job_goes_on_where_it_stopped(
    cluster: Cluster, tiny_dir: Path, tmp_path: Path, hogwild
) -> None:
    problems, results = tmp_path / "p.jsonl", tmp_path / "r.jsonl"
    lines = [{"id": f"p{i}", "problem": f"Count to {i}!"} for i in range(5)]
    lines.append({"id": "long", "problem": "Count! " * 700})
    problems.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = {"id": "p0", "problem": "Count to 0!", "texts": {}, "error": None}
    results.write_text(json.dumps(before) + "\n" + '{"id": "p1", "te')
    done = job(cluster.address, problems, results, "--model", tiny_dir, "--max-tokens", 6)
    assert done.returncode == 0, done.stderr
    assert "6 problems, 1 done before" in done.stdout
    assert "5 of 5: " in done.stdout
    written = [json.loads(line) for line in results.read_text().splitlines()]
    assert written[0] == before
    assert sorted(line["id"] for line in written) == ["long", "p0", "p1", "p2", "p3", "p4"]
    by_id = {line["id"]: line for line in written}
    assert "and the context of" in by_id["long"]["error"]
    assert by_id["p3"]["num_tokens"] == {"Alice": 6, "Bob": 6}
    again = hogwild("job", problems, results, "--model", tiny_dir, "--address", cluster.address)
    assert "6 problems, 6 done before" in again.out
