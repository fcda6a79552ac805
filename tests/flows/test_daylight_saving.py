"""The schedule as Prefect's own class makes it, across both changes of the clocks: each night is run once, and the run knows which it is."""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import Pending, Scheduled

from flows.nightly import nightly
from flows.nights import cutoff_at, earlier, last_ended, span, window_of
from flows.sections import Operate
from tasks.ingest import ingest
from tasks.lake import Lake
from tasks.sources import SourceConfig
from tests.loopback import prefect_server
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

CHANGING = (
    "America/New_York", "Europe/Berlin", "Europe/London", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo", "America/Santiago",
    "Pacific/Auckland", "Asia/Beirut",
)  # fmt: skip
ONE_YEAR = 366


def scheduled(cron: str, zone: str, start: dt.datetime, runs: int) -> list[dt.datetime]:
    """When Prefect would start the next runs, in UTC."""
    found = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(n=runs, start=start))
    return [dt.datetime.fromtimestamp(moment.timestamp(), dt.UTC) for moment in found]


def missing(at: dt.time, zone: ZoneInfo, days: list[dt.date]) -> list[dt.date]:
    """The days on which clocks skip this local time."""
    local = (dt.datetime.combine(day, at, tzinfo=zone) for day in days)
    return [moment.date() for moment in local if moment.astimezone(dt.UTC).astimezone(zone).time() != at]


@pytest.mark.parametrize(
    ("zone", "cutoff", "cron"),
    [
        ("America/New_York", "22:00", "15 22 * * *"),  # as shipped
        ("America/New_York", "01:30", "45 1 * * *"),  # in the doubled hour
        ("Europe/Berlin", "02:30", "45 2 * * *"),  # both in the hour that is missing in spring and doubled in autumn
        ("Europe/Berlin", "02:30", "5 3 * * *"),  # only the cut-off is
        ("Europe/Berlin", "02:00", "0 2 * * *"),
        ("Australia/Lord_Howe", "02:10", "15 2 * * *"),  # half an hour is missing
        ("America/Havana", "00:30", "45 0 * * *"),  # midnight is missing
        ("UTC", "00:00", "0 0 * * *"),
    ],
)
def test_a_year_of_scheduled_runs_is_a_year_of_nights(zone: str, cutoff: str, cron: str) -> None:
    ends = dt.time.fromisoformat(cutoff)
    runs = scheduled(cron, zone, dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC), ONE_YEAR)
    nights = [last_ended(moment, ZoneInfo(zone), ends) for moment in runs]
    assert nights == span(nights[0], nights[-1])
    assert len(nights) == ONE_YEAR


@given(
    st.sampled_from(CHANGING),
    st.times(),
    st.integers(min_value=0, max_value=360),
    st.datetimes(min_value=dt.datetime(2025, 1, 1), max_value=dt.datetime(2027, 1, 1), timezones=st.just(dt.UTC)),
)
@settings(max_examples=30)
def test_a_schedule_soon_after_the_cutoff_gives_each_night_one_run(
    name: str, cutoff: dt.time, minutes: int, start: dt.datetime
) -> None:
    zone, cutoff = ZoneInfo(name), cutoff.replace(second=0, microsecond=0, fold=0)
    at = (dt.datetime.combine(dt.date(2026, 1, 1), cutoff) + dt.timedelta(minutes=minutes)).time()
    runs = scheduled(f"{at.minute} {at.hour} * * *", name, start.replace(microsecond=0), 200)
    nights = [last_ended(moment, zone, cutoff) for moment in runs]
    days = span(nights[0], nights[-1] + dt.timedelta(days=2))
    assume(not missing(at, zone, days) or missing(cutoff, zone, days))  # the one exception, see below
    assert nights == span(nights[0], nights[-1])


