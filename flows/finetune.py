"""Fine-tuning, from labelled files to a champion: contract, Ray Train, evaluation per class, MLflow, gate.

Both tasks together train one trunk with two heads, which scores a night in one pass. A candidate becomes champion only by beating the present
champion on the same dev data; otherwise it stays a candidate with the reason. A run that was stopped goes on at its last checkpoint when it is
run again with the same parameters. `finetune_into` trains outside the registry, into a directory.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import Field

from data_contracts.errors import Fatal
from data_contracts.labels import NIGHT_TASKS, TASKS
from flows.artifacts import concluded, show_shadow
from flows.forms import LabelledForm, Named, RecipeForm, Seeds, Workers, form
from flows.operate import logs
from flows.settings import SAMPLE, Settings, load, quiet
from flows.wiring import backend_of
from tasks import output as outputs
from tasks.cluster import ClusterConfig
from tasks.evaluate import evaluate
from tasks.promote import Decision, promote
from tasks.registry import Registry
from tasks.settle import settle_champions
from tasks.shadow import Shadow, shadow
from tasks.train import LabelledFiles, Trained, train

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from models.plans import Plan
    from tasks.cluster.progress import Epoch

logger = logging.getLogger(__name__)

SAMPLE_LABELLED = SAMPLE / "labelled"
TRUNK = "minilm"
Task = Literal["all", "sentiment", "topics", "ner", "entity_sentiment", "summary"]
PlanName = Literal["default", "best"]


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
    named = {
        name: LabelledFiles(train=tuple(form.train), dev=tuple(form.dev), auxiliary=tuple(form.auxiliary))
        for name, form in given.items()
        if form
    }
    if task == "all":
        return named or {name: sample_files(name) for name in NIGHT_TASKS}
    if strays := sorted(set(named) - {task}):
        raise Fatal(
            f"files for {', '.join(strays)} were given, but the task is {task!r}; allowed: files for {task}, or task 'all'"
        )
    return {task: named.get(task) or sample_files(task)}


@form
@flow(name="finetune", flow_run_name="finetune {task}")
def finetune(
    task: Task = "all",
    sentiment: LabelledForm | None = None,
    topics: LabelledForm | None = None,
    ner: Annotated[LabelledForm | None, Field(title="Entities")] = None,
    entity_sentiment: LabelledForm | None = None,
    summary: LabelledForm | None = None,
    plan: PlanName = "default",
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    seeds: Seeds | None = None,
    trunk: Named = TRUNK,
    workers: Workers = 1,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Fine-tune BERT on labelled sentences, and let it serve if it beats what serves.

    Args:
        task: What to train. All: one trunk with a head for each task that has files; without files, sentiment and ner on the shipped sample.
        sentiment: Labelled sentences for the sentiment head. Empty: the shipped sample.
        topics: Labelled texts for the topics head. Empty: the shipped sample.
        ner: Labelled sentences for the entity head. Empty: the shipped sample.
        entity_sentiment: Labelled sentences for the head of sentiment towards each entity. Empty: the shipped sample.
        summary: Texts with summaries for the summary head. Empty: the shipped sample.
        plan: default is one quick training; best is what measured best for one task, and takes several times as long.
        recipe: Changes to the plan's recipe.
        seeds: Trainings whose weights are averaged into one model. Empty: the plan's number.
        trunk: The encoder to start from: minilm, bilstm, a directory on the worker, or a hub name where the settings allow the hub.
        workers: Ray Train workers, which average their gradients; 0 trains in the flow's own process.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    from models.plans import plan_for

    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    given = dict(zip(TASKS, (sentiment, topics, ner, entity_sentiment, summary), strict=True))
    files = files_for(task, given)
    chosen = plan_for(tuple(files), plan, seeds=seeds, **recipe.changes())
    done = finetune_models(files, settings=settings, plan=chosen, trunk=trunk, workers=workers)
    for decision in done.decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    show_finetuned(done)
    return concluded(done.decisions)


def finetune_models(
    files: Mapping[str, LabelledFiles], *, settings: Settings, plan: Plan, trunk: str = TRUNK, workers: int = 1
) -> Finetuned:
    """Train, measure beside the champions, register, and pass the gate. Inside a flow each part is a task of its own."""
    storage = str(settings.home / "training")
    trained = train(
        files,
        trunk=trunk,
        plan=plan,
        storage=storage,
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    params = asdict(trained.plan.recipe) | {"seeds": plan.seeds, "trunk": trunk, "workers": workers}
    figures, decisions = pass_gate(trained.bundle, files, params=params, settings=settings, epochs=trained.epochs)
    return Finetuned(trained=trained, figures=figures, decisions=decisions)


def pass_gate(
    bundle: str,
    files: Mapping[str, LabelledFiles],
    *,
    params: Mapping[str, object],
    settings: Settings,
    epochs: Sequence[Epoch] = (),
) -> tuple[dict[str, Evaluation], tuple[Decision, ...]]:
    """Measure a bundle on dev beside the champions, register it with how it was made, and let the gate decide."""
    storage = str(settings.home / "training")
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    figures: dict[str, Evaluation] = {}
    champions: dict[str, Evaluation | None] = {}
    shadows: dict[str, Shadow | None] = {}
    for name, parts in files.items():
        serving = registry.champion(name)
        beside = [] if serving is None else [str(serving)]
        figures[name] = evaluate(bundle, task=name, dev=parts.dev, storage=storage, beside=beside)
        champions[name] = shadows[name] = None
        if serving is not None:
            champions[name] = evaluate(str(serving), task=name, dev=parts.dev, storage=storage, beside=[bundle])
            shadows[name] = shadow(
                settings.lake,
                task=name,
                champion=str(serving),
                candidate=bundle,
                nights=settings.promotion.shadow_nights,
                max_articles=settings.promotion.shadow_articles,
                scratch=str(settings.home / "bundles" / "narrowed"),
            )
    read = {
        f"{name}.{part}": ",".join(getattr(parts, part))
        for name, parts in files.items()
        for part in ("train", "dev", "auxiliary")
    }
    decisions = promote(
        bundle,
        candidates=figures,
        champions=champions,
        params={**params, **read},
        tracking_uri=settings.mlflow_uri,
        artifact_root=str(settings.home / "bundles"),
        gate=settings.promotion,
        shadows=shadows,
        epochs=epochs,
    )
    for found in shadows.values():
        if found is not None:
            show_shadow(found)
    own = {name: parts for name, parts in files.items() if parts != sample_files(name)}
    if own and any(decision.promoted for decision in decisions):
        _settle(registry.serving(), files, dev={name: parts.dev for name, parts in own.items()}, settings=settings)
    return figures, decisions


def _settle(
    bundles: Sequence[Path], files: Mapping[str, LabelledFiles], *, dev: Mapping[str, Sequence[str]], settings: Settings
) -> None:
    """What computes the new champions; a backend that the settings name and that may not serve them is told, since they are champions already."""
    try:
        settle_champions(
            bundles,
            backend_of(settings, dev=dev),
            train={name: parts.train for name, parts in files.items()},
            token_budget=settings.cluster.batch_tokens(),
        )
    except Fatal as refused:
        logger.warning("a night with these champions will be refused: %s", refused)


def finetune_into(
    output: Path,
    files: Mapping[str, LabelledFiles],
    *,
    storage: Path,
    cluster: ClusterConfig,
    plan: Plan,
    trunk: str = TRUNK,
    workers: int = 1,
    allow_hub: bool = False,
) -> dict[str, Evaluation]:
    """Train outside the registry and leave the bundle in `output`; returns its figures on dev by task. Needs no Prefect server."""
    refuse_to_overwrite(output)
    trained = train.fn(
        files,
        trunk=trunk,
        plan=plan,
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
    outputs.refuse_to_overwrite(output, mark="manifest.json", what="bundle")


def copy_bundle(bundle: Path, output: Path) -> None:
    """Put a copy of a bundle at `output`, whole or not at all; what is no bundle there is never replaced."""
    outputs.copy_result(bundle, output, mark="manifest.json", what="bundle")


def show_finetuned(done: Finetuned, *, key: str = "finetune") -> None:
    """The report per class and the gate's words, on the run's page, under names that begin with `key`."""
    lines = [f"- {d.said}" for d in done.decisions]
    create_markdown_artifact("\n".join(lines), key=f"{key}-gate", description="What the gate said")
    for task, figures in done.figures.items():
        table = [asdict(label) for label in figures.labels]
        create_table_artifact(
            table, key=f"{key}-{task.replace('_', '-')}", description=f"{task} by class on {figures.n} dev examples"
        )
