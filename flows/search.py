"""Searching a recipe, from labelled files to a gated candidate: trials on Ray Tune, every one in MLflow, the best through the gate.

Trials are chosen by dev and by nothing else, so the figure of the best is a figure on dev after many looks at it; quote what the model gives on texts
that chose nothing. A search that was stopped goes on when it is run again with the same parameters. See tasks.cluster.search for the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data_contracts.errors import Fatal
from flows.artifacts import concluded
from flows.finetune import TRUNK, PlanName, Task, files_for, pass_gate
from flows.forms import LabelledForm, Named, RecipeForm, form
from flows.forms_search import SearchForm, SpaceForm, space_of
from flows.operate import logs
from flows.settings import Settings, load, quiet
from tasks.promote import Decision
from tasks.search import Searched
from tasks.search import search as search_recipe
from tasks.space import Space
from tasks.train import LabelledFiles
from tasks.trials import SearchPlan

if TYPE_CHECKING:
    from models.training import Recipe


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search gave: its trials, and what the gate said of the best."""

    searched: Searched
    decisions: tuple[Decision, ...]


@form
@flow(name="search", flow_run_name="search {task}")
def search(
    task: Task = "sentiment",
    labelled: LabelledForm | None = None,
    space: SpaceForm = {},  # noqa: B006
    extent: SearchForm = SearchForm(),  # noqa: B008
    plan: PlanName = "default",
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    trunk: Named = TRUNK,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Search the recipe of a fine-tuning: many trials, the bad ones stopped early; the best serves if it beats what serves.

    Args:
        task: What to train. All: sentiment and ner in one trunk, on the shipped sample.
        labelled: Labelled files of the task. Empty: the shipped sample.
        space: By field of the recipe, its range (low, high, log) or its choices. Empty: rates, batch size, warm-up, dropout and smoothing.
        extent: How many trials, how long, how many at once.
        plan: The recipe that trials change: default, or best, which measured best for the task.
        recipe: Changes to that recipe, the same for every trial.
        trunk: The encoder to start from: minilm, a directory on the worker, or a hub name where the settings allow the hub.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    from models.plans import plan_for

    if recipe.epochs is not None or recipe.patience is not None:
        raise Fatal(
            "the recipe of a search gives epochs or patience; allowed: extent.max_epochs, since a search stops trials"
        )
    if task == "all" and labelled:
        raise Fatal(
            "labelled is filled in for task all; allowed: one task with its files, or all on the shipped sample"
        )
    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    files = files_for(task, {task: labelled})
    chosen = plan_for(tuple(files), plan, seeds=1, **recipe.changes())
    found = search_models(
        files, settings=settings, recipe=chosen.recipe, space=space_of(space), extent=extent.plan(), trunk=trunk
    )
    for decision in found.decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    _show(found)
    return concluded(found.decisions)


def search_models(
    files: Mapping[str, LabelledFiles],
    *,
    settings: Settings,
    recipe: Recipe,
    space: Space,
    extent: SearchPlan,
    trunk: str = TRUNK,
) -> Found:
    """Search, then measure the best trial's bundle beside the champions, register it, and pass the gate."""
    searched = search_recipe(
        files,
        trunk=trunk,
        recipe=recipe,
        space=space,
        plan=extent,
        storage=str(settings.home / "training"),
        cluster=settings.cluster,
        tracking_uri=settings.mlflow_uri,
        artifact_root=str(settings.home / "bundles"),
        allow_hub=settings.allow_hub,
    )
    best = searched.trials[0]
    params = asdict(recipe) | {"trunk": trunk, "search": searched.name, "trial": best.name, **best.parameters}
    _, decisions = pass_gate(searched.bundle, files, params=params, settings=settings)
    return Found(searched=searched, decisions=decisions)


def _show(found: Found) -> None:
    """The gate's words and every trial, on the run's page."""
    lines = [f"- {d.said}" for d in found.decisions]
    lines.append(f"- trials are in MLflow, run {found.searched.run_id}; their figures are on dev, which chose the best")
    create_markdown_artifact("\n".join(lines), key="search-gate", description="What the gate said")
    table = [
        {**one.parameters, "trial": one.name, "state": one.state, "epochs": len(one.figures), "dev": one.best}
        for one in found.searched.trials
    ]
    create_table_artifact(table, key="search-trials", description="Every trial, best first; F1 on dev")
