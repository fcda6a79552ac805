"""Searching a recipe on Ray Tune: many trials, the bad ones stopped early; the only place that knows ray.tune.

Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning"): after `grace_epochs`, and at
every rung above it (`reduction` times as many epochs each), a trial goes on only if its best figure on dev is among the best
1/`reduction` of those that have reached the rung so far. Parameters are drawn at random. A trial is `models.training.fit`, epoch by
epoch, in a directory of its own (tasks.trials).

A search that was killed goes on when it is run again: Tune starts anew and draws the same recipes, each trial tells it once more what it
had told, and then goes on at its last epoch, or ends where it had ended. Tune's own `restore` forgets the rungs, and reads pickles; so it
is not used. A search that has its result returns at once, without Ray.

Not covered: several workers a trial, searches that learn from earlier trials (Bayesian ones), several machines without a shared `storage`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.errors import Fatal, Retriable
from tasks.cluster.config import ClusterConfig
from tasks.cluster.progress import LOOK_EVERY_SECONDS, note
from tasks.cluster.session import gpus_per_worker, session, threads_here
from tasks.space import Range, Space, kind_of
from tasks.switches import switched
from tasks.trials import SearchPlan, SearchRun, Trial, TrialFolder

if TYPE_CHECKING:
    from models.training import Progress

logger = logging.getLogger(__name__)

_TUNE = "tune"  # Tune's own files, of no use after the search
_TRIES = 2  # a trial whose worker was lost goes on at its last epoch this often
# No files of Tune's own loggers, nothing printed; and a trial that is refused before its first epoch reports no figure.
_SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


class SearchFailed(Retriable):
    """A search stopped before its end; running it again goes on where it stood."""


def search_on_ray(run: SearchRun, *, cluster: ClusterConfig, on_trial: Callable[[Trial], None]) -> tuple[Trial, ...]:
    """Try the recipes of a search and return its trials, the best first, which has its bundle.

    `on_trial` is told in this thread of each trial that has ended, soon after, and of all at the end: of some twice.

    Raises:
        SearchFailed: Ray gave up; running it again goes on.
        Fatal: no trial got to its last epoch; the text says why.
    """
    if run.result() is None:
        run.folder.mkdir(parents=True, exist_ok=True)
        room = cluster.training(run.plan.concurrent)
        with switched(_SWITCHES), session(room):
            _search(run, room=room, on_trial=on_trial)
        run.finish()
        shutil.rmtree(run.folder / _TUNE, ignore_errors=True)
    trials = run.result()
    assert trials is not None
    for trial in trials:
        on_trial(trial)
    return trials


def _search(run: SearchRun, *, room: ClusterConfig, on_trial: Callable[[Trial], None]) -> None:
    from ray import tune

    shutil.rmtree(run.folder / _TUNE, ignore_errors=True)
    trial = tune.with_parameters(_trial, run=run, threads=room.threads_per_worker)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": room.cpus_each, "gpu": gpus_per_worker(room)}),
        param_space={name: _domain(name, run.space) for name in sorted(run.space)},
        tune_config=_tune_config(run.plan),
        run_config=tune.RunConfig(
            name=_TUNE,
            storage_path=str(run.folder),
            failure_config=tune.FailureConfig(max_failures=_TRIES),
            callbacks=[_watcher(run.trials)],
            verbose=0,
        ),
    )
    # In the main thread Tune takes over SIGINT; in another it does not.
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        searching = thread.submit(tuner.fit)
        _follow(searching, run, on_trial)
        searching.result()
    except tune.TuneError as failed:
        raise SearchFailed(f"{run.name}: {failed}; run it again to go on from {run.folder}") from failed
    finally:
        thread.shutdown(wait=False)


def _follow(searching: Future[Any], run: SearchRun, on_trial: Callable[[Trial], None]) -> None:
    """Tell of every trial that ends, until the search has."""
    told: set[str] = set()
    over = False
    while not over:
        over = bool(wait([searching], timeout=LOOK_EVERY_SECONDS).done)
        for trial in run.ended():
            if trial.name not in told:
                told.add(trial.name)
                _say(trial, number=len(told), trials=run.plan.trials)
                on_trial(trial)


def _say(trial: Trial, *, number: int, trials: int) -> None:
    given = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.parameters.items()
    )
    came = f"{trial.state} after {len(trial.figures)} epochs, {trial.best:.4f} on dev" + f" {trial.reason}".rstrip()
    logger.info("trial %d of %d (%s): %s", number, trials, given, came, extra={"done": number, "total": trials})


def _tune_config(plan: SearchPlan) -> Any:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return tune.TuneConfig(
        metric="best",
        mode="max",
        num_samples=plan.trials,
        search_alg=BasicVariantGenerator(random_state=plan.seed, max_concurrent=plan.concurrent),
        scheduler=ASHAScheduler(
            time_attr="epoch",
            max_t=plan.max_epochs,
            grace_period=plan.grace_epochs,
            reduction_factor=plan.reduction,
            stop_last_trials=False,  # a trial at its last epoch has its bundle still to write
        ),
    )


def _domain(name: str, space: Space) -> Any:
    """A parameter as Tune draws it; Tune leaves the upper end of whole numbers out, so it is given the next."""
    from ray import tune

    one = space[name]
    if not isinstance(one, Range):
        return tune.choice(list(one.values))
    if kind_of(name) is int:
        return (tune.lograndint if one.log else tune.randint)(int(one.low), int(one.high) + 1)
    return (tune.loguniform if one.log else tune.uniform)(one.low, one.high)


def _folder(trials: Path, trial_id: object) -> TrialFolder:
    """The directory of a trial's number, the end of Tune's name for it: the same number is the same recipe whenever the search is run."""
    return TrialFolder(path=trials / str(trial_id).rpartition("_")[2])


def _watcher(folder: Path) -> Any:
    """A callback that marks each trial that Tune has ended; made here because its base is Ray's."""
    from ray import tune

    class Watcher(tune.Callback):  # type: ignore[misc]
        """Marks ended trials."""

        def on_trial_complete(self, **event: Any) -> None:
            """Finished, or stopped by the scheduler."""
            _folder(folder, event["trial"].trial_id).end("")

        def on_trial_error(self, **event: Any) -> None:
            """Broken, or lost too often."""
            _folder(folder, event["trial"].trial_id).end(str(event["trial"].get_error() or "its worker was lost"))

    return Watcher()


def _trial(config: Mapping[str, Any], *, run: SearchRun, threads: int) -> None:
    """One trial, in its own process."""
    import torch
    from ray import tune

    from models.training import fit

    folder = _folder(run.trials, tune.get_context().get_trial_id())
    folder.begin(config)
    for epoch, best in enumerate(folder.figures(), start=1):
        tune.report({"best": best, "epoch": epoch})
    if folder.ended() or (folder.bundle / "manifest.json").is_file():
        return
    torch.set_num_threads(threads_here(threads, run.plan.concurrent))
    started: list[int] = []

    def on_epoch(progress: Progress, checkpoint: Path | None) -> None:
        started.append(progress.epoch - 1)
        note(folder.path, progress, started_at_epoch=started[0])
        if checkpoint is not None:
            folder.point(checkpoint)
        tune.report({"best": progress.best, "epoch": progress.epoch})

    try:
        fit(
            trunk=run.trunk,
            data=run.data,
            recipe=run.recipe_of(config),
            output=folder.bundle,
            on_epoch=on_epoch,
            resume_from=folder.checkpoint(),
            allow_hub=run.allow_hub,
        )
    except Fatal as refused:  # another try would end the same
        folder.refuse(refused)
