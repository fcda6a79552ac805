"""Distillation, from teachers and labelled files to a candidate: train the student, measure it beside the champion, register, gate.

`distil_into` does the same outside the registry, into a directory. A stopped run goes on at its last checkpoint when it is run again with the
same parameters.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prefect import flow, get_run_logger

from flows.artifacts import concluded
from flows.finetune import Finetuned, PlanName, copy_bundle, files_for, pass_gate, refuse_to_overwrite, show_finetuned
from flows.forms import LabelledForm, Named, RecipeForm, Seeds, Workers, form
from flows.forms_distil import TeachingForm
from flows.operate import logs
from flows.settings import Settings, load, quiet
from tasks.distil import distil as teach
from tasks.evaluate import evaluate
from tasks.promote import Decision
from tasks.registry import Registry

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from models.plans import Plan

STUDENT = "layers:3"
OneTask = Literal["sentiment", "topics", "ner", "entity_sentiment", "summary"]


@form
@flow(name="distil", flow_run_name="distil {task}")
def distil(
    teaching: TeachingForm,
    task: OneTask = "sentiment",
    student: Named = STUDENT,
    files: LabelledForm | None = None,
    plan: PlanName = "default",
    recipe: RecipeForm = RecipeForm(),  # noqa: B008
    seeds: Seeds | None = None,
    workers: Workers = 1,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Teach a smaller model what a larger one, or several, have learnt.

    Args:
        teaching: The teachers, texts without labels for them to speak about, and how much they count.
        task: What is taught.
        student: What learns: bilstm, layers:3 (the default trunk cut to so many layers), minilm, a directory on the worker, or a hub name.
        files: Labelled examples of the task. Empty: the shipped sample.
        plan: default is one quick training; best is what measured best for the task, and takes several times as long.
        recipe: Changes to the plan's recipe.
        seeds: Trainings whose weights are averaged into one student. Empty: the plan's number.
        workers: Ray Train workers, which average their gradients; 0 trains in the flow's own process.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    from models.plans import plan_for

    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    chosen = plan_for((task,), plan, seeds=seeds, **recipe.changes())
    labelled = files_for(task, {task: files})
    trained = teach(
        labelled,
        teaching=teaching.teaching(Registry(settings.mlflow_uri, settings.home / "bundles").resolve),
        student=student,
        plan=chosen,
        storage=str(settings.home / "training"),
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    params = asdict(trained.plan.recipe) | teaching.model_dump() | {"trunk": student, "seeds": chosen.seeds}
    figures, decisions = pass_gate(trained.bundle, labelled, params=params, settings=settings, epochs=trained.epochs)
    for decision in decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    show_finetuned(Finetuned(trained=trained, figures=figures, decisions=decisions), key="distil")
    return concluded(decisions)


def distil_into(
    output: Path,
    task: str,
    files: LabelledForm,
    *,
    teaching: TeachingForm,
    student: str,
    plan: Plan,
    settings: Settings,
    workers: int = 1,
) -> Evaluation:
    """Teach outside the registry and leave the student in `output`; returns its figures on dev. Needs no Prefect server."""
    refuse_to_overwrite(output)
    storage = str(settings.home / "training")
    labelled = files_for(task, {task: files})
    trained = teach.fn(
        labelled,
        teaching=teaching.teaching(Registry(settings.mlflow_uri, settings.home / "bundles").resolve),
        student=student,
        plan=plan,
        storage=storage,
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    copy_bundle(Path(trained.bundle), output)
    return evaluate.fn(str(output), task=task, dev=files.dev, storage=storage)
