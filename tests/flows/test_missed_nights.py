"""Runs that come late, in any order, or not at all: each night is run exactly once, with the rows that are its own."""

import datetime as dt
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from flows.backfill import backfill
from flows.nightly import finished, nightly
from flows.nights import ONE_DAY, cutoff_at, last_ended
from flows.plan import STATE
from flows.settings import load
from tasks.lake import Lake
from tests.flows.test_night import clockless
from tests.loopback import prefect_server
from tests.rows import ticks
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = pytest.mark.slow

TABLES = (
    "raw",
    "articles",
    "quarantine",
    "scored_articles",
    "entity_mentions",
    "daily_entity_sentiment",
    "source_counts",
)


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_server():
        yield


def story(key: str, published: dt.datetime | None) -> dict[str, object]:
    return {
        "title": f"acme said profit {key}",
        "body": f"bolt losses in a quarter {key}",
        "url": f"https://news.example/{key}",
        "published": published.isoformat() if published else None,
    }


@dataclass(kw_only=True)
class LateDesk:
    """A desk whose last night but four is published, with a live feed, and a source that puts down a file of its own for each night."""

    folder: Path
    bundle: Path
    feed: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        now = dt.datetime.now(dt.UTC)
        self.cutoff = (now - dt.timedelta(hours=6)).time().replace(second=0, microsecond=0)  # not passed during a test
        settings = f"""
            timezone = "UTC"
            cutoff = "{self.cutoff}"
            home = "home"
            lake = "lake"
            [[sources]]
            name = "feed"
            kind = "json"
            location = "feed.jsonl"
            [[sources]]
            name = "own"
            kind = "json"
            location = "own.{{night}}.jsonl"
            [scoring]
            model = "{self.bundle}"
            [alerting.monitors]
            source_failed = {{}}
            [alerting.sinks.jsonl]
            path = "{self.folder}/alerts.jsonl"
            [limits]
            max_failed_share = 0.6
        """
        self.settings_file = self.folder / "desk.toml"
        self.settings_file.write_text(settings)
        self.settings = load(str(self.settings_file), lake=str(self.folder / "lake"))
        self.tonight = last_ended(now, self.settings.zone, self.cutoff)
        self.missed = [self.tonight - ONE_DAY * back for back in (3, 2, 1)]
        self.first = self.tonight - ONE_DAY * 4

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings.lake)

    def within(self, night: dt.date, hours: float = 3) -> dt.datetime:
        """So many hours before the night ends."""
        return cutoff_at(night, self.settings.zone, self.cutoff) - dt.timedelta(hours=hours)

    def deliver(self, *rows: dict[str, object]) -> None:
        """The feed gives these too from now on."""
        self.feed.extend(rows)
        (self.folder / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.feed))

    def put_down(self, night: dt.date, *rows: dict[str, object]) -> None:
        """The night's own file."""
        (self.folder / f"own.{night}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def scheduled(self, night: dt.date, *, lake: str | None = None) -> State:
        """The run that was scheduled a quarter of an hour after the night's end, executed now as a worker does."""
        at = cutoff_at(night, self.settings.zone, self.cutoff) + dt.timedelta(minutes=15)
        given = {"settings_file": str(self.settings_file), "lake": lake}
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run(nightly, parameters=given, state=Scheduled(scheduled_time=at))
        ended = run_flow(nightly, flow_run=flow_run, parameters=given, return_type="state")
        assert isinstance(ended, State)
        return ended

    def read(self, table: str, night: dt.date) -> pl.DataFrame:
        path = Path(self.settings.lake) / table / f"night={night}" / "part-0.parquet"
        return pl.read_parquet(path, hive_partitioning=False)

    def stories(self, night: dt.date) -> set[str]:
        return {url.rpartition("/")[2] for url in self.read("articles", night)["url"]}

    def published(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path(self.settings.lake).glob("[!_]*/night=*/*.parquet")}


@pytest.fixture
def desk(tmp_path: Path, tiny_bundle: Path) -> LateDesk:
    desk = LateDesk(folder=tmp_path, bundle=tiny_bundle)
    desk.deliver(story("first", desk.within(desk.first)))
    desk.put_down(desk.first, story("own-first", desk.within(desk.first)))
    nightly(night=desk.first, settings_file=str(desk.settings_file), lake=desk.settings.lake)
    return desk


def three_nights_pass(desk: LateDesk) -> None:
    """What came in while no worker ran."""
    nights = [*desk.missed, desk.tonight]
    for number, night in enumerate(nights):
        desk.deliver(story(f"{number}-early", desk.within(night, 23)), story(f"{number}-late", desk.within(night, 0.5)))
        after_its_end = story(
            f"own-{number}", desk.within(night, -1)
        )  # a source that closes its file an hour after the night
        desk.put_down(night, after_its_end)
    desk.deliver(story("of-before", desk.within(desk.first, 30)), story("after-tonight", desk.within(desk.tonight, -1)))
    desk.deliver(story("undated", None))


def test_a_worker_that_was_down_for_three_nights_runs_each_exactly_once_in_whatever_order(
    desk: LateDesk, tmp_path: Path
) -> None:
    three_nights_pass(desk)
    nights = [*desk.missed, desk.tonight]
    start = tmp_path / "start"
    shutil.copytree(desk.settings.lake, start)
    found = []
    for order in ((0, 1, 2, 3), (2, 3, 0, 1)):
        shutil.rmtree(desk.settings.lake)
        shutil.copytree(start, desk.settings.lake)
        for place in order:
            ended = desk.scheduled(nights[place])
            assert ended.is_completed(), ended.message
        for number, night in enumerate(desk.missed):
            assert desk.stories(night) == {f"{number}-early", f"{number}-late", f"own-{number}"}
        assert desk.stories(desk.tonight) == {"3-early", "3-late", "own-3", "of-before", "after-tonight"}
        assert desk.stories(desk.first) == {"first", "own-first"}
        assert desk.read("quarantine", desk.tonight)["source"].to_list() == ["feed"], "the row without a time"
        commits = Counter(commit.night for commit in desk.lake.commits() if commit.publish)
        assert commits == dict.fromkeys([desk.first, *nights], 1)
        assert all(finished(desk.lake, night) for night in nights)
        found.append({(table, night): clockless(desk.read(table, night)) for table in TABLES for night in nights})
    for key, frame in found[0].items():
        assert frame.equals(found[1][key]), f"{key} differs by the order of the runs"
    before = desk.published()
    late = desk.scheduled(nights[1])
    assert "was done before this late run" in str(late.message)
    assert desk.published() == before


def test_a_missed_night_that_fails_stops_not_tonight_and_is_not_forgotten(
    desk: LateDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_OPERATE__CATCH_UP_NIGHTS", "1")
    broken = desk.missed[-1]
    desk.put_down(broken, *(story(f"undated-{number}", None) for number in range(5)))
    desk.put_down(desk.tonight, story("tonight", desk.within(desk.tonight)))
    ended = desk.scheduled(desk.tonight)
    assert ended.is_failed()
    assert f"night {desk.tonight} is published" in str(ended.message)
    assert f"{broken}: ContractBroken" in str(ended.message)
    assert "tonight" in desk.stories(desk.tonight)
    assert [commit.night for commit in desk.lake.commits() if commit.publish] == [desk.first, desk.tonight]
    desk.put_down(broken, *(story(f"mended-{number}", desk.within(broken)) for number in range(10)))
    before = desk.published()
    again = desk.scheduled(desk.tonight)
    assert again.is_completed(), again.message
    assert len(desk.stories(broken)) == 10
    assert before.items() <= desk.published().items()


def test_a_night_that_was_cut_short_after_its_tables_is_finished_by_the_next(desk: LateDesk) -> None:
    page = Path(desk.settings.lake) / "_reports" / str(desk.first) / "report.html"
    page.unlink()
    desk.lake.stage(desk.first).write("scored_articles", ticks(1))  # cleared last, so this is what a killed run leaves
    for night in desk.missed:
        desk.put_down(night, story(f"own-{night}", desk.within(night)))
    before = desk.published()
    assert desk.scheduled(desk.missed[0]).is_completed()
    assert page.is_file()
    assert finished(desk.lake, desk.first)
    assert before.items() <= desk.published().items()


def test_a_clock_that_was_set_back_by_a_year_stops_scheduled_runs_and_spoils_nothing(desk: LateDesk) -> None:
    """Of a lake whose last commit was made a year from now, this machine's clock is a year behind."""
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=365)
    Lake.open(desk.settings.lake, clock=lambda: ahead).commit({"ticks": ticks(1)}, night=desk.first, run_id="ahead")
    before = desk.published()
    ended = desk.scheduled(desk.tonight)
    assert ended.is_failed()
    assert "ClockBehind" in str(ended.message) or "clock of this machine" in str(ended.message)
    assert desk.published() == before
    desk.put_down(desk.tonight, story("by-hand", desk.within(desk.tonight)))
    nightly(night=desk.tonight, settings_file=str(desk.settings_file), lake=desk.settings.lake)
    assert "by-hand" in desk.stories(desk.tonight)
    assert (desk.read("articles", desk.tonight)["available_at"] >= ahead).all(), (
        "nothing looks older than what was known before"
    )
    assert desk.lake.read("articles", nights=[desk.tonight], as_of=ahead).num_rows == 0
    assert before.items() <= desk.published().items()


def test_what_prefect_keeps_of_a_missed_night_s_run_is_what_its_run_was_given(
    desk: LateDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = desk.settings_file.read_text()
    desk.settings_file.write_text(text.replace('lake = "lake"', 'lake = "${DESK_LAKE}"'))
    monkeypatch.setenv("DESK_LAKE", desk.settings.lake)
    monkeypatch.delenv("NIGHTDESK_LAKE", raising=False)
    missed = desk.missed[0]
    for night in (missed, desk.missed[1]):
        desk.put_down(night, story(f"own-{night}", desk.within(night)))
    assert desk.scheduled(desk.missed[1]).is_completed()
    assert finished(desk.lake, missed)
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name={"any_": [f"nightly {missed}"]}))
    asked = [run.parameters for run in runs if run.parameters["settings_file"] == str(desk.settings_file)]
    assert [(given["night"], given["lake"]) for given in asked] == [(str(missed), None)]


def test_nights_that_were_judged_without_a_late_one_are_judged_again_by_the_next_backfill(
    desk: LateDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_OPERATE__CATCH_UP_NIGHTS", "0")
    late, told = desk.missed[0], story("told-twice", desk.within(desk.missed[0]))
    desk.put_down(late, told)
    desk.put_down(
        desk.tonight, told | {"url": "https://copy.example/1", "published": desk.within(desk.tonight).isoformat()}
    )
    given = {"settings_file": str(desk.settings_file), "lake": desk.settings.lake}
    assert desk.scheduled(desk.tonight).is_completed()
    assert desk.read("source_counts", desk.tonight)["rows_repeated"].sum() == 0
    nightly(night=late, by="late", **given)
    assert desk.read("source_counts", desk.tonight)["rows_repeated"].sum() == 0
    assert desk.lake.read_state(STATE) == str(late)
    states = {outcome.night: outcome.state for outcome in backfill(first=late, last=late, **given)}
    assert states == {late: "skipped", desk.tonight: "refreshed"}
    assert desk.read("source_counts", desk.tonight)["rows_repeated"].sum() == 1
    assert desk.lake.read_state(STATE) == ""
