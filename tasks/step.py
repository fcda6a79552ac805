"""How a verb of `tasks/` becomes a Prefect task.

One decorator, so that every step has the same manners. It is retried with growing, jittered pauses when the error says that another try may
help (`Retriable`), and on no other error; its inputs are never hashed and its result never stored, because steps hand each other small
`Partition`s and the lake is the only memory. On a run's page it is named after what it works on, its last state says what came of it (a
result that has `said`), and its progress is drawn from log records that carry `done` and `total`, the same that draw a bar at the command
line: so nothing that runs on Ray needs to know of Prefect. Called as `.fn`, it is the plain function.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar, cast, runtime_checkable
from uuid import UUID

from prefect import Task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed
from prefect.tasks import TaskRunNameCallbackWithParameters, exponential_backoff

from data_contracts.errors import Retriable
from tasks.secrecy import unspoken

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 3
BACKOFF_SECONDS = 2.0
PROGRESS_SECONDS = 2.0  # the least between two moves of a progress artifact

log = logging.getLogger(__name__)


@runtime_checkable
class Says(Protocol):
    """A result that can say in a line what came of its step: counts, and no secret."""

    @property
    def said(self) -> str:
        """The line."""


class Step(Task[P, R]):
    """A task that hands its caller the result where its function gave Prefect a state with the result in it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a task of the current run."""
        given: Any = super().__call__(*args, **kwargs)
        return given.result() if isinstance(given, State) else given


def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """True when the step failed with a `Retriable` error; Prefect calls it by these argument positions."""
    try:
        state.result(raise_on_failure=True)
    except Retriable:
        return True
    except BaseException:
        return False
    return False


def step(name: str, *, retries: int = RETRIES) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Decorate a verb as the Prefect task `name`; `.fn` is the plain function.

    Args:
        name: the name shown on the run's page.
        retries: how many further tries a `Retriable` error is given; the first waits about 2 s, the next 4 s, 8 s.
    """

    def wrap(function: Callable[P, R]) -> Task[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            context = TaskRunContext.get()
            if context is None or context.task is not decorated:  # called as `.fn`, perhaps within another step
                return function(*args, **kwargs)
            with unspoken(), _progress(context):
                result = function(*args, **kwargs)
            said = said_of(result)
            return result if said is None else cast(R, Completed(message=said, data=result))

        def named(parameters: dict[str, Any]) -> str:
            return _run_name(name, parameters)

        decorated: Step[P, R] = Step(
            run,
            name=name,
            task_run_name=cast(TaskRunNameCallbackWithParameters, named),
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=worth_retrying,
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        return decorated

    return wrap


def said_of(result: object) -> str | None:
    """The line of a result, where it has one; a text, such as a path, is its own; of several, one after the other."""
    if isinstance(result, tuple):
        return "; ".join(filter(None, map(said_of, result))) or None
    return result.said if isinstance(result, Says) else result if isinstance(result, str) else None


def _run_name(name: str, given: Mapping[str, Any]) -> str:
    """The step with its night, or with the tasks that it trains or measures."""
    tasks = given.get("task") or "+".join(given.get("files") or given.get("candidates") or ())
    return " ".join(str(part) for part in (name, given.get("night"), tasks) if part)


@contextmanager
def _progress(context: TaskRunContext) -> Iterator[None]:
    """Draw the progress that the block logs on the run's page."""
    logger = logging.getLogger("tasks")
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)  # and left so: another thread may be drawing when this block ends
    handler = _Progress(context)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Progress(logging.Handler):
    """Moves the progress artifacts of one task run with the records of its own thread that are `done` so far of a `total`.

    A record may name a `part` of the step, which has an artifact of its own.
    """

    def __init__(self, context: TaskRunContext) -> None:
        super().__init__()
        self._context = context
        self._artifacts: dict[str, UUID] = {}
        self._moved: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a record says, unless the last was shown just now; a server that is away does not stop the work."""
        done, total = getattr(record, "done", None), getattr(record, "total", None)
        if done is None or not total or TaskRunContext.get() is not self._context:
            return
        now, part = time.monotonic(), getattr(record, "part", "")
        if done < total and part in self._moved and now - self._moved[part] < PROGRESS_SECONDS:
            return
        self._moved[part] = now
        try:
            self._show(part, 100.0 * min(done / total, 1.0), record.getMessage())
        except Exception as error:
            log.debug("the progress of %s is not shown: %s", self._context.task_run.name, error)

    def _show(self, part: str, percent: float, said: str) -> None:
        if part in self._artifacts:
            update_progress_artifact(self._artifacts[part], progress=percent, description=said)
            return
        key = re.sub(r"[^a-z0-9]+", "-", f"{self._context.task_run.name} {part}".lower()).strip("-")
        made = create_progress_artifact(progress=percent, key=f"{key}-progress", description=said)
        self._artifacts[part] = cast(UUID, made)
