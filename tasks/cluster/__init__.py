"""Ray: the only package that imports it.

Training and scoring are plain callables (`models.training.fit`, `models.adapting.adapt`, `tasks.shards.score_shard`) that run as well
without Ray; this package starts and stops Ray (`session`), spreads shards over a pool of actors (`score_on_ray`) and runs `fit` and `adapt`
under Ray Train (`train_on_ray`, `adapt_on_ray`).
Not covered: Ray Data (it deadlocked and merged small files in our trials), autoscaling, starting a cluster of several machines.
"""

from tasks.cluster.adapting import AdaptRun, adapt_on_ray
from tasks.cluster.scoring import NoProgress, WorkersLost, score_on_ray
from tasks.cluster.session import ClusterConfig, session
from tasks.cluster.trainer import TrainingFailed
from tasks.cluster.training import TrainingRun, train_on_ray

__all__ = [
    "AdaptRun",
    "ClusterConfig",
    "NoProgress",
    "TrainingFailed",
    "TrainingRun",
    "WorkersLost",
    "adapt_on_ray",
    "score_on_ray",
    "session",
    "train_on_ray",
]
