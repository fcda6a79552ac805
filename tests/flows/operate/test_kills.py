"""kill -9 at random moments of a night: of the flow, the whole Ray, a Ray worker, the server and the worker.

What was killed comes back by itself, or the run is tried again as a person would try it in the UI. In the end the night is published as if
nothing had happened. The seed and each moment are printed; a night that ends before its kill counts as none, and another is begun.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from flows.operate.automations import NO_BEGIN, ZOMBIE
from tests.flows.operate import tiny
from tests.flows.operate.nights import (
    ENDED,
    NIGHT,
    PATIENCE_SECONDS,
    RAY_WORKER,
    ShortNight,
    ShortNights,
    scoring_held,
    short_nights,
)
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk
from tests.waiting import until

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WHOLE_RAY = ("gcs_server", "raylet")
MOST_NIGHTS, MOST_RETRIES = 5, 3
HEARTBEAT, LET_GO = "prefect.flow-run.heartbeat", "prefect.worker.executed-flow-run"


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A night that nothing befell, how long it took, and how long its Ray and the actors that score were there, in seconds."""

    night: ShortNight
    seconds: float
    ray_seconds: float
    scoring_seconds: float

    def half(self) -> Undisturbed:
        """As if it had been twice as fast."""
        seconds = {name: getattr(self, name) / 2 for name in ("seconds", "ray_seconds", "scoring_seconds")}
        return replace(self, **seconds)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[ShortNights]:
    with short_nights(tmp_path_factory.mktemp("kills"), tiny_bundle) as nights:
        yield nights


@pytest.fixture(scope="module")
def undisturbed(desk: ShortNights) -> Iterator[Undisturbed]:
    with desk.fresh("undisturbed") as night:
        began = time.monotonic()
        night.start()
        assert appears(night, lambda: night.ray(*WHOLE_RAY)), night.said()
        ray = time.monotonic()
        assert appears(night, lambda: night.ray(RAY_WORKER)), night.said()
        scoring = time.monotonic()
        until(lambda: not night.ray(RAY_WORKER), night.said, seconds=PATIENCE_SECONDS)
        scored = time.monotonic()
        assert night.reaches(ENDED) == "COMPLETED", night.said()
        seconds = time.monotonic() - began
        assert len(night.alerts()) == 2
        assert len(night.place.messages) == 1
        night.assert_as(night)
        yield Undisturbed(night=night, seconds=seconds, ray_seconds=scored - ray, scoring_seconds=scored - scoring)


@dataclass(kw_only=True)
class Killing:
    """One night after the other, each killed until its share of kills is done."""

    desk: ShortNights
    undisturbed: Undisturbed
    luck: random.Random
    open: ExitStack
    name: str
    nights: int = 0
    night: ShortNight | None = None

    def kill(self, target: str) -> None:
        """Kill the target at a random moment, of a new night where the one before has ended too soon, and then at an earlier one.

        The undisturbed night may have been slower than these, since other tests run beside.
        """
        usual = self.undisturbed
        while self.nights <= MOST_NIGHTS:
            night = self.night or self._fresh()
            if STRIKES[target](night, self.luck, usual):
                return
            self.finish()
            usual = usual.half()
        raise AssertionError(f"{self.nights} nights ended before {target} was killed")

    def finish(self) -> None:
        """Let the night end, tried again where the server went while it began, and see that it is as if nothing had happened."""
        assert self.night is not None
        for _ in range(MOST_RETRIES):
            if self.night.reaches(ENDED) == "COMPLETED":
                break
            self.night.told.append(self.night.state()["message"])
            self.night.retry()
        assert self.night.reaches(ENDED) == "COMPLETED", (self.night.told, self.night.state(), self.night.said())
        self.night.assert_as(self.undisturbed.night)
        self.night = None

    def _fresh(self) -> ShortNight:
        self.nights += 1
        self.night = self.open.enter_context(self.desk.fresh(f"{self.name}-{self.nights}"))
        self.night.start()
        return self.night


def strike_flow(night: ShortNight, luck: random.Random, usual: Undisturbed) -> bool:
    """The flow; its worker says that it has crashed."""
    if not pause(night, luck.uniform(0, usual.seconds)) or not appears(night, night.flow):
        return False
    return fatal(night, "the flow", night.flow)


def strike_ray(night: ShortNight, luck: random.Random, usual: Undisturbed) -> bool:
    """Ray's head with all that hangs on it, while it starts or scores; the flow does not survive it."""
    if not appears(night, lambda: night.ray(*WHOLE_RAY)) or not pause(night, luck.uniform(0, usual.ray_seconds)):
        return False
    return fatal(night, "the whole Ray", lambda: night.ray(*WHOLE_RAY))


def strike_ray_worker(night: ShortNight, luck: random.Random, usual: Undisturbed) -> bool:
    """An actor that scores, or is about to; its shards are given to another."""
    if not appears(night, lambda: night.ray(RAY_WORKER)) or not pause(night, luck.uniform(0, usual.scoring_seconds)):
        return False
    return struck(night, "a Ray worker", night.ray(RAY_WORKER)[:1])


def strike_program(name: str, night: ShortNight, luck: random.Random, usual: Undisturbed) -> bool:
    """The server or the worker, which is started again; the night goes on without."""
    if not pause(night, luck.uniform(0, usual.seconds / 2)):
        return False
    before = night.of.pid(name)
    done = struck(night, f"the {name}", [psutil.Process(before)])
    night.of.await_back(name, before)
    if name == "worker" and stays_taken(night):
        night.told.append("it had been taken, and not begun")  # the server sets it CRASHED after `late_minutes`
        night.retry()
    return done


