"""The lock of a night, waited for: as long as a holder that was killed may keep it, whose lease on an object store has to run out first.

Not covered: who may wait. A person at a command line is better refused at once (`flows.locking`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from threading import Event

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from tasks.lake.errors import NightLocked
from tasks.lake.lake import Lake
from tasks.lake.remote import LEASE

logger = logging.getLogger(__name__)

PATIENCE = LEASE + timedelta(minutes=2)
LONGEST_PAUSE_SECONDS = 5.0


@contextmanager
def waited_for(lake: Lake, night: date, *, run_id: str, given_up: Event | None = None) -> Iterator[None]:
    """As `Lake.lock`, once the night is free; `given_up` ends the waiting.

    Raises:
        NightLocked: another run still holds it after `PATIENCE`.
    """
    given_up = given_up or Event()
    attempts = Retrying(
        retry=retry_if_exception_type(NightLocked),
        stop=stop_after_delay(PATIENCE) | stop_when_event_set(given_up),
        wait=wait_exponential(multiplier=0.1, max=LONGEST_PAUSE_SECONDS),
        sleep=sleep_using_event(given_up),
        before_sleep=_say,
        reraise=True,
    )
    with ExitStack() as stack:
        attempts(lambda: stack.enter_context(lake.lock(night, run_id=run_id)))
        yield


def _say(attempt: RetryCallState) -> None:
    if attempt.attempt_number == 1 and attempt.outcome is not None:
        logger.info("%s; waiting for it", attempt.outcome.exception())
