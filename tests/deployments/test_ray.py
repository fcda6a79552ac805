"""Ray's own tools take what is written for them: the file of `ray up`, the RayCluster of KubeRay, and every `ray start`.

KubeRay ships no schema in a package. `Cluster` below has, closed to other names, the fields of its API reference (v1.6) that are in use; the
pods inside are held against Kubernetes' own schema in test_kubernetes.py.
"""

import copy
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from tasks.cluster import ClusterConfig
from tasks.cluster.session import _switches
from tasks.switches import switched
from tests.deployments.manifests import BASE, DEPLOYMENTS, LOCK, ROOT, Document, named

FILE = DEPLOYMENTS / "ray" / "cluster.yaml"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Head(Closed):
    service_type: str
    ray_start_params: dict[str, str]
    template: dict[str, Any]


class Workers(Closed):
    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int
    ray_start_params: dict[str, str]
    template: dict[str, Any]


class Cluster(Closed):
    ray_version: str
    head_group_spec: Head
    worker_group_specs: list[Workers]


@pytest.fixture(autouse=True)
def _ray() -> Iterator[None]:
    """Ray imported with its switches, as a session does."""
    with switched(_switches(ClusterConfig())):
        yield


@pytest.fixture
def launched() -> Document:
    """The file of `ray up`."""
    return dict(yaml.safe_load(FILE.read_text()))


def options(command: str) -> dict[str, Any]:
    """What `ray start` understands of a shell's line; raises for an option or a value that it does not know."""
    from ray.scripts.scripts import start

    words = shlex.split(re.sub(r".*\bray start |&&.*", "", command, flags=re.DOTALL))
    return dict(start.make_context("ray start", words).params)


def test_ray_up_takes_the_file(launched: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(ROOT)
    prepared = prepare_config(copy.deepcopy(launched))
    validate_config(prepared)
    assert prepared["max_workers"] == len(launched["provider"]["worker_ips"])
    with pytest.raises(Exception, match="Additional properties"):
        validate_config({**prepared, "headnode": {}})


def test_ray_up_starts_a_head_that_computes_nothing_and_workers_that_join_it(launched: Document) -> None:
    stop, head = launched["head_start_ray_commands"]
    stop_too, worker = launched["worker_start_ray_commands"]
    assert stop == stop_too == "~/nightdesk/.venv/bin/ray stop"
    assert options(head)["num_cpus"] == 0
    assert options(head)["head"]
    assert options(head)["include_dashboard"] is False
    assert options(worker)["address"] == "$RAY_HEAD_IP:6379"
    assert options(worker)["num_cpus"] is None
    for command in (head, worker):
        assert "RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 " in command
    assert "RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9 " in head
    assert "RAY_enable_autoscaler_v2=0 " in head
    assert launched["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert launched["file_mounts"]["~/nightdesk"] == "."
    assert {".venv", ".nightdesk", ".git"} == set(launched["rsync_exclude"])
    install, link = launched["setup_commands"]
    assert install == "make -C ~/nightdesk install"
    assert link.endswith("ln -sf ~/nightdesk/.venv/bin/ray ~/.local/bin/ray")


def test_kuberay_takes_the_cluster_with_the_locked_ray() -> None:
    spec = Cluster.model_validate(named("RayCluster", "ray")["spec"])
    assert spec.ray_version == LOCK["ray"]
    for group in spec.worker_group_specs:
        assert (
            group.min_replicas == group.replicas == group.max_replicas
        )  # without its autoscaler the operator keeps so many


def test_ray_reads_from_the_cluster_what_its_nodes_have() -> None:
    """Ray's own reader of a RayCluster, which its autoscaler for KubeRay has."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = copy.deepcopy(named("RayCluster", "ray"))
    cluster["metadata"]["namespace"] = "nightdesk"
    nodes = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    assert nodes["headgroup"]["resources"]["CPU"] == 0
    assert nodes["scoring"]["resources"]["CPU"] == 4
    assert nodes["scoring"]["min_workers"] == nodes["scoring"]["max_workers"] == 2


def test_ray_start_knows_every_parameter_that_kuberay_gives_it() -> None:
    spec = Cluster.model_validate(named("RayCluster", "ray")["spec"])
    for group in (spec.head_group_spec, *spec.worker_group_specs):
        line = "ray start " + " ".join(f"--{name}={value}" for name, value in group.ray_start_params.items())
        assert options(line)["object_store_memory"] == ClusterConfig().object_store_mib * 2**20
    assert options("ray start " + " ".join(f"--{n}={v}" for n, v in spec.head_group_spec.ray_start_params.items()))["num_cpus"] == 0  # fmt: skip


def test_a_flow_run_joins_ray_as_a_node_without_cpus() -> None:
    [line] = re.findall(r"\|\| (ray start .*?) &&", (BASE / "job-template.json").read_text())
    joined = options(line)
    assert (joined["num_cpus"], joined["num_gpus"]) == (0, 0)
    assert joined["object_store_memory"] == ClusterConfig().object_store_mib * 2**20