def stays_taken(night: ShortNight) -> bool:
    """Whether a worker has taken the night from its queue, and nobody runs it, nor is about to."""
    for _ in range(2):
        if night.state()["type"] != "PENDING" or night.flow():
            return False
        time.sleep(5)
    return True


STRIKES: dict[str, Callable[[ShortNight, random.Random, Undisturbed], bool]] = {
    "flow": strike_flow,
    "ray": strike_ray,
    "ray worker": strike_ray_worker,
    "server": lambda *given: strike_program("server", *given),
    "worker": lambda *given: strike_program("worker", *given),
}


def pause(night: ShortNight, seconds: float) -> bool:
    """Wait; False where the night ended meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if night.state()["type"] in ENDED:
            return False
        time.sleep(0.1)
    return True


def appears(night: ShortNight, find: Callable[[], list[psutil.Process]]) -> bool:
    """Wait until there are such processes; False where the night ended without."""
    return bool(until(lambda: find() or night.state()["type"] in ENDED, seconds=PATIENCE_SECONDS) is not True)


def struck(night: ShortNight, what: str, processes: list[psutil.Process]) -> bool:
    """kill -9; False where there was nothing left to kill."""
    killed = []
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
        except ProcessLookupError:
            continue
    if killed:
        night.told.append(f"{what} {killed} killed in {night.state()['type']}, {night.shards()} shards scored")
        print(night.told[-1], flush=True)  # noqa: T201
    return bool(killed)


def fatal(night: ShortNight, what: str, find: Callable[[], list[psutil.Process]]) -> bool:
    """Kill what the run does not survive, and try it again; one that had ended well by then is left alone."""
    before = night.of.events(LET_GO, night.run)
    if not struck(night, what, find()):
        return False
    if night.reaches(ENDED) != "COMPLETED":
        night.told.append(night.state()["message"])
        # a worker says twice that a run has crashed; the second time, seconds later, it would say so of the next try
        until(lambda: night.of.events(LET_GO, night.run) > before, lambda: tiny.logs(night.of.desk))
        night.retry()
    return True


# The worker comes last: nobody but it can say that a flow has crashed, and so what follows would wait for the automation.
KILLS = [
    *((seed, ("flow", "server", "worker")) for seed in range(4)),
    *((seed, ("ray worker", "ray", "worker")) for seed in range(4, 7)),
]


@pytest.mark.parametrize(("seed", "targets"), KILLS)
def test_a_night_killed_at_random_moments_is_published_as_if_nothing_had_happened(
    desk: ShortNights, undisturbed: Undisturbed, seed: int, targets: tuple[str, ...]
) -> None:
    luck = random.Random(seed)
    with ExitStack() as stack:
        killing = Killing(desk=desk, undisturbed=undisturbed, luck=luck, open=stack, name=f"seed-{seed}")
        for target in targets:
            killing.kill(target)
        if killing.night is not None:
            killing.finish()


def test_runs_whose_worker_died_with_them_are_no_zombies_and_free_their_queues(
    desk: ShortNights, undisturbed: Undisturbed
) -> None:
    """One had begun; the other was only taken from its queue, and no heartbeat was ever heard of it."""
    with desk.fresh("zombies") as night:
        begun = night.start()
        night.reaches(("RUNNING",))
        with scoring_held(night):
            soon = desk.desk.call(
                "deploy", NIGHTDESK_OPERATE__SILENT_MINUTES="1.5", NIGHTDESK_OPERATE__LATE_MINUTES="1"
            )
            assert soon.returncode == 0, soon.stderr
            heard = desk.events(HEARTBEAT, begun)
            until(lambda: desk.events(HEARTBEAT, begun) > heard, night.said)
            taken = taken_and_not_begun(night)
            night.run = begun
            before = desk.pid("worker")
            os.kill(before, signal.SIGKILL)
            until(
                lambda: not [one for run in (taken, begun) for one in each(night.processes(run), psutil.Process.kill)]
            )
        assert (night.state(taken)["type"], night.state(begun)["type"]) == ("PENDING", "RUNNING")
        desk.await_back("worker", before)
        assert night.reaches(ENDED, taken) == night.reaches(ENDED, begun) == "CRASHED"
        assert night.state(taken)["message"].startswith(NO_BEGIN)
        assert night.state(begun)["message"].startswith(ZOMBIE)
        until(lambda: told(desk, f"Night {NIGHT} is dead"), lambda: tiny.logs(desk.desk), seconds=PATIENCE_SECONDS)
        assert desk.desk.call("deploy").returncode == 0
        night.retry()
        assert night.reaches(ENDED) == "COMPLETED", night.said()
        night.assert_as(undisturbed.night)
    assert told(desk, f"Night {NIGHT} is dead") == 1
    assert told(desk, f"Night {NIGHT} crashed") <= 1, "each of the nights above is the same night"


def taken_and_not_begun(night: ShortNight) -> str:
    """A run of the clean-up that its worker has started, and that stands still before it can say so."""
    for _ in range(MOST_RETRIES):
        taken = night.start("cleanup/cleanup", keep_days=30)
        until(lambda: each(night.processes(taken), psutil.Process.suspend), night.said)  # noqa: B023
        time.sleep(1)  # it may have said so just before
        if night.state(taken)["type"] == "PENDING":
            return taken
        each(night.processes(taken), psutil.Process.resume)
        night.reaches(ENDED, taken)
    raise AssertionError(f"{MOST_RETRIES} runs had begun before they could be held")


def each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> list[psutil.Process]:
    """Act on each of them that is still there; returns those."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)
            found.append(process)
    return found


def told(desk: ShortNights, what: str) -> int:
    """How often people were told so of the pipeline."""
    return sum(message["message"].count(what) for message in desk.place.messages)
