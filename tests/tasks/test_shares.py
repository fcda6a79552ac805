"""What a worker has of a machine or a cluster: cores, GPUs, tokens of a batch."""

from types import SimpleNamespace

import pytest
import torch

from models.backends import machine
from models.batching import CPU_TOKENS, GPU_TOKENS
from tasks.cluster import ClusterConfig
from tasks.cluster.session import _switches, gpus_per_worker, threads_here
from tasks.switches import switched

NAMED = "head:6379"


@pytest.fixture(autouse=True)
def ray_as_a_session_imports_it() -> None:
    """Ray reads its switches once in a process, when it is first imported; without them no session could start in this one."""
    with switched(_switches(ClusterConfig())):
        import ray  # noqa: F401


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16."""
    monkeypatch.setattr(machine, "cores", lambda: 16)


@pytest.mark.usefixtures("cores")
def test_the_cores_of_this_machine_are_shared_among_the_workers_that_have_work() -> None:
    assert ClusterConfig(workers=1).threads() == 16
    assert ClusterConfig(workers=1, max_workers=32).threads() == 1
    assert ClusterConfig(workers=1, threads_per_worker=7).threads() == 7
    eight = ClusterConfig(workers=2, max_workers=8)
    assert [eight.at_most(shards).threads() for shards in (1, 3, 8, 100)] == [16, 5, 2, 2]
    assert [(some.workers, some.most_workers) for some in (eight.at_most(1), eight.at_most(3))] == [(1, 1), (2, 3)]


@pytest.mark.parametrize(
    ("given", "threads", "reserved"),
    [
        ({}, 1, 1.0),
        ({"cpus_per_worker": 3.5}, 3, 3.5),
        ({"threads_per_worker": 4}, 4, 4.0),
        ({"cpus_per_worker": 6.0, "threads_per_worker": 4}, 4, 6.0),
    ],
)
def test_a_worker_on_a_cluster_that_was_named_reserves_a_cpu_for_each_thread(
    given: dict[str, float], threads: int, reserved: float
) -> None:
    config = ClusterConfig(address=NAMED, workers=9, **given)  # type: ignore[arg-type]
    assert (config.threads(), config.cpus_each, config.reserved_cpus) == (threads, reserved, 9 * reserved)
    assert config.training(2).cpus_each == reserved


def test_a_ray_of_our_own_reserves_what_it_is_told() -> None:
    assert ClusterConfig(threads_per_worker=4).cpus_each == 0.5
    assert ClusterConfig(threads_per_worker=4, max_workers=8).training(3).reserved_cpus == 3


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("given", "beside", "cpus", "threads"),
    [(0, 2, 16.0, 8), (0, 3, 8.0, 2), (0, 9, 8.0, 1), (0, 2, 64.0, 8), (5, 2, 8.0, 5)],
)
def test_a_worker_that_trains_shares_the_cpus_of_its_node(
    monkeypatch: pytest.MonkeyPatch, given: int, beside: int, cpus: float, threads: int
) -> None:
    """As many as Ray counts there, but no more than the process may use: a Ray of our own counts some that are not there."""
    nodes = [{"NodeID": "other", "Resources": {"CPU": 2.0}}, {"NodeID": "mine", "Resources": {"CPU": cpus}}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "mine"))
    assert threads_here(given, beside) == threads


@pytest.mark.parametrize(
    ("workers", "gpus", "share"),
    [(2, 0.0, 0.0), (2, 2.0, 1.0), (3, 2.0, 0.5), (2, 8.0, 1.0), (7, 2.0, 0.25), (3, 1.0, 0.33)],
)
def test_workers_share_gpus_so_that_all_have_a_place(
    monkeypatch: pytest.MonkeyPatch, workers: int, gpus: float, share: float
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"GPU": gpus} if gpus else {})
    assert gpus_per_worker(ClusterConfig(workers=workers)) == share
    assert not gpus or int(gpus) * int(1 / share) >= workers
    assert gpus_per_worker(ClusterConfig(workers=workers, gpus_per_worker=0.2)) == 0.2


def test_batches_are_as_large_as_suits_the_process_that_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ClusterConfig().batch_tokens() == CPU_TOKENS
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert ClusterConfig().batch_tokens() == GPU_TOKENS
    assert ClusterConfig(token_budget=512).batch_tokens() == 512
