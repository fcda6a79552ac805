"""Compression, from a model to a smaller candidate: compress, learn again where pruned, weigh beside the original, register, gate.

The gate asks for a better F1, which a smaller model seldom has: it stays a candidate with its figures, to be promoted by hand where the
size or the speed is worth it. `compress_into` does the same outside the registry, into a directory.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.artifacts import concluded
from flows.distil import OneTask
from flows.finetune import PlanName, copy_bundle, files_for, pass_gate, refuse_to_overwrite
from flows.forms import LabelledForm, RecipeForm, Workers, form
from flows.forms_distil import CompressionForm
from flows.operate import logs
from flows.settings import Settings, load, quiet
from tasks.compress import compress as shrink
from tasks.promote import Decision
from tasks.registry import Registry

if TYPE_CHECKING:
    from models.compress.report import CompressionReport
    from models.plans import Plan


@form
@flow(name="compress", flow_run_name="compress {task}")
def compress(
    task: OneTask = "sentiment",
    model: str | None = None,
    compression: CompressionForm = CompressionForm(),  # noqa: B008
    files: LabelledForm | None = None,
    plan: PlanName = "default",
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    workers: Workers = 1,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Make a model smaller, and say what that saves and costs.

    Args:
        task: What the model is compressed for; of a joint model only this head is taken.
        model: sentiment/3, champion, or a bundle's directory. Empty: the task's champion.
        compression: The method, and how much.
        files: Labelled examples: to learn again from after pruning, and to calibrate and measure on. Empty: the shipped sample.
        plan: How a pruned model learns again: default, or best, which takes several times as long.
        recipe: Changes to the plan's recipe; windows and word features stay the model's own.
        workers: Ray Train workers, which average their gradients; 0 trains in the flow's own process.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    from models.plans import plan_for

    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    name = model or f"{task}/champion"
    labelled = files_for(task, {task: files})
    chosen = plan_for((task,), plan, **recipe.changes())
    done = shrink(
        str(Registry(settings.mlflow_uri, settings.home / "bundles").resolve(name)),
        labelled,
        compression=compression.compression(),
        plan=chosen,
        storage=str(settings.home / "training"),
        cluster=settings.cluster,
        workers=workers,
    )
    params = (
        (asdict(done.plan.recipe) if done.plan else {})
        | compression.model_dump()
        | {"compressed": name}
        | done.report.metrics()
    )
    _, decisions = pass_gate(done.bundle, labelled, params=params, settings=settings)
    for decision in decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    _show(done.report, decisions)
    return concluded(decisions)


def compress_into(
    output: Path,
    task: str,
    model: str,
    files: LabelledForm,
    *,
    compression: CompressionForm,
    plan: Plan,
    settings: Settings,
    workers: int = 1,
) -> CompressionReport:
    """Compress outside the registry and leave the bundle in `output`; returns what it weighs. Needs no Prefect server."""
    refuse_to_overwrite(output)
    done = shrink.fn(
        str(Registry(settings.mlflow_uri, settings.home / "bundles").resolve(model)),
        files_for(task, {task: files}),
        compression=compression.compression(),
        plan=plan,
        storage=str(settings.home / "training"),
        cluster=settings.cluster,
        workers=workers,
    )
    copy_bundle(Path(done.bundle), output)
    return done.report


def _show(report: CompressionReport, decisions: tuple[Decision, ...]) -> None:
    rows = [
        {"model": name, **{key: value for key, value in asdict(one).items() if key not in ("digest", "f1")}, **one.f1}
        for name, one in (("before", report.before), ("after", report.after))
    ]
    create_table_artifact(rows, key="compress-weights", description=report.sentence())
    lines = [f"- {one.said}" for one in decisions]
    create_markdown_artifact(
        "\n".join([report.sentence(), "", *lines]), key="compress-gate", description="What the gate said"
    )
