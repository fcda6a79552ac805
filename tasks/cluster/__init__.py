"""Ray: the only package that imports it.

Training and scoring are plain callables (`models.training.fit`, `models.adapting.adapt`, `tasks.shards.score_shards`) that run as well
without Ray; this package starts and stops Ray (`session`), streams shards through a pool of actors with Ray Data (`score_on_ray`) and runs
`fit` and `adapt` under Ray Train (`train_on_ray`, `adapt_on_ray`).
Not covered: starting a cluster of several machines.
"""

from tasks.cluster.adapting import AdaptRun, adapt_on_ray
from tasks.cluster.config import ClusterConfig
from tasks.cluster.folders import sweep
from tasks.cluster.scoring import NoProgress, ScoringJob, WorkersLost, score_on_ray
from tasks.cluster.session import ClusterAway, session
from tasks.cluster.trainer import TrainingFailed
from tasks.cluster.training import TrainingRun, train_on_ray

__all__ = [
    "AdaptRun",
    "ClusterAway",
    "ClusterConfig",
    "NoProgress",
    "ScoringJob",
    "TrainingFailed",
    "TrainingRun",
    "WorkersLost",
    "adapt_on_ray",
    "score_on_ray",
    "session",
    "sweep",
    "train_on_ray",
]
