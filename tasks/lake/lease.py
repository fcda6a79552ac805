"""The lock of a night on a store without a kernel: an object that names its owner and says until when, renewed while the run lives.

Taken by a PUT that is refused where the object is there, taken over by one that is refused where it is not the lease that had run out, and
renewed by one that is refused where it is no longer ours: exact where the store has conditional PUT (AWS S3 since 2024 and most of its
kin; GCS and Azure for the first of the three). Elsewhere two runs that start in the same second may both believe they hold it.

The process knows until when a lease of its own is safe, and a commit or a change of the night's bench asks for that first: a run that was
suspended, or cut off from the store, for longer than its lease writes nothing of the night any more. Not covered: one that is suspended between
that question and the writing; and other processes that work for a run, such as Ray's, which hold no lease and are not asked.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from data_contracts.errors import NightdeskError
from tasks.lake.errors import LakeDamaged, LakeUnreachable, NightLocked, explained

if TYPE_CHECKING:
    from tasks.lake.remote import RemoteStore

log = logging.getLogger(__name__)

# shares of a lease's length
RENEWED_AFTER = 1 / 3
TRIED_AGAIN_AFTER = 1 / 15  # once a renewal failed
MARGIN = 1 / 5  # with less left it counts as run out: clocks differ, and what is asked of a store may reach it late
LOST = datetime.min.replace(tzinfo=UTC)

_ours: dict[str, tuple[str, datetime]] = {}  # token -> (address, until when nobody else can have it)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who holds a night, and until when (UTC) unless renewed."""

    token: str
    pid: int
    host: str
    run_id: str
    since: str
    until: str

    def __str__(self) -> str:
        return f"pid {self.pid}, host {self.host}, run_id {self.run_id or '-'}, since {self.since}, until {self.until}"

    def encoded(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self)).encode()


@contextmanager
def held(
    store: RemoteStore, relative: str, *, night: str, run_id: str, now: datetime, length: timedelta
) -> Iterator[None]:
    """Hold the lease of a night, renewed by a thread, or raise `NightLocked` naming who holds it."""
    mine = Lease(
        token=uuid.uuid4().hex,
        pid=os.getpid(),
        host=socket.gethostname(),
        run_id=run_id,
        since=now.isoformat(),
        until=(now + length).isoformat(),
    )
    begun = datetime.now(UTC)
    _take(store, relative, mine, night=night, now=now)
    _ours[mine.token] = (store.address(relative), begun + (1 - MARGIN) * length)
    ended = threading.Event()
    renewer = threading.Thread(
        target=_renew, args=(store, relative, mine, length, ended), name=f"lease {night}", daemon=True
    )
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        _release(store, relative, mine)


def require_kept(address: str) -> None:
    """Raise `NightLocked` where a lease of this process at `address` was lost, or may be by now; where it has none, do nothing."""
    for place, safe_until in list(_ours.values()):
        if place == address and safe_until <= datetime.now(UTC):
            raise NightLocked(
                f"the lease {address} was taken over or could not be renewed in time, so that another run may be writing this night; "
                "nothing more was written. Look whether one is, then run the night again"
            )


def _take(store: RemoteStore, relative: str, mine: Lease, *, night: str, now: datetime) -> None:
    tag = store.tag(relative)  # asked for before the lease is read: where that changes in between, the PUT is refused
    there = _holder(store, relative)
    try:
        with explained(store.address(relative)):
            if there is not None and datetime.fromisoformat(there.until) <= now:
                log.warning("the lease of night %s has run out, taking it over from %s", night, there)
                store.replace(relative, mine.encoded(), tag=tag)
            else:
                store.create(relative, mine.encoded())
    except (
        OSError,
        LakeUnreachable,
    ) as error:  # refused, in one of many dresses, or done and its answer lost: the lease there tells
        if _holder(store, relative) is None:
            raise
        log.debug("the lease %s was not taken: %s", store.address(relative), error)
    there = _holder(store, relative)
    if there is None or there.token != mine.token:
        raise NightLocked(
            f"night {night} is being written by another run ({there}); wait for it or stop it: the lock "
            f"{store.address(relative)} is free when that run ends, or once its lease has run out"
        )


def _renew(store: RemoteStore, relative: str, mine: Lease, length: timedelta, ended: threading.Event) -> None:
    pause = RENEWED_AFTER
    while not ended.wait(length.total_seconds() * pause):
        pause = TRIED_AGAIN_AFTER
        try:
            tag = store.tag(relative)
            there = _holder(store, relative)
            if there is None or there.token != mine.token:
                _ours[mine.token] = (store.address(relative), LOST)
                log.error("the lease %s was lost to %s", store.address(relative), there)
                return
            until = datetime.now(UTC) + length
            store.replace(relative, replace(mine, until=until.isoformat()).encoded(), tag=tag)
            _ours[mine.token] = (store.address(relative), until - MARGIN * length)
            pause = RENEWED_AFTER
        except (OSError, NightdeskError) as error:
            log.warning("the lease %s could not be renewed yet: %s", store.address(relative), error)


def _release(store: RemoteStore, relative: str, mine: Lease) -> None:
    """Remove our lease. Reading it and removing it are two steps, so one that has nearly run out is left to do so."""
    _, safe_until = _ours.pop(mine.token)
    try:
        there = _holder(store, relative)
        if safe_until <= datetime.now(UTC):
            log.warning("the lease %s is left to run out: it is or may soon be another run's", store.address(relative))
        elif there is not None and there.token == mine.token:
            store.remove(relative)
    except (OSError, NightdeskError) as error:  # what was done under the lease is done
        log.warning("the lease %s could not be released and is left to run out: %s", store.address(relative), error)


def _holder(store: RemoteStore, relative: str) -> Lease | None:
    data = store.read(relative)
    try:
        return None if data is None else Lease(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise LakeDamaged(f"the lock {store.address(relative)} cannot be read: {error}; remove it") from error
