"""Alerts about the pipeline: once a sink, also where a sink fails at first, and also where nothing can be remembered."""

import datetime as dt
from contextlib import suppress
from pathlib import Path

from data_contracts.alerts import Alert
from tasks.lake import Lake
from tasks.sinks import Digest, SinkFailed
from tasks.tell import Teller

NOW = dt.datetime(2026, 3, 3, 4, 0, tzinfo=dt.UTC)


class Place:
    """Takes messages, unless it is away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[str] = []
        self.away = False

    def send(self, digest: Digest) -> None:
        if self.away:
            raise SinkFailed(f"{self.name}: away")
        self.got += [alert.alert_key for alert in digest.alerts]

    def arrived(self, alert_keys: object) -> None:
        """It cannot be asked."""


def an_alert(night: str = "2026-03-02") -> Alert:
    return Alert(
        alert_key=f"pipeline failed night {night}",
        run_date=dt.date.fromisoformat(night),
        monitor="pipeline_failed",
        subject=f"night {night}",
        severity="critical",
        message="It failed.",
        article_ids=[],
        created_at=NOW,
        available_at=NOW,
    )


def test_an_alert_reaches_each_place_once_also_by_a_later_process(tmp_path: Path) -> None:
    places = [Place("one"), Place("two")]
    for _ in range(2):
        teller = Teller(places, Lake.open(str(tmp_path)))
        for minutes in range(3):
            teller.tell([an_alert(), an_alert("2026-03-01")], NOW + dt.timedelta(minutes=minutes))
    for place in places:
        assert sorted(place.got) == ["pipeline failed night 2026-03-01", "pipeline failed night 2026-03-02"]


def test_a_place_that_was_away_is_told_when_it_is_back_and_the_other_not_again(tmp_path: Path) -> None:
    there, away = Place("there"), Place("away")
    away.away = True
    teller = Teller([there, away], Lake.open(str(tmp_path)))
    assert [outcome.failed for outcome in teller.tell([an_alert()], NOW)] == [0, 1]
    away.away = False
    teller.tell([an_alert()], NOW + dt.timedelta(minutes=1))
    teller.tell([an_alert()], NOW + dt.timedelta(minutes=2))
    assert len(there.got) == len(away.got) == 1


def test_without_a_memory_an_alert_is_sent_all_the_same_and_once(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file stands where the folder should", encoding="utf-8")
    place = Place("one")
    teller = Teller([place], Lake.open(str(tmp_path / "memory")))
    for _ in range(2):
        teller.tell([an_alert()], NOW)
    assert len(place.got) == 1
    (tmp_path / "memory").unlink()
    teller.tell([an_alert(), an_alert("2026-03-01")], NOW)
    assert sorted(place.got) == ["pipeline failed night 2026-03-01", "pipeline failed night 2026-03-02"]


def test_a_place_that_fails_is_left_alone_for_longer_and_longer_and_no_other_waits_for_it(tmp_path: Path) -> None:
    class Bad(Place):
        """Takes the message and answers badly."""

        def send(self, digest: Digest) -> None:
            super().send(digest)
            raise SinkFailed(f"{self.name}: 500")

    good, bad = Place("good"), Bad("bad")
    teller = Teller([good, bad], Lake.open(str(tmp_path)))
    tried = []
    for minutes in range(5 * 60):
        before = len(bad.got)
        teller.tell([an_alert()], NOW + dt.timedelta(minutes=minutes))
        tried += [minutes] * (len(bad.got) > before)
    assert tried == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    teller.tell([an_alert(), an_alert("2026-03-01")], NOW + dt.timedelta(minutes=250))
    assert len(good.got) == 2, "a new trouble is told at once where nothing fails"
    assert len(bad.got) == len(tried)


def test_a_place_that_works_again_is_told_the_next_trouble_at_once(tmp_path: Path) -> None:
    place = Place("one")
    teller = Teller([place], Lake.open(str(tmp_path)))
    for away, minutes in ((True, 0), (True, 1), (False, 3)):
        place.away = away
        teller.tell([an_alert()], NOW + dt.timedelta(minutes=minutes))
    place.away = True
    teller.tell([an_alert(), an_alert("2026-03-01")], NOW + dt.timedelta(minutes=4))
    place.away = False
    teller.tell([an_alert(), an_alert("2026-03-01")], NOW + dt.timedelta(minutes=5))
    assert len(place.got) == 2
    place.away = True
    teller.tell([an_alert("2026-02-28")], NOW + dt.timedelta(minutes=6))
    place.away = False
    teller.tell([an_alert("2026-02-28")], NOW - dt.timedelta(days=1))
    assert len(place.got) == 3, "a clock that was set back keeps nothing waiting"


def test_a_place_that_fails_is_left_alone_without_a_memory_too(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file stands where the folder should", encoding="utf-8")
    place = Place("one")
    place.away = True
    teller = Teller([place], Lake.open(str(tmp_path / "memory")))
    assert [len(teller.tell([an_alert()], NOW + dt.timedelta(seconds=seconds))) for seconds in (0, 15, 60)] == [1, 0, 1]


def test_what_a_killed_watchdog_may_have_sent_is_sent_again(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class Deadly(Place):
        def send(self, digest: Digest) -> None:
            raise Killed

    with suppress(Killed):
        Teller([Deadly("place")], Lake.open(str(tmp_path))).tell([an_alert()], NOW)
    place = Place("place")
    (outcome,) = Teller([place], Lake.open(str(tmp_path))).tell([an_alert()], NOW)
    assert (outcome.sent, outcome.uncertain, len(place.got)) == (1, 0, 1)
