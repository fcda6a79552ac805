"""How a verb of `tasks/` becomes a Prefect task.

One decorator, so that every step of a night has the same manners: it is retried with growing, jittered pauses when the error says that
another try may help (`Retriable`), and on no other error; its inputs are never hashed and its result never stored, because steps hand
each other small `Partition`s and the lake is the only memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from data_contracts.errors import Retriable

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 3
BACKOFF_SECONDS = 2.0


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
        decorated = task(
            name=name,
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=worth_retrying,
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        return decorated(function)

    return wrap
