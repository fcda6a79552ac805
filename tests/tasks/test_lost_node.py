"""A cluster of several nodes, one of which is lost while a night is scored on it."""

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.cluster import ClusterConfig, ScoringJob, score_on_ray
from tasks.cluster.session import _switches, _without_api_server
from tasks.lake import Lake
from tasks.shards import Shard, cut, gather, same_ids
from tasks.switches import switched
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")]
NIGHT = dt.date(2026, 3, 2)
CONFIG = ClusterConfig(workers=2, cpus_per_worker=1.0, threads_per_worker=1, no_progress_seconds=200)
SOON_MISSED = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
Rows = list[tuple[str, str, str | None]]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head, where this process is, and two nodes, on each of which there is a worker and room for another."""
    with switched({**_switches(CONFIG), **SOON_MISSED}):
        import ray
        from ray.cluster_utils import Cluster
        from ray.job_config import JobConfig

        folder = tempfile.mkdtemp(prefix="nd-", dir="/tmp")
        place = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20, "include_dashboard": False}
        Path(tempfile.gettempdir(), "ray").mkdir(
            exist_ok=True
        )  # where Ray notes a head's address, without making the folder
        nodes = Cluster()
        try:
            with _without_api_server():
                for more in ({"num_cpus": 0, "temp_dir": folder}, {"num_cpus": 2}, {"num_cpus": 2}):
                    node = nodes.add_node(wait=False, **place, **more)  # it would wait for 30 s
                    nodes._wait_for_node(node, PATIENCE_SECONDS)
            job = JobConfig(_py_driver_sys_path=[str(Path(__file__).parents[2])])
            ray.init(address=nodes.address, job_config=job, log_to_driver=False)
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def test_a_lost_node_loses_and_doubles_no_row(
    cluster: Any, tmp_path: Path, tiny_bundle: Path, news: Callable[[int], Rows]
) -> None:
    stage = Lake.open(str(tmp_path)).stage(NIGHT)
    texts = pl.DataFrame(news(400), schema=["id", "title", "body"], orient="row").to_arrow()
    shards = cut(texts, stage, rows_per_shard=8)
    job = ScoringJob(bundles=(str(tiny_bundle),), lake_url=str(tmp_path), model="m", cluster=CONFIG)
    finished: list[Shard] = []
    for shard, _ in score_on_ray(shards, job):
        finished.append(shard)
        if len(finished) == 5:
            lost = next(iter(cluster.worker_nodes))
            cluster.remove_node(lost, allow_graceful=False)
    assert sorted(shard.key for shard in finished) == sorted(shard.key for shard in shards)
    same_ids(texts, gather(shards, stage, "m"))
