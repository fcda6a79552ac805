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
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from data_contracts.errors import Fatal, Retriable
from tasks import processes
from tasks.cluster import folders
from tasks.cluster.config import ClusterConfig
from tasks.switches import switched

logger = logging.getLogger(__name__)

MIB = 2**20
LEAST_LOGICAL_CPUS = 4
SPARE_LOGICAL_CPUS = 2  # actors that take every logical CPU leave none for anything else, and Ray waits in silence
HEAD_SECONDS = 10.0  # until the head of a named cluster takes a connection
JOIN = "start it, make this machine a node of it (`ray start --address=HEAD:6379 --num-cpus=0`), or set cluster.address to 'local'"


class ClusterAway(Retriable):
    """The cluster that was named does not answer, or this machine is no node of it."""


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
                if config.local:
                    _end_stragglers(temp_dir)


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


def _refuse_silent(address: str) -> None:
    """Raise `ClusterAway` where nobody listens at a head's address: Ray itself would wait for many minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), HEAD_SECONDS).close()
    except OSError as error:
        raise ClusterAway(f"cluster.address is {address!r}, where no Ray head answers ({error}); {JOIN}") from error


def _start(config: ClusterConfig, temp_dir: str) -> None:
    import ray
    from ray.job_config import JobConfig

    root = str(
        Path(__file__).resolve().parents[2]
    )  # so that workers import this checkout, wherever it was started from
    job = JobConfig(_py_driver_sys_path=[root])
    if not config.local:
        _refuse_silent(config.address)
        try:
            ray.init(address=config.address, job_config=job, log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise ClusterAway(f"cluster.address is {config.address!r}: {error}; {JOIN}") from error
        except RuntimeError as error:  # such as another version of Ray or Python there
            raise Fatal(f"cluster.address is {config.address!r}, and Ray refuses it: {error}") from error
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


def _end_stragglers(temp_dir: str) -> None:
    """End what is left of a Ray of our own: a worker that was just starting, of which Ray's own end does not know, makes its folder anew.

    It has the folder in its arguments, and this process's token in its environment.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.environ().get("RAY_AUTH_TOKEN") == _token() and process.pid != os.getpid()
            if ours and any(temp_dir in part for part in process.cmdline()):
                found.append(process)
    processes.end(found)


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