def test_however_often_the_scheduler_looks_it_makes_the_same_runs() -> None:
    """Prefect's scheduler asks for the next runs again and again, and tells runs apart by their time alone."""
    zone, cutoff = ZoneInfo("Europe/Berlin"), dt.time(2, 30)
    found: set[dt.datetime] = set()
    for change in (dt.datetime(2026, 3, 27, tzinfo=dt.UTC), dt.datetime(2026, 10, 23, tzinfo=dt.UTC)):
        for hours in range(3 * 24):
            found.update(scheduled("45 2 * * *", zone.key, change + dt.timedelta(hours=hours), 3))
    runs = Counter(last_ended(moment, zone, cutoff) for moment in found)
    assert set(runs.values()) == {1}
    assert set(span(dt.date(2026, 3, 27), dt.date(2026, 3, 31))) < set(runs)


def test_a_run_that_the_missing_hour_brings_too_early_is_made_up_for_by_the_next() -> None:
    zone, cutoff = ZoneInfo("Europe/Berlin"), dt.time(1, 50)
    runs = scheduled("5 2 * * *", zone.key, dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC), 2)
    nights = [last_ended(moment, zone, cutoff) for moment in runs]
    assert nights == [dt.date(2026, 3, 28), dt.date(2026, 3, 30)]
    assert dt.date(2026, 3, 29) in earlier(nights[1], first=nights[0], at_most=7)


def test_a_cutoff_in_the_missing_hour_lies_where_prefect_puts_a_schedule_there() -> None:
    zone = ZoneInfo("Europe/Berlin")
    (run,) = scheduled("30 2 * * *", zone.key, dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC), 1)
    assert cutoff_at(dt.date(2026, 3, 29), zone, dt.time(2, 30)) == run


def test_a_cutoff_in_the_doubled_hour_is_the_first_of_the_two() -> None:
    ends = cutoff_at(dt.date(2026, 10, 25), ZoneInfo("Europe/Berlin"), dt.time(2, 30))
    assert ends == dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)


def test_nights_before_a_night_go_back_to_the_first_there_is_and_no_further_than_asked() -> None:
    night = dt.date(2026, 3, 10)
    assert earlier(night, first=dt.date(2026, 3, 8), at_most=7) == [dt.date(2026, 3, 8), dt.date(2026, 3, 9)]
    assert earlier(night, first=dt.date(2026, 1, 1), at_most=2) == [dt.date(2026, 3, 8), dt.date(2026, 3, 9)]
    assert earlier(night, first=night, at_most=7) == earlier(night, first=dt.date(2026, 1, 1), at_most=0) == []


