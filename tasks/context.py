"""What the work at hand is about - which night, source, table - so that every line of the log can carry it without being handed it; and
whether it is still wanted.

A part that knows says so once, `with about(source="wire"):`, and whoever formats a line asks `said()`. It is a context variable: calls
inside the block see it, other threads and processes do not, unless they are started with a copy of the context. In the same way work that can
last asks `go_on`, or waits with `pause`, and ends soon after somebody who called it has cancelled it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from types import MappingProxyType

from data_contracts.errors import Fatal

_CANCELLED: ContextVar[Event] = ContextVar("cancelled", default=Event())  # noqa: B039 - of work that nobody can cancel; never set
_SAID: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(*, night: dt.date | None = None, source: str | None = None, table: str | None = None) -> Iterator[None]:
    """Lines of the log written inside the block are about this, and about what was said around it."""
    given = {"night": None if night is None else night.isoformat(), "source": source, "table": table}
    token = _SAID.set({**_SAID.get(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _SAID.reset(token)


class Cancelled(Fatal):
    """The work is not wanted any more."""


@contextmanager
def until(event: Event) -> Iterator[None]:
    """Work inside the block ends, where it asks, once the event is set."""
    token = _CANCELLED.set(event)
    try:
        yield
    finally:
        _CANCELLED.reset(token)


def cancelled() -> Event:
    """Set once the work is not wanted any more, for whoever waits in another way."""
    return _CANCELLED.get()


def go_on() -> None:
    """Raise Cancelled where the work is not wanted any more."""
    if _CANCELLED.get().is_set():
        raise Cancelled("the run is being cancelled")


def pause(seconds: float) -> None:
    """Wait so long, or until the work is not wanted any more; then raise Cancelled."""
    _CANCELLED.get().wait(seconds)
    go_on()


def said() -> Mapping[str, str]:
    """What the work at hand is about: some of night, source and table."""
    return _SAID.get()
