"""`nightdesk down`: end the runs, then the programs; the state stays.

A worker that is stopped takes its flow runs with it, without their `finally` or hooks. So the pool is paused first, runs under way may end by
themselves within a limit, and those that do not are cancelled as the UI would do it. What even then has a process is killed and its run
marked cancelled, so that none stands as running for ever. A run that a worker took and did not begin within the time it needs for that is waited for
no longer: it is set CRASHED in the words of the server's own automation, which may be switched off, so that it frees its place in the queue and the
watchdog tells of it after the next `up`. Runs that a person started with `nightdesk run` are not this desk's to end: they lose their server.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import httpx

from flows.operate import leftovers, places, supervised
from flows.operate.places import Places
from flows.operate.starting import PAUSED, go_on
from tasks import processes

CANCEL_SECONDS = 90  # for a flow's `finally` and a cluster's shutdown
POLL_SECONDS = 1.0
# From taking a run to its process a worker makes a handful of calls of the API: a second in all, more where machine and database are busy.
BEGIN_SECONDS = 60
FIRST = ("watchdog", "worker")  # while there is a server to speak to


def down(home: Path, wait_minutes: float, say: Callable[[str], None]) -> bool:
    """Stop everything that runs in this home; returns False where nothing did.

    Args:
        wait_minutes: how long runs under way may go on; then they are cancelled.
        say: is told each step.
    """
    if not places.folder(home).is_dir():
        return False
    with places.alone(home):
        where, ran = places.recall(home), places.alive(home)
        if ran and where is not None:
            try:
                _drain(home, where, wait_minutes, say)
            except BaseException:  # whoever changes their mind has a desk that goes on
                with suppress(httpx.HTTPError):
                    go_on(where)
                raise
        if ran:
            _stop(home, where)
        left = [one for some in leftovers.runs(home).values() for one in some] + leftovers.of_desk(home)
        processes.end(left, patience_seconds=10)
        places.forget(home)
        return ran or bool(left)


def _stop(home: Path, where: Places | None) -> None:
    """The programs, the server after those that speak to it."""
    there = supervised.states(home)
    for name in [one for one in FIRST if one in there]:
        supervised.stop(home, name)
    if where is not None:
        with suppress(httpx.HTTPError):  # then `up` finds the mark
            go_on(where)
    for name in set(there).difference(FIRST):
        supervised.stop(home, name, wait=False)
    supervised.shut_down(home)


def _drain(home: Path, where: Places, wait_minutes: float, say: Callable[[str], None]) -> None:
    """End the runs: by themselves, else cancelled, else killed."""
    with where.client() as client:
        _pause(home, where, client)
        if running := _outlasting(home, where, client, wait_minutes, say):
            _cancel(home, client, running, say)
        _give_up(home, where, client, say)


def _outlasting(
    home: Path, where: Places, client: httpx.Client, wait_minutes: float, say: Callable[[str], None]
) -> set[str]:
    """Wait for the runs to end by themselves; returns those that have not in time."""
    until, told = time.monotonic() + 60 * wait_minutes, ""
    quiet = 0  # looks in a row without a run: one may be between the queue and its process
    while quiet < 2:
        running = _under_way(home, where, client)
        quiet = 0 if running else quiet + 1
        if running and time.monotonic() >= until:
            return running
        if running and (line := f"waiting for {len(running)} runs, at most {wait_minutes:g} minutes") != told:
            say(told := line)
        time.sleep(POLL_SECONDS)
    return set()


def _pause(home: Path, where: Places, client: httpx.Client) -> None:
    """Let the worker take no more work. The mark is made first: a pause that nobody remembers would be for ever."""
    mark = places.folder(home) / PAUSED
    with suppress(httpx.HTTPError):  # without a server the worker takes no work either
        pool = client.get(f"/work_pools/{where.pool}")
        if pool.status_code == 200 and not pool.json()["is_paused"]:
            mark.touch()
            client.patch(f"/work_pools/{where.pool}", json={"is_paused": True}).raise_for_status()


def _under_way(home: Path, where: Places, client: httpx.Client) -> set[str]:
    """The ids of runs that have a process here or are about to get one; one whose process is gone, or never came, is not waited for."""
    running = set(leftovers.runs(home))
    return running | {run for run, seconds in _taken(where, client).items() if seconds < BEGIN_SECONDS}


def _taken(where: Places, client: httpx.Client) -> dict[str, float]:
    """The ids of runs that a worker took and that did not begin, and since how many seconds; none where no server answers."""
    asked = {
        "work_pools": {"name": {"any_": [where.pool]}},
        "flow_runs": {"state": {"type": {"any_": ["PENDING"]}}},
    }
    try:
        found = client.post("/flow_runs/filter", json=asked).raise_for_status().json()
    except httpx.HTTPError:
        return {}
    since = {one["id"]: dt.datetime.fromisoformat(one["state"]["timestamp"]).timestamp() for one in found}
    return {run: time.time() - taken for run, taken in since.items()}


def _give_up(home: Path, where: Places, client: httpx.Client, say: Callable[[str], None]) -> None:
    """Set runs CRASHED that a worker took long ago and that have no process; where the server knows better by then, it refuses."""
    from flows.operate.automations import NO_BEGIN  # brings Prefect

    long_ago = {run for run, seconds in _taken(where, client).items() if seconds >= BEGIN_SECONDS}
    if lost := long_ago - set(leftovers.runs(home)):
        say(f"marking {len(lost)} runs as crashed that a worker took and never began")
        for run in lost:
            _set(client, run, "CRASHED", "Crashed", force=False, message=NO_BEGIN)


def _cancel(home: Path, client: httpx.Client, running: Iterable[str], say: Callable[[str], None]) -> None:
    """Cancel as the UI does; what does not end then is killed, and marked."""
    asked = set(running)
    say(f"cancelling {len(asked)} runs")
    for run in asked:
        _set(client, run, "CANCELLING", "Cancelling", force=False)
    worker = supervised.states(home).get("worker")
    if left := {
        run: some for run, some in leftovers.orphans(home, worker.pid if worker else 0).items() if run in asked
    }:
        say(f"ending {len(left)} runs that a dead worker left")
        processes.end([one for some in left.values() for one in some], patience_seconds=CANCEL_SECONDS)
    until = time.monotonic() + CANCEL_SECONDS
    while (here := asked & set(leftovers.runs(home))) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    if here:
        say(f"killing {len(here)} runs that did not end within {CANCEL_SECONDS} s")
        processes.end([one for run in here for one in leftovers.runs(home).get(run, [])])
    until = time.monotonic() + 15
    while (open_ := {run for run in asked if _cancelling(client, run)}) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    for run in open_:
        _set(client, run, "CANCELLED", "Cancelled", force=True)


def _set(client: httpx.Client, run: str, kind: str, name: str, *, force: bool, message: str = "nightdesk down") -> None:
    state = {"type": kind, "name": name, "message": message}
    with suppress(httpx.HTTPError):  # the server is away: the run is ended all the same
        client.post(f"/flow_runs/{run}/set_state", json={"state": state, "force": force})


def _cancelling(client: httpx.Client, run: str) -> bool:
    """True while a run's cancelling has no end."""
    try:
        return bool(
            client.get(f"/flow_runs/{run}").json()["state"]["type"]
            not in ("CANCELLED", "COMPLETED", "FAILED", "CRASHED")
        )
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return False
