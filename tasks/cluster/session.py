"""Starting and stopping Ray, in one context manager.

A bare `ray.init()` joins any cluster it finds on the machine, listens on every interface, draws a dashboard, takes a third of the memory
and replaces the handler of SIGTERM (after which a cancelled Prefect run ends as crashed). Here Ray is started for one block and stopped
with it, on the loopback interface alone, with a token of its own and a temporary directory of its own, and it reports to nobody.

Ray reads the switches for the interface, the token and the reporting from the environment only: they are set for the block.

Not covered: starting a cluster of several machines. Name one with `ClusterConfig.address` and this package only connects to it, from a machine
that is one of its nodes (`ray start --address=HEAD:6379 --num-cpus=0` makes it one that computes nothing); the bundles and the lake must
then lie where every machine of the cluster sees them. Ray Client (`ray://`) is refused: it needs gRPC, which the lock leaves out.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from data_contracts.errors import Fatal
from tasks.cluster import folders
from tasks.switches import switched

logger = logging.getLogger(__name__)

MIB = 2**20
LEAST_LOGICAL_CPUS = 4
SPARE_LOGICAL_CPUS = 2  # actors that take every logical CPU leave none for anything else, and Ray waits in silence


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How Ray is used.

    Attributes:
        address: "local" starts a Ray of our own on this machine; else the running cluster that this machine is a node of ("HEAD:6379", or "auto").
        workers: scoring actors, each with one model in memory.
        max_workers: as many there may be while shards wait and the cluster has room; None: no more than `workers`.
        cpus_per_worker: logical CPUs that one worker reserves, a training one 1 at least; on a cluster that was named, one for each of its
            `threads` at least.
        threads_per_worker: a worker's CPU threads; 0 shares this machine's cores among the actors, and on a cluster that was named takes as
            many as `cpus_per_worker`, 1 at least; workers that train, and trials, share the CPUs of the node they are on (`threads_here`).
        gpus_per_worker: share of a GPU that one worker reserves; None takes one where there are enough, else as many share each as need to.
        prefetch: shards that wait at an actor while it scores one.
        min_rows: with fewer rows than this, and no cluster named, score in this process: starting Ray costs 3 to 9 s.
        rows_per_shard: rows of one job; a night that was stopped resumes at the first shard that is not finished.
        token_budget: tokens of one forward pass, padding included; None takes what suits the process that scores (`batch_tokens`).
        shard_tries: how often a shard is given again after its actor's process died.
        no_progress_seconds: give up when no shard has finished for so long.
        object_store_mib: size of Ray's shared memory, in MiB; shards travel by path, so little is needed.
        temp_dir: where Ray puts its sockets and logs, at most 40 characters; None makes a new one and removes it afterwards.
    """

    address: str = "local"
    workers: int = 2
    max_workers: int | None = None
    cpus_per_worker: float = 0.5
    threads_per_worker: int = 0
    gpus_per_worker: float | None = None
    prefetch: int = 1
    min_rows: int = 5_000
    rows_per_shard: int = 2_000
    token_budget: int | None = None
    shard_tries: int = 3
    no_progress_seconds: float = 900.0
    object_store_mib: int = 256
    temp_dir: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that Ray would only hang on."""
        if "://" in self.address:
            raise Fatal(
                f"cluster.address is {self.address!r}; allowed: 'local', 'auto', or 'HEAD:6379' of a cluster that this machine is a "
                "node of (`ray start --address=HEAD:6379 --num-cpus=0` makes it one); Ray Client (ray://) is not used"
            )
        for name in ("workers", "cpus_per_worker", "rows_per_shard", "token_budget", "no_progress_seconds", "prefetch"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise Fatal(f"cluster.{name} is {value}; allowed: greater than 0")
        if self.most_workers < self.workers:
            raise Fatal(f"cluster.max_workers is {self.max_workers}; allowed: cluster.workers ({self.workers}) or more")
        for name in ("threads_per_worker", "min_rows", "shard_tries"):
            if getattr(self, name) < 0:
                raise Fatal(f"cluster.{name} is {getattr(self, name)}; allowed: 0 or more")
        if self.object_store_mib < 80:
            raise Fatal(f"cluster.object_store_mib is {self.object_store_mib}; allowed: 80 or more (Ray refuses less)")

    @property
    def local(self) -> bool:
        """True when Ray is ours to start and stop."""
        return self.address == "local"

    @property
    def most_workers(self) -> int:
        """How many workers there may be at most."""
        return self.max_workers or self.workers

    @property
    def cpus_each(self) -> float:
        """Logical CPUs that one worker reserves; those of a Ray of our own are only numbers, those of another cluster are cores."""
        return self.cpus_per_worker if self.local else max(self.cpus_per_worker, self.threads())

    @property
    def reserved_cpus(self) -> float:
        """Logical CPUs that the workers reserve together: all there may be on this machine, the fewest on a cluster that may grow."""
        return (self.most_workers if self.local else self.workers) * self.cpus_each

    def threads(self) -> int:
        """CPU threads of one actor that scores."""
        if self.threads_per_worker or not self.local:
            return self.threads_per_worker or max(1, int(self.cpus_per_worker))
        from models.backends.machine import cores

        return max(1, cores() // self.most_workers)

    def batch_tokens(self) -> int:
        """The token budget of this process: the one given, else what suits its GPU or its CPU."""
        from models.batching import default_budget

        return self.token_budget or default_budget()

    def at_most(self, workers: int) -> ClusterConfig:
        """The same with no more workers than there is work for, so that these share what there is."""
        most = min(self.most_workers, workers)
        return replace(self, workers=min(self.workers, most), max_workers=most)

    def training(self, workers: int) -> ClusterConfig:
        """The same for so many workers that train, or trials at once."""
        return replace(self, workers=workers, max_workers=None, cpus_per_worker=max(1.0, self.cpus_per_worker))


@contextmanager
def session(config: ClusterConfig) -> Iterator[None]:
    """Ray for the length of the block; a Ray that this process already has is used and left running.

    Works from the main thread and from a Prefect task's thread. Whatever happens inside, Ray is stopped before the block is left, and
    its processes are waited for.

    Raises:
        Fatal: the Ray that is running has too few logical CPUs for the workers, or `temp_dir` is too long.
    """
    with switched(_switches(config)):
        import ray

        if ray.is_initialized():
            _check_room(config, float(ray.cluster_resources().get("CPU", 0.0)))
            yield
            return
        with _temp_dir(config) as temp_dir:
            try:
                with sigterm_kept():
                    _start(config, temp_dir)
                yield
            finally:
                ray.shutdown(wait_for_processes=True)


def gpus_per_worker(config: ClusterConfig) -> float:
    """The share of a GPU that one worker reserves in the Ray that is running."""
    if config.gpus_per_worker is not None:
        return config.gpus_per_worker
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0.0))
    return math.floor(100 / math.ceil(config.most_workers / gpus)) / 100 if gpus else 0.0


def threads_here(given: int, beside: int) -> int:
    """CPU threads of a worker, called by it: those given, else (0) its share of the CPUs of its node, on which no more than `beside` work."""
    if given:
        return given
    import ray

    from models.backends.machine import cores

    me = ray.get_runtime_context().get_node_id()
    counted = next((node["Resources"].get("CPU", 1.0) for node in ray.nodes() if node["NodeID"] == me), 1.0)
    return max(1, min(cores(), int(counted)) // beside)


def _start(config: ClusterConfig, temp_dir: str) -> None:
    import ray
    from ray.job_config import JobConfig

    root = str(
        Path(__file__).resolve().parents[2]
    )  # so that workers import this checkout, wherever it was started from
    job = JobConfig(_py_driver_sys_path=[root])
    if not config.local:
        ray.init(address=config.address, job_config=job, log_to_driver=False, logging_level=logging.WARNING)
        _check_room(config, float(ray.cluster_resources().get("CPU", 0.0)))
        return
    cpus = max(LEAST_LOGICAL_CPUS, os.cpu_count() or 1, math.ceil(config.reserved_cpus) + SPARE_LOGICAL_CPUS)
    with _without_api_server():
        ray.init(
            address="local",
            job_config=job,
            num_cpus=cpus,
            object_store_memory=config.object_store_mib * MIB,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=temp_dir,
        )
    logger.info("Ray started with %d logical CPUs in %s", cpus, temp_dir)


@contextmanager
def _without_api_server() -> Iterator[None]:
    """Start Ray without its API server, the process behind the dashboard.

    `include_dashboard=False` starts that process all the same, and with usage statistics switched off it still asks three clouds' metadata
    addresses where it runs and reports, by a request to its maker, that statistics are off. Nothing here needs it. Ray has no switch for it.
    """
    from ray._private.node import Node

    def nothing(node: object, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        """No API server."""

    start, Node.start_api_server = Node.start_api_server, nothing
    try:
        yield
    finally:
        Node.start_api_server = start


def _check_room(config: ClusterConfig, cpus: float) -> None:
    if cpus < config.reserved_cpus:
        raise Fatal(
            f"the workers of {config.cpus_each} CPUs need {config.reserved_cpus} logical CPUs; "
            f"the running Ray has {cpus}: lower cluster.workers, cluster.cpus_per_worker or cluster.threads_per_worker"
        )


def _switches(config: ClusterConfig) -> dict[str, str]:
    """What Ray reads from the environment alone: no reports; and for a Ray of our own, loopback only and a token nobody else knows."""
    # At its own level Ray tells every user that Ray Data's actors would not outlive the driver's node, which they need not.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_V2_ENABLED": "1", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    if not config.local:
        return quiet
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    # Where the head is killed, what is left of its Ray waits so long for another: the driver, and agents that are nobody's children then.
    soon = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    # Ray's own default of 15 lets a night's scoring starve beside anything else that the machine does
    return {**quiet, **token, **soon, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


@cache
def _token() -> str:
    """One secret per process: Ray keeps the first that it reads."""
    return secrets.token_hex(32)


@contextmanager
def _temp_dir(config: ClusterConfig) -> Iterator[str]:
    """A short directory for Ray's sockets, removed afterwards unless the settings named it."""
    if config.temp_dir is not None:
        if len(config.temp_dir) > folders.LONGEST:
            raise Fatal(
                f"cluster.temp_dir {config.temp_dir!r} has {len(config.temp_dir)} characters; allowed: at most "
                f"{folders.LONGEST}, because the names of Ray's sockets in it may not be longer than 107"
            )
        Path(config.temp_dir).mkdir(parents=True, exist_ok=True)
        yield str(Path(config.temp_dir).resolve())
        return
    with folders.own_folder() as folder:
        yield folder


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Give SIGTERM back the handler that it had before the block: `ray.init` replaces it, in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
