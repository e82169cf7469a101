"""Cluster files: Ray's own validators, KubeRay's field names, and the commands they run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from hogwild_dist.deploy.cli.commands.job import job_command
from hogwild_dist.deploy.service.config import service_config
from tests.paths import ROOT

CLUSTERS = ROOT / "deploy" / "clusters"
RAY_UP = [ROOT / "ray_cluster.yaml", CLUSTERS / "aws-cpu.yaml", CLUSTERS / "on-premises.yaml"]
SERVICE = CLUSTERS / "kuberay-service.yaml"
KUBERAY = [CLUSTERS / "kuberay-cluster.yaml", CLUSTERS / "kuberay-job.yaml", SERVICE]
FIELDS = json.loads((ROOT / "tests" / "data" / "kuberay" / "fields.json").read_text())


def test_every_cluster_file_is_looked_at() -> None:
    found = {path.resolve() for path in CLUSTERS.glob("*.yaml")}  # one is a link to the top
    assert found == {*RAY_UP, *KUBERAY}


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.name)
def test_ray_accepts_the_file(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    starts = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    assert any(target.endswith(".ray/auth_token") for target in config["file_mounts"])


@pytest.mark.parametrize("path", RAY_UP[:2], ids=lambda path: path.name)
def test_images_carry_the_ray_that_is_pinned(path: Path) -> None:
    image = yaml.safe_load(path.read_text())["docker"]["image"]
    pinned = re.search(r'"ray\[default,serve\]>=([\d.]+),', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert image.startswith(f"rayproject/ray:{pinned[1]}.")


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
def test_kuberay_knows_every_field(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    assert manifest["apiVersion"] == "ray.io/v1"
    assert unknown(manifest, manifest["kind"]) == []


def test_the_check_finds_a_wrong_name() -> None:
    manifest = yaml.safe_load(KUBERAY[0].read_text())
    manifest["spec"]["workerGroupSpecs"][0]["minReplica"] = 1
    assert unknown(manifest, "RayCluster") == ["WorkerGroupSpec.minReplica"]


def unknown(value: Any, kind: str) -> list[str]:
    """Names that the reference does not have, for a value of a kind or a list of such."""
    if isinstance(value, list):
        return [name for one in value for name in unknown(one, kind)]
    wrong = [f"{kind}.{name}" for name in value if name not in FIELDS[kind]]
    for name, inner in value.items():
        inner_kind = FIELDS[kind].get(name)
        if inner_kind is not None:
            wrong += unknown(inner, inner_kind)
    return wrong


@pytest.mark.parametrize("path", [ROOT / "deploy" / "serve.yaml", SERVICE], ids=lambda p: p.name)
def test_serve_and_the_service_accept_what_is_deployed(path: Path) -> None:
    fields = yaml.safe_load(path.read_text())
    if path == SERVICE:
        fields = yaml.safe_load(fields["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(fields).applications
    assert application.import_path == "hogwild_dist.deploy.service.app:build_app"
    config = service_config(application.args)
    assert config.keys or fields["http_options"]["host"] == "127.0.0.1"
    assert not fields["logging_config"]["enable_access_log"]


@pytest.mark.parametrize(
    "path",
    [ROOT / "ray_cluster.yaml", *KUBERAY, CLUSTERS / "README.md"],
    ids=lambda path: path.name,
)
def test_the_jobs_use_options_that_exist(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ").replace("\n#", " ")
    known = {f"--{name.replace('_', '-')}" for name in job_command.__annotations__}
    for command in re.findall(r"hogwild job(.*?)(?:\n\w|\n\n|\n#|\n  [a-z]|$)", text, re.S):
        used = set(re.findall(r"--[a-z-]+", command))
        assert used <= known
        assert "--wait-for-nodes" in used