@pytest.mark.parametrize(
    ("cutoff", "first", "ends"),
    [
        ("22:00", "2026-03-07", ["03-08T03:00", "03-09T02:00", "03-10T02:00"]),  # the night of the 8th has 23 hours
        ("22:00", "2026-10-31", ["11-01T02:00", "11-02T03:00", "11-03T03:00"]),  # that of November 1 has 25
        ("02:30", "2026-03-07", ["03-07T07:30", "03-08T06:30", "03-09T06:30"]),  # 02:30 is missing on the 8th
        ("02:30", "2026-10-31", ["10-31T06:30", "11-01T07:30", "11-02T07:30"]),
    ],
)
def test_every_row_around_both_changes_is_read_into_exactly_one_night(
    tmp_path: Path, cutoff: str, first: str, ends: list[str]
) -> None:
    """`ends` are the cut-offs of three nights from `first` on, in UTC; a row every ten minutes, and one a second before each cut-off."""
    before, middle, last = (dt.datetime.fromisoformat(f"2026-{end}:00+00:00") for end in ends)
    second, ten_minutes = dt.timedelta(seconds=1), dt.timedelta(minutes=10)
    times = [before - second, *(before + ten_minutes * i for i in range((last - before) // ten_minutes + 1))]
    times += [middle - second, last - second]
    new_york, night = ZoneInfo("America/New_York"), dt.date.fromisoformat(first)
    lines = (json.dumps({"title": "t", "url": f"https://n.example/{n}", "published": time.astimezone(new_york).isoformat()})
             for n, time in enumerate(times))  # fmt: skip
    file = tmp_path / "wire.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    lake = Lake.open(str(tmp_path / "lake"))
    source = SourceConfig(name="wire", kind="json", location=str(file))
    nights = span(night, night + dt.timedelta(days=3))
    for one in (nights[1], nights[3], nights[0], nights[2]):
        ingest.fn(
            lake.root, [source], night=one, window=window_of(one, new_york, dt.time.fromisoformat(cutoff)), take_undated=False,
            beside=True, now=last, keep_raw=False, lookback_nights=2, run_id="run",
        )  # fmt: skip
    read = [(row["published_at"], row["run_date"]) for row in lake.read("raw").to_pylist()]
    expected = {time: night + dt.timedelta(days=sum(time >= end for end in (before, middle, last))) for time in times}
    assert sorted(read) == sorted(expected.items())


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_server():
        yield


def executed(settings_file: Path, due: dt.datetime) -> State:
    """The nightly run that was scheduled for then, executed as a worker does, whatever the time is now."""
    given = {"settings_file": str(settings_file)}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(nightly, parameters=given, state=Scheduled(scheduled_time=due))
        client.set_flow_run_state(run.id, Pending(), force=True)
        ended = run_flow(nightly, flow_run=client.read_flow_run(run.id), parameters=given, return_type="state")
    assert isinstance(ended, State)
    return ended


def feed_of(times: list[dt.datetime]) -> str:
    """A row a moment, named by it, in local time as news has it."""
    local = {f"{time:%dT%H%M%S}": time.astimezone(ZoneInfo("America/New_York")).isoformat() for time in times}
    rows = ({"title": f"acme said {key}", "url": f"https://n.example/{key}", "published": time} for key, time in local.items())  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("first", "ends", "hours"),
    [
        ("2026-03-07", ["03-07T03", "03-08T03", "03-09T02", "03-10T02", "03-11T02"], [24, 23, 24, 24]),
        ("2026-10-31", ["10-31T02", "11-01T02", "11-02T03", "11-03T03", "11-04T03"], [24, 25, 24, 24]),
    ],
)
def test_the_nights_around_both_changes_are_published_once_with_their_own_hours_and_one_that_is_late_too(
    first: str, ends: list[str], hours: list[int], tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ends` are the cut-offs from the one before the first night on, in UTC. The night of the change has no run of its own until later."""
    settings_file, feed, lake = tmp_path / "desk.toml", tmp_path / "wire.jsonl", tmp_path / "lake"
    settings_file.write_text(f"""
        timezone = "America/New_York"
        cutoff = "22:00"
        lake = "lake"
        scoring = {{model = "{tiny_bundle}"}}
        sources = [{{name = "wire", kind = "json", location = "wire.jsonl"}}]
    """)
    begins, *cutoffs = (dt.datetime.fromisoformat(f"2026-{end}:00:00+00:00") for end in ends)
    due = scheduled(Operate().schedule, "America/New_York", begins + dt.timedelta(hours=1), 4)
    nights = span(dt.date.fromisoformat(first), dt.date.fromisoformat(first) + dt.timedelta(days=3))
    times = [begins + dt.timedelta(hours=1) * i for i in range(sum(hours))]
    times += [cutoff - dt.timedelta(seconds=1) for cutoff in cutoffs]
    opened, said = Lake.open, []
    for place, now in ((0, due[0]), (2, due[2]), (1, due[2] + dt.timedelta(minutes=5)), (3, due[3])):
        monkeypatch.setattr(Lake, "open", partial(opened, clock=lambda now=now: now))
        if now in due:
            feed.write_text(feed_of([time for time in times if time < cutoffs[place]]))
        ended = executed(settings_file, due[place])
        assert ended.is_completed(), ended.message
        said.append((nights[place], "was done before this late run" in str(ended.message)))
    assert said == [(nights[0], False), (nights[2], False), (nights[1], True), (nights[3], False)]
    desk = opened(str(lake))
    assert [commit.night for commit in desk.commits() if commit.publish] == nights
    rows = desk.read("scored_articles").to_pylist()
    expected = {time: nights[sum(time >= cutoff for cutoff in cutoffs)] for time in times}
    assert sorted((row["published_at"], row["run_date"]) for row in rows) == sorted(expected.items())
    assert Counter(row["run_date"] for row in rows) == {
        night: length + 1 for night, length in zip(nights, hours, strict=True)
    }
