"""Trained models under version, kept by MLflow: what was trained on what, what it scored, and which one serves.

One registered model a task (`nightdesk-sentiment`, `nightdesk-ner`). A version is a copy of a bundle among a run's artifacts, with the run's
parameters and metrics; the alias `champion` names the one that serves; the tag `gate` says why a version became champion or did not. A joint
bundle is registered once a task, and both versions are the same files.

MLflow is imported when it is first needed, since that costs seconds, and told to report to nobody before it is. Not covered: deleting
versions, model stages, and serving through MLflow.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.labels import TASKS
from tasks.cluster.progress import by_epoch, over_all
from tasks.switches import switched
from tasks.versions import DIGEST, GATE, SINCE, WITHDRAWN, NoSuchModel, Version, model_name, plain, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from tasks.cluster.progress import Epoch

logger = logging.getLogger(__name__)

CHAMPION = "champion"
ARTIFACT = "bundle"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
IMPATIENT = {  # else a server that is away is asked for four minutes, and a database for nearly two
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "PGCONNECT_TIMEOUT": "5",
}
LONGEST_VALUE = 500  # characters of a parameter, as MLflow's database has it


class Registry:
    """The registry at an MLflow tracking URI, with its artifacts in a local (or shared) directory.

    Where it is away, it is waited for for minutes; with `patient=False` for some seconds, since somebody waits for the answer.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str, *, patient: bool = True) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = Path(artifact_root).absolute()
        self.patient = patient
        self._opened: MlflowClient | None = None

    def register(
        self,
        task: str,
        bundle_dir: Path | str,
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        *,
        run_id: str | None = None,
    ) -> int:
        """Keep a bundle as the next version of a task's model; `run_id` is a run of `log` that has the bundle already."""
        from models.bundle import load

        run = run_id or self.log([task], bundle_dir, metrics, params)
        with self.client() as client:
            _ensure_model(client, task)
            source = f"{client.get_run(run).info.artifact_uri}/{ARTIFACT}"
            made = client.create_model_version(model_name(task), source, run_id=run)
            client.set_model_version_tag(model_name(task), made.version, DIGEST, load(bundle_dir).digest)
            for name, value in metrics.items():
                client.set_model_version_tag(
                    model_name(task), made.version, f"metric.{plain(name)}", repr(float(value))
                )
            return int(made.version)

    def log(
        self,
        tasks: Sequence[str],
        bundle_dir: Path | str,
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        *,
        epochs: Sequence[Epoch] = (),
    ) -> str:
        """Keep a training as an MLflow run with the bundle among its artifacts; returns the run's id. Params are cut at 500 characters.

        Of each epoch its figures are named epoch.NAME, tokens_per_second and flops_utilisation among them (models.throughput), and those
        two of all epochs together training.NAME.
        """
        with self.client() as client:
            from mlflow.entities import Metric, Param
            from mlflow.utils.time import get_current_time_millis

            now = get_current_time_millis()
            experiment = self.experiment(client, "-".join(sorted(tasks)))
            run = str(client.create_run(experiment, start_time=now).info.run_id)
            logged = [Param(plain(name), str(value)[:LONGEST_VALUE]) for name, value in sorted(params.items())]
            figures = [
                Metric(plain(name), float(value), now, step)
                for step, some in enumerate([dict(metrics) | over_all(epochs), *map(by_epoch, epochs)])
                for name, value in sorted(some.items())
            ]
            client.log_batch(run, metrics=figures, params=logged)
            client.log_artifacts(run, str(bundle_dir), ARTIFACT)
            client.set_terminated(run, "FINISHED")
            return run

    def attach(self, task: str, digest: str, folder: Path) -> int:
        """Put a folder of figures among the artifacts of every version of a task's model with a digest; returns how many runs have it."""
        if not self._exists():
            return 0
        with self.client() as client:
            versions = client.search_model_versions(f"name = '{model_name(task)}'", max_results=10_000)
            runs = {one.run_id for one in versions if one.run_id and one.tags.get(DIGEST) == digest}
            for run in sorted(runs):
                client.log_artifacts(run, str(folder), f"evaluations/{folder.name}")
            return len(runs)

    def promote(self, task: str, version: int, *, reason: str = "promoted by hand") -> None:
        """Make a version the champion of its task, and say why."""
        with self.client() as client:
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            for tag, value in ((GATE, reason), (SINCE, now), (WITHDRAWN, "")):
                client.set_model_version_tag(model_name(task), str(version), tag, value)
            client.set_registered_model_alias(model_name(task), CHAMPION, str(version))

    def rollback(self, task: str, *, reason: str) -> Version:
        """Take the champion back and let the one before it serve again; rolled back twice, the one before that.

        Raises:
            NoSuchModel: there is no champion, or none before it.
        """
        now = self.champion_version(task)
        if now is None:
            raise NoSuchModel(f"{task} has no champion to roll back; the registry has {self._listing()}")
        earlier = [one for one in self.candidates(task) if one.since and not one.withdrawn and not one.champion]
        if not earlier:
            raise NoSuchModel(
                f"{now.name} is the only champion that {task} has had; allowed: promote another version by name"
            )
        before = max(earlier, key=lambda one: one.since)
        self.promote(task, before.version, reason=f"serves again instead of {now.name}: {reason}")
        with self.client() as client:
            client.set_model_version_tag(model_name(task), str(now.version), WITHDRAWN, reason)
        return before

    def reject(self, task: str, version: int, *, reason: str) -> None:
        """Leave a version a candidate, and say why."""
        with self.client() as client:
            client.set_model_version_tag(model_name(task), str(version), GATE, reason)

    def champion(self, task: str) -> Path | None:
        """The bundle that serves a task; None where there is none yet."""
        found = self.champion_version(task)
        return None if found is None else found.path

    def champion_version(self, task: str) -> Version | None:
        """The version that serves a task; None where there is none yet."""
        return next((one for one in self.candidates(task) if one.champion), None)

    def candidates(self, task: str) -> list[Version]:
        """Every version of a task's model, oldest first."""
        if task not in TASKS:
            raise NoSuchModel(f"no task {task!r}; allowed: {', '.join(TASKS)}")
        if not self._exists():
            return []
        with self.client() as client:
            models = client.search_registered_models(filter_string=f"name = '{model_name(task)}'")
            if not models:
                return []
            serving = models[0].aliases.get(CHAMPION)
            versions = client.search_model_versions(f"name = '{model_name(task)}'", max_results=10_000)
            return sorted((version_of(task, one, serving) for one in versions), key=lambda one: one.version)

    def serving(self, names: Sequence[str] = (CHAMPION,)) -> list[Path]:
        """The bundles that score together under these names (see `resolve`), each task served by exactly one of them.

        "champion" stands for the champion of every task that has one. A name with a task ("ner/3") serves that task alone, so a joint bundle
        that serves fewer tasks than it has heads is narrowed to those, in a directory of its own.

        Raises:
            NoSuchModel: a name is unknown, or two names serve the same task.
        """
        from models.bundle import load
        from tasks.narrow import narrowed

        wanted: dict[Path, set[str]] = {}
        for name in names:
            for path, tasks in self._served(name):
                wanted.setdefault(path, set()).update(tasks or load(path).heads)
        twice = sorted(task for task in TASKS if sum(task in tasks for tasks in wanted.values()) > 1)
        if twice:
            raise NoSuchModel(f"{', '.join(names)} serve {', '.join(twice)} twice; allowed: one bundle a task")
        return [narrowed(path, tasks, self.artifact_root / "narrowed") for path, tasks in wanted.items()]

    def _served(self, name: str) -> list[tuple[Path, tuple[str, ...]]]:
        """Bundles and the tasks that they serve under a name; no tasks: all that the bundle has."""
        if name == CHAMPION:
            found: list[tuple[Path, tuple[str, ...]]] = [
                (path, (task,)) for task in TASKS if (path := self.champion(task)) is not None
            ]
            return found or [(self.resolve(name), ())]
        task, _, _ = name.partition("/")
        return [(self.resolve(name), (task,) if task in TASKS and not Path(name).is_dir() else ())]

    def resolve(self, name: str) -> Path:
        """The bundle called `name`: "sentiment/3", "ner/champion", "champion" (where one bundle serves every task), or a directory.

        Raises:
            NoSuchModel: it is none of these; the text lists what there is.
        """
        if found := re.fullmatch(rf"({'|'.join(TASKS)})/({CHAMPION}|\d+)", name):
            task, which = found.groups()
            for one in self.candidates(task):
                if (one.champion and which == CHAMPION) or str(one.version) == which:
                    return one.path
        elif name == CHAMPION:
            serving = {task: path for task in TASKS if (path := self.champion(task)) is not None}
            if len(set(serving.values())) == 1:
                return next(iter(serving.values()))
            if serving:
                named = ", ".join(f"{task}/{CHAMPION}" for task in serving)
                raise NoSuchModel(f"{CHAMPION!r} is not one bundle: the tasks have different ones; name {named}")
        elif name and Path(name).is_dir():
            return Path(name)
        raise NoSuchModel(f"no model {name!r}: it is no directory, and the registry has {self._listing()}")

    def _listing(self) -> str:
        there = [
            f"{one.name}{' (champion)' if one.champion else ''}" for task in TASKS for one in self.candidates(task)
        ]
        return ", ".join(there) or f"nothing yet ({self.tracking_uri}); `nightdesk finetune` registers a model"

    def _exists(self) -> bool:
        """False when the database is a file that is not there: looking must not create it, nor cost the seconds of importing MLflow."""
        path = self.tracking_uri.removeprefix("sqlite:///")
        return path == self.tracking_uri or Path(path).is_file()

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """MLflow's client, told to report to nobody."""
        with switched(QUIET if self.patient else QUIET | IMPATIENT):
            if self._opened is None:
                self._opened = _open(self.tracking_uri, patient=self.patient)
            yield self._opened

    def experiment(self, client: MlflowClient, name: str) -> str:
        """The number of the experiment of that name, made where there is none."""
        found = client.get_experiment_by_name(model_name(name))
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(model_name(name), artifact_location=(self.artifact_root / name).as_uri()))


def _open(uri: str, *, patient: bool) -> MlflowClient:
    """A client; imports MLflow, and makes the database's tables where there are none."""
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if not patient and uri.startswith(tuple(DATABASE_ENGINES)):
        from sqlalchemy import NullPool, create_engine

        create_engine(
            uri, poolclass=NullPool
        ).connect().close()  # MLflow would try ten times, and can be told no other number
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _ensure_model(client: MlflowClient, task: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model_name(task))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
