"""The progress that steps draw: beside each other, as the two threads of a backfill do, and of their parts."""

import logging
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.context import TaskRunContext

from tasks import step
from tasks.step import _progress


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("tasks")


def test_a_step_that_ends_leaves_the_progress_of_another_drawn(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "level", logging.WARNING)
    handlers = list(logger.handlers)
    first, second = ExitStack(), ExitStack()
    for block in (first, second):
        block.enter_context(_progress(cast(TaskRunContext, None)))
    first.close()
    assert logger.getEffectiveLevel() <= logging.INFO
    second.close()
    assert logger.handlers == handlers


def test_parts_of_a_step_have_bars_of_their_own_that_move_now_and_then(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[float]] = {}
    context = cast(TaskRunContext, SimpleNamespace(task_run=SimpleNamespace(name="ingest 2026-03-02")))

    def made(progress: float, key: str, description: str) -> str:
        drawn[key] = [progress]
        return key

    def moved(artifact: Any, progress: float, description: str) -> None:
        drawn[artifact].append(progress)

    monkeypatch.setattr(step, "create_progress_artifact", made)
    monkeypatch.setattr(step, "update_progress_artifact", moved)
    monkeypatch.setattr(TaskRunContext, "get", lambda: context)
    with _progress(context):
        for done in (0, 1, 2):
            logger.info("pages", extra={"done": done, "total": 4, "part": "pages of The Wire"})
        logger.info("read", extra={"done": 1, "total": 2})
        monkeypatch.setattr(step, "PROGRESS_SECONDS", 0)
        logger.info("pages", extra={"done": 3, "total": 4, "part": "pages of The Wire"})
        logger.info("read", extra={"done": 2, "total": 2})
    assert drawn == {
        "ingest-2026-03-02-pages-of-the-wire-progress": [0.0, 75.0],
        "ingest-2026-03-02-progress": [50.0, 100.0],
    }
