"""How Ray is used, as the settings say it, and what follows of it for one machine. Not covered: Ray itself (`tasks.cluster.session`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from data_contracts.errors import Fatal


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
        head, colon, port = self.address.rpartition(":")
        if colon and not (head and port.isdecimal()):
            raise Fatal(
                f"cluster.address is {self.address!r}; allowed: 'local', 'auto', or host and port such as 'HEAD:6379'"
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
