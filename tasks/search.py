"""Search a recipe: many trials on Ray Tune, the bad ones stopped early, every one of them kept in MLflow.

Trials are compared by their figures on the dev part and by nothing else, so the best figure is that of the luckiest of many on that part:
it is higher than the same recipe would give on texts that chose nothing. Nobody should quote it as the model's quality; the gate compares
the best trial's bundle with what serves as it does any candidate's. Not covered: searching the trunk, the data or several seeds a recipe.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.cluster import ClusterConfig
from tasks.registry import LONGEST_VALUE, Registry
from tasks.space import Space
from tasks.step import step
from tasks.train import LabelledFiles, read_files, refuse_unread
from tasks.trials import SearchPlan, SearchRun, Trial

if TYPE_CHECKING:
    from models.training import Recipe

logger = logging.getLogger(__name__)

SEARCH, TRIAL = "nightdesk.search", "nightdesk.trial"  # tags of MLflow's runs
PARENT = "mlflow.parentRunId"  # MLflow's own tag of a nested run
STATES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A finished search: the best trial's bundle, every trial (the best first), and MLflow's run of the search."""

    name: str
    bundle: str
    trials: tuple[Trial, ...]
    run_id: str

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{len(self.trials)} trials, the best {self.trials[0].best:.4f} on dev, which chose it"


@step("search")
def search(
    files: Mapping[str, LabelledFiles],
    *,
    trunk: str,
    recipe: Recipe,
    space: Space,
    plan: SearchPlan,
    storage: str,
    cluster: ClusterConfig,
    tracking_uri: str,
    artifact_root: str,
    allow_hub: bool = False,
) -> Searched:
    """Search the recipe for the tasks of `files`. Run again after a stop it goes on; a finished search is found and not repeated.

    Args:
        files: labelled files by task.
        trunk: "minilm", a directory, or a hub name.
        recipe: what every trial starts from.
        space: what trials change in it.
        plan: how many trials, how long, how many at once.
        storage: a directory for searches, shared by all machines of a cluster.
        cluster: how Ray is started.
        tracking_uri: of MLflow.
        artifact_root: where MLflow keeps artifacts.
        allow_hub: let the trunk be fetched from a hub.

    Raises:
        SpaceRefused: the space names what is no parameter, or allows what is no value of one.
        SearchFailed: Ray gave up; run it again.
    """
    from tasks.cluster.search import search_on_ray

    read = read_files(files, storage=storage)
    refuse_unread(read.data, recipe)
    run = SearchRun(
        trunk=trunk, data=read.data, recipe=recipe, space=space, plan=plan, storage=Path(storage), allow_hub=allow_hub
    )
    log = SearchLog(Registry(tracking_uri, artifact_root), sorted(files), run)
    trials = search_on_ray(run, cluster=cluster, on_trial=log.trial)
    best = trials[0]
    assert best.bundle is not None
    log.close(best)
    logger.info(
        "%s: trial %s is best of %d, %.4f on dev: %s",
        run.name,
        best.name,
        len(trials),
        best.best,
        dict(best.parameters),
    )
    return Searched(name=run.name, bundle=best.bundle, trials=trials, run_id=log.run_id)


class SearchLog:
    """One search as an MLflow run, and each trial as a run nested in it. Telling it of the same trial twice changes nothing."""

    def __init__(self, registry: Registry, tasks: list[str], run: SearchRun) -> None:
        self._registry = registry
        with registry.client() as client:
            self._experiment = registry.experiment(client, "-".join(tasks))
        space = {f"space.{name}": {k: v for k, v in asdict(one).items() if v} for name, one in run.space.items()}
        plan = {f"search.{name}": value for name, value in asdict(run.plan).items()}
        self.run_id, _ = self._open(run.name, {SEARCH: run.name}, {**space, **plan, "trunk": run.trunk})
        self._name = run.name

    def trial(self, trial: Trial) -> None:
        """Keep a trial that has ended: its parameters, its best figure on dev after each epoch, and how it ended."""
        tags = {TRIAL: f"{self._name}/{trial.name}", PARENT: self.run_id}
        run_id, status = self._open(f"{self._name}/{trial.name}", tags, trial.parameters)
        if status in (STATES["finished"], STATES["stopped"]):
            return
        with self._registry.client() as client:
            for epoch, figure in enumerate(trial.figures, start=1):
                client.log_metric(run_id, "dev.best", figure, step=epoch)
            client.log_metric(run_id, "epochs", len(trial.figures))
            client.set_tag(run_id, "outcome", f"{trial.state} {trial.reason}".strip()[:LONGEST_VALUE])
            client.set_terminated(run_id, STATES[trial.state])

    def close(self, best: Trial) -> None:
        """End the search's run, with the best trial's figure on dev and parameters."""
        with self._registry.client() as client:
            client.log_metric(self.run_id, "dev.best", best.best)
            client.set_tag(self.run_id, "best", f"{best.name}: {dict(best.parameters)}"[:LONGEST_VALUE])
            client.set_terminated(self.run_id, STATES["finished"])

    def _open(self, name: str, tags: Mapping[str, str], params: Mapping[str, object]) -> tuple[str, str]:
        """The run of these tags and its status; made, with its parameters, where there is none."""
        key, value = next(iter(tags.items()))
        with self._registry.client() as client:
            found = client.search_runs([self._experiment], filter_string=f"tags.`{key}` = '{value}'", max_results=1)
            if found:
                return str(found[0].info.run_id), str(found[0].info.status)
            made = client.create_run(self._experiment, tags=dict(tags), run_name=name)
            for parameter, given in sorted(params.items()):
                client.log_param(made.info.run_id, parameter, str(given)[:LONGEST_VALUE])
            return str(made.info.run_id), str(made.info.status)
