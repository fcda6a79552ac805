"""Steps that draw their progress beside each other, as the two threads of a backfill do."""

import logging
from contextlib import ExitStack
from typing import cast

import pytest
from prefect.context import TaskRunContext

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
