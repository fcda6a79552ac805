"""Promotion by hand: let a version serve, or take the champion back. The gate is not asked; who asks says why, and that is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.artifacts import concluded
from flows.forms import Named, form
from flows.operate import logs
from flows.settings import load, quiet
from tasks.registry import Registry

TaskName = Literal["sentiment", "topics", "ner", "entity_sentiment", "summary"]


@form
@flow(name="promote", flow_run_name="promote {task}/{version}")
def promote(
    task: TaskName, version: Annotated[int, Field(ge=1)], reason: Named, settings_file: str | None = None
) -> str:
    """Let a registered version serve from the next night on.

    Args:
        task: Whose champion it becomes.
        version: The version's number in the registry.
        reason: Why; kept with the version.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    registry = _registry(settings_file)
    registry.resolve(f"{task}/{version}")
    registry.promote(task, version, reason=f"promoted by hand: {reason}")
    return _said(f"{task}/{version} is champion: {reason}")


@form
@flow(name="rollback", flow_run_name="rollback {task}")
def rollback(task: TaskName, reason: Named, settings_file: str | None = None) -> str:
    """Take the champion back and let the one before it serve again; asked again, the one before that.

    Args:
        task: Whose champion is taken back.
        reason: Why; kept with the version that is taken back.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    before = _registry(settings_file).rollback(task, reason=reason)
    return _said(f"{before.name} is champion again: {reason}")


def _registry(settings_file: str | None) -> Registry:
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    return Registry(settings.mlflow_uri, settings.home / "bundles")


def _said(text: str) -> str:
    get_run_logger().info(text)
    create_markdown_artifact(text, key="promotion", description="Who serves")
    return concluded(text)
