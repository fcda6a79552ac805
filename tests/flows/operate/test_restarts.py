"""A night goes on through restarts of its server; one that is cancelled leaves nothing; two that want the same night do not write at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.operate.nights import (
    ENDED,
    NIGHT,
    PATIENCE_SECONDS,
    ShortNight,
    ShortNights,
    scoring_held,
    short_nights,
)
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk
from tests.waiting import until

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[ShortNights]:
    with short_nights(tmp_path_factory.mktemp("restarts"), tiny_bundle) as nights:
        yield nights


@pytest.fixture(scope="module")
def restarted(desk: ShortNights) -> Iterator[ShortNight]:
    """A night whose server was restarted, in order and by kill -9, while it was scored: it stands still for as long as that takes."""
    with desk.fresh("restarted") as night:
        night.start()
        with scoring_held(night):
            for signal_ in (signal.SIGTERM, signal.SIGKILL):
                before = desk.pid("server")
                os.kill(before, signal_)
                desk.await_back("server", before)
        assert night.reaches(ENDED) == "COMPLETED", night.said()
        yield night


def test_a_night_goes_on_through_restarts_of_its_server(restarted: ShortNight) -> None:
    assert len(restarted.alerts()) == 2
    assert len(restarted.place.messages) == 1
    restarted.assert_as(restarted)


def test_of_those_who_want_a_night_one_writes_and_the_others_wait_or_are_refused_and_a_cancelled_one_leaves_nothing(
    desk: ShortNights, restarted: ShortNight
) -> None:
    with desk.fresh("wanted") as night:
        writing = night.start()
        night.reaches(("RUNNING",))
        with scoring_held(night):
            waiting = [night.start(), night.start("backfill/backfill", first=NIGHT, last=NIGHT, lake=str(night.lake))]
            night.run = writing
            assert {night.state(run)["type"] for run in waiting} == {"SCHEDULED"}, "one at a time in the queue"
            assert_refused(night, "run", "--night", NIGHT)
            assert_refused(night, "backfill", "--first", NIGHT, "--last", NIGHT)
            night.set_state("CANCELLING", "Cancelling")
            until(lambda: not night.ray("raylet"), lambda: night.said(), seconds=PATIENCE_SECONDS)
        assert night.reaches(ENDED) == "CANCELLED", night.said()
        until(lambda: not night.processes(), lambda: str(night.processes()))
        for run in waiting:
            night.run = run
            assert night.reaches(ENDED) == "COMPLETED", night.said()
        night.assert_as(restarted)


def assert_refused(night: ShortNight, *command: str) -> None:
    """A command of a person beside the run that writes the night: it does nothing, and says why."""
    done = night.of.desk.call(
        *command, NIGHTDESK_LAKE=str(night.lake), NIGHTDESK_SETTINGS=str(night.settings), PREFECT_LOGGING_LEVEL="ERROR"
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert "NightLocked" in said or "another run" in said, said
    assert NIGHT in said, said
