"""Fine-tuning, from labelled files to a champion: contract, Ray Train, evaluation per class, MLflow, gate.

Both tasks together train one trunk with two heads, which scores a night in one pass. A candidate becomes champion only by beating the present
champion on the same dev data; otherwise it stays a candidate with the reason. A run that was stopped goes on at its last epoch when it is
run again with the same parameters. `finetune_into` trains outside the registry, into a directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data_contracts.errors import Fatal
from data_contracts.labels import TASKS
from flows.forms import LabelledForm, RecipeForm
from flows.settings import SAMPLE, Settings, load, quiet
from tasks.cluster import ClusterConfig
from tasks.evaluate import evaluate
from tasks.promote import Decision, promote
from tasks.registry import Registry
from tasks.train import LabelledFiles, Trained, train

if TYPE_CHECKING:
    from models.evaluation import Evaluation

SAMPLE_LABELLED = SAMPLE / "labelled"
TRUNK = "minilm"
Task = Literal["sentiment", "ner", "all"]


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """What a fine-tuning gave: the bundle, its figures on dev by task, and what the gate said."""

    trained: Trained
    figures: Mapping[str, Evaluation]
    decisions: tuple[Decision, ...]


def sample_files(task: str) -> LabelledFiles:
    """The shipped labelled sample of a task."""
    return LabelledFiles(
        train=(str(SAMPLE_LABELLED / f"{task}.train.jsonl"),), dev=(str(SAMPLE_LABELLED / f"{task}.dev.jsonl"),)
    )


def files_for(task: str, given: Mapping[str, LabelledForm | None]) -> dict[str, LabelledFiles]:
    """The files of each task to train: those given; where none are, the shipped sample's.

    Raises:
        Fatal: files were given for a task that is not to be trained.
    """
    named = {name: LabelledFiles(train=tuple(form.train), dev=tuple(form.dev)) for name, form in given.items() if form}
    if task == "all":
        return named or {name: sample_files(name) for name in TASKS}
    if strays := sorted(set(named) - {task}):
        raise Fatal(
            f"files for {', '.join(strays)} were given, but the task is {task!r}; allowed: files for {task}, or task 'all'"
        )
    return {task: named.get(task) or sample_files(task)}


@flow(name="finetune")
def finetune(
    task: Task = "all",
    sentiment: LabelledForm | None = None,
    ner: LabelledForm | None = None,
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    trunk: str = TRUNK,
    workers: int = 1,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Fine-tune BERT on labelled sentences, and let it serve if it beats what serves.

    Args:
        task: What to train: all trains one trunk with a head for each task that has files, or for both on the shipped sample.
        sentiment: Labelled sentences for the sentiment head. Empty: the shipped sample.
        ner: Labelled sentences for the entity head. Empty: the shipped sample.
        recipe: Changes to the recipe that measured best.
        trunk: The encoder to start from: minilm, a directory on the worker, or a hub name where the settings allow the hub.
        workers: Ray Train workers, which average their gradients; 0 trains in the flow's own process.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    settings = load(settings_file)
    files = files_for(task, {"sentiment": sentiment, "ner": ner})
    done = finetune_models(files, settings=settings, recipe=recipe, trunk=trunk, workers=workers)
    for decision in done.decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    _show(done)
    return done.decisions


def finetune_models(
    files: Mapping[str, LabelledFiles], *, settings: Settings, recipe: RecipeForm, trunk: str = TRUNK, workers: int = 1
) -> Finetuned:
    """Train, measure beside the champions, register, and pass the gate. Inside a flow each part is a task of its own."""
    from models.training import recipe_for

    chosen = recipe_for(tuple(files), **recipe.changes())
    storage = str(settings.home / "training")
    trained = train(
        files,
        trunk=trunk,
        recipe=chosen,
        storage=storage,
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    figures: dict[str, Evaluation] = {}
    champions: dict[str, Evaluation | None] = {}
    for name, parts in files.items():
        figures[name] = evaluate(trained.bundle, task=name, dev=parts.dev, storage=storage)
        serving = registry.champion(name)
        champions[name] = None if serving is None else evaluate(str(serving), task=name, dev=parts.dev, storage=storage)
    params = asdict(chosen) | {"trunk": trunk, "workers": workers}
    params |= {
        f"{name}.{part}": ",".join(getattr(parts, part)) for name, parts in files.items() for part in ("train", "dev")
    }
    decisions = promote(
        trained.bundle,
        candidates=figures,
        champions=champions,
        params=params,
        tracking_uri=settings.mlflow_uri,
        artifact_root=str(settings.home / "bundles"),
    )
    return Finetuned(trained=trained, figures=figures, decisions=decisions)


def finetune_into(
    output: Path,
    files: Mapping[str, LabelledFiles],
    *,
    storage: Path,
    cluster: ClusterConfig,
    recipe: RecipeForm,
    trunk: str = TRUNK,
    workers: int = 1,
    allow_hub: bool = False,
) -> dict[str, Evaluation]:
    """Train outside the registry and leave the bundle in `output`; returns its figures on dev by task. Needs no Prefect server."""
    from models.training import recipe_for

    refuse_to_overwrite(output)
    trained = train.fn(
        files,
        trunk=trunk,
        recipe=recipe_for(tuple(files), **recipe.changes()),
        storage=str(storage),
        cluster=cluster,
        workers=workers,
        allow_hub=allow_hub,
    )
    copy_bundle(Path(trained.bundle), output)
    return {
        name: evaluate.fn(str(output), task=name, dev=parts.dev, storage=str(storage)) for name, parts in files.items()
    }


def refuse_to_overwrite(output: Path) -> None:
    """Raise where `output` holds something that is no bundle."""
    if (
        output.exists()
        and not (output / "manifest.json").is_file()
        and not (output.is_dir() and not any(output.iterdir()))
    ):
        raise Fatal(
            f"{output} is not empty and holds no bundle; allowed: a new or empty directory, or an earlier bundle"
        )


def copy_bundle(bundle: Path, output: Path) -> None:
    """Put a copy of a bundle at `output`, whole or not at all; what is no bundle there is never replaced."""
    from models.bundle import replace_directory

    output = output.absolute()
    refuse_to_overwrite(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.name}.{os.getpid()}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(bundle, draft)
        replace_directory(output, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _show(done: Finetuned) -> None:
    """The report per class and the gate's words, on the run's page."""
    lines = [
        f"- **{d.task}/{d.version}** {'is champion' if d.promoted else 'is no champion'}: {d.reason}"
        for d in done.decisions
    ]
    create_markdown_artifact("\n".join(lines), key="finetune-gate", description="What the gate said")
    for task, figures in done.figures.items():
        table = [asdict(label) for label in figures.labels]
        create_table_artifact(table, key=f"finetune-{task}", description=f"{task} by class on {figures.n} dev examples")
