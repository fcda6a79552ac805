"""Promotion by hand: let a version serve, or take the champion back. The gate is not asked; who asks says why, and that is kept."""

from __future__ import annotations

from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.settings import load, quiet
from tasks.registry import Registry

TaskName = Literal["sentiment", "topics", "ner", "entity_sentiment", "summary"]


@flow(name="promote")
def promote(task: TaskName, version: int, reason: str, settings_file: str | None = None) -> str:
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


@flow(name="rollback")
def rollback(task: TaskName, reason: str, settings_file: str | None = None) -> str:
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
    return Registry(settings.mlflow_uri, settings.home / "bundles")


def _said(text: str) -> str:
    get_run_logger().info(text)
    create_markdown_artifact(text, key="promotion", description="Who serves")
    return text
