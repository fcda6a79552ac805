"""A cluster that `ray start` has started, named in the settings: what deployments/README.md tells is done here, on the loopback."""

import datetime as dt
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal

from tasks.cluster import ClusterConfig
from tasks.lake import Lake
from tasks.score import score
from tests.loopback import free_ports
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
POOL = ROOT / "deployments" / "kubernetes" / "base" / "job-template.json"
NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC)
HEAD, NODE, POD = (
    "127.0.0.2",
    "127.0.0.3",
    "127.0.0.4",
)  # each as a machine of its own; for 127.0.0.1 Ray would put another address
STORE = "--object-store-memory=83886080"
Rows = list[tuple[str, str, str | None]]

SCRIPT = """
import datetime as dt, sys
from tasks.cluster import ClusterConfig
from tasks.score import score
lake, bundle, address = sys.argv[1:]
cluster = ClusterConfig(address=address, workers=2, cpus_per_worker=1.0, rows_per_shard=8, no_progress_seconds=400)
now = dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC)
print(score.fn(lake, night=dt.date(2026, 3, 2), now=now, run_id="r", bundles=[bundle], cluster=cluster).where)
"""


@dataclass(frozen=True)
class Named:
    """A cluster, where it is, and the environment of whoever may join it."""

    address: str
    environ: dict[str, str]
    outbound: Path


@pytest.fixture
def cluster() -> Iterator[Named]:
    """A head that computes nothing and a node with two CPUs, with a token, each started as a machine of a cluster starts it."""
    folder = Path(tempfile.mkdtemp(prefix="nd-", dir="/tmp"))
    environ = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "GUARD_LOG": str(folder / "outbound"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
        "RAY_worker_niceness": "0",  # Ray's default of 15 starves beside anything else that the machine does
    }
    (port,) = free_ports(1, HEAD)
    address = f"{HEAD}:{port}"
    head = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    started = []
    try:
        for name, arguments in ((HEAD, head), (NODE, [f"--address={address}", "--num-cpus=2"])):
            with (folder / name).open("w") as said:
                command = ["ray", "start", *arguments, f"--node-ip-address={name}", STORE, "--block"]
                started.append(
                    subprocess.Popen(command, env=environ, stdout=said, stderr=subprocess.STDOUT, cwd=folder)
                )
            until(lambda: "Ray runtime started" in told(folder / name, started[-1]))  # noqa: B023
        yield Named(address, environ, folder / "outbound")
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        end_below(folder)
        for process in started:
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def told(said: Path, process: "subprocess.Popen[bytes]") -> str:
    """What a process has said so far, which must live."""
    assert process.poll() is None, said.read_text()
    return said.read_text()


def end_below(folder: Path) -> None:
    """Kill what has this folder as its Ray's: `ray stop` would stop every Ray of the machine."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("RAY_TMPDIR") == str(folder):
                process.kill()
        except psutil.Error:
            continue


def run_as_in_the_pod(named: Named, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments by the command of the Kubernetes pool, which makes its pod a node first."""
    template = json.loads(POOL.read_text())["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    program, switch, script, name = template["containers"][0]["command"]
    script = script.replace("ray-head-svc:6379", named.address).replace(
        "--object-store-memory=268435456", f"{STORE} --node-ip-address={POD}"
    )
    return subprocess.run(
        [program, switch, script, name, sys.executable, *arguments], env=named.environ, capture_output=True, text=True
    )


def test_a_cluster_that_is_named_gives_the_same_rows_as_this_process(
    cluster: Named, tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    for folder in ("here", "ray"):
        stage_articles(tmp_path / folder, [*news(50), ("blank", " ", None)])
    done = run_as_in_the_pod(cluster, "-c", SCRIPT, str(tmp_path / "ray"), str(tiny_bundle), cluster.address)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "ray"
    here = ClusterConfig(min_rows=1_000)
    score.fn(str(tmp_path / "here"), night=NIGHT, now=NOW, run_id="r", bundles=[str(tiny_bundle)], cluster=here)
    for name in ("scored_articles", "entity_mentions", "daily_entity_sentiment"):
        one, other = (
            pl.DataFrame(pl.from_arrow(Lake.open(str(tmp_path / folder)).stage(NIGHT).read(name)))
            for folder in ("here", "ray")
        )
        assert len(one) > 0
        assert_frame_equal(one, other, abs_tol=1e-3)
    stranger = {**cluster.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    refused = run_as_in_the_pod(Named(cluster.address, stranger, cluster.outbound), "-c", "print('joined')")
    assert refused.returncode != 0
    assert "joined" not in refused.stdout
    outbound = cluster.outbound.read_text() if cluster.outbound.exists() else ""
    assert "usage-stats" not in outbound, outbound
