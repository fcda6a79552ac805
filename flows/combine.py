"""An ensemble or a soup of several models, from bundles to a candidate: combine, measure beside the champion, register, gate.

`combine_into` does the same outside the registry, into a directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.artifacts import concluded
from flows.distil import OneTask
from flows.finetune import copy_bundle, pass_gate, refuse_to_overwrite, sample_files
from flows.forms import Named, form
from flows.operate import logs
from flows.settings import Settings, load, quiet
from tasks.combine import combine as unite
from tasks.evaluate import evaluate
from tasks.promote import Decision
from tasks.registry import Registry
from tasks.train import LabelledFiles

if TYPE_CHECKING:
    from models.evaluation import Evaluation

How = Literal["ensemble", "soup"]


@form
@flow(name="combine", flow_run_name="combine {task}")
def combine(
    models: Annotated[list[Named], Field(min_length=2, json_schema_extra={"uniqueItems": True})],
    task: OneTask = "sentiment",
    how: How = "ensemble",
    dev: list[Named] | None = None,
    settings_file: str | None = None,
) -> tuple[Decision, ...]:
    """Make one model of several: an ensemble that asks them all, or a soup of their weights.

    Args:
        models: Two or more of sentiment/3, champion, or bundles' directories; of joint models only the task's head is taken.
        task: What they answer.
        how: ensemble is better and as slow as all of them; soup, for models fine-tuned from one start, is as fast as one.
        dev: Labelled JSONL to calibrate and measure on, paths on the worker. Empty: the shipped sample.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    files: dict[str, LabelledFiles] = {task: LabelledFiles(train=(), dev=tuple(dev)) if dev else sample_files(task)}
    bundle = unite(
        _found(models, settings), how=how, task=task, dev=files[task].dev, storage=str(settings.home / "training")
    )
    params: dict[str, object] = {"combined": how, "models": ",".join(models)}
    figures, decisions = pass_gate(bundle, files, params=params, settings=settings)
    lines = [f"- {one.said}" for one in decisions]
    measured = (
        f"{how} of {len(models)}: {figures[task].headline} {figures[task].f1:.4f} on {figures[task].n} dev examples"
    )
    create_markdown_artifact("\n".join([measured, "", *lines]), key="combine-gate", description="What the gate said")
    for decision in decisions:
        get_run_logger().info("%s/%d: %s", decision.task, decision.version, decision.reason)
    return concluded(decisions)


def combine_into(
    output: Path, task: str, models: Sequence[str], dev: Sequence[str], *, how: How, settings: Settings
) -> Evaluation:
    """Combine outside the registry and leave the bundle in `output`; returns its figures on dev. Needs no Prefect server."""
    refuse_to_overwrite(output)
    storage = str(settings.home / "training")
    bundle = unite.fn(_found(models, settings), how=how, task=task, dev=dev, storage=storage)
    copy_bundle(Path(bundle), output)
    return evaluate.fn(str(output), task=task, dev=dev, storage=storage)


def _found(models: Sequence[str], settings: Settings) -> list[str]:
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    return [str(registry.resolve(name)) for name in models]
