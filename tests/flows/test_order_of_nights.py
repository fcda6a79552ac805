"""A range of nights gives the same tables in whatever order, groups and attempts it is filled in, apart from the times of the runs."""

import contextlib
import datetime as dt
import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from tasks.lake import Lake
from tests.flows.conftest import Desk
from tests.flows.test_night import TABLES, tables
from tests.loopback import prefect_server
from tests.tasks.conftest import NAMES, WORDS, ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FIRST = dt.date(2026, 3, 2)
NIGHTS = [FIRST + dt.timedelta(days=i) for i in range(7)]
SETTINGS = """
home = "{folder}/home"
timezone = "UTC"
cutoff = "22:00"
[limits]
lookback_nights = 2
max_failed_share = 0.9
[scoring]
model = "{bundle}"
backend = "torch"
[cluster]
rows_per_shard = 4
[alerting.monitors]
volume_surge = {{ nights = 2, min_nights = 1, min_stories = 2, min_z = 0.5 }}
negative_surge = {{ nights = 2, min_stories = 2, min_z = 0.5 }}
contract_failures = {{ max_share = 0.2, min_failed = 1, nights = 2, min_nights = 1 }}
source_silent = {{ nights = 2, min_nights = 1, min_heard_share = 0.1 }}
class_shift = {{ nights = 2, min_nights = 1, min_rows = 2, max_p = 1.0 }}
[[sources]]
name = "wire"
kind = "json"
location = "{folder}/wire.jsonl"
[[sources]]
name = "paper"
kind = "json"
location = "{folder}/paper.jsonl"
"""


@dataclass(frozen=True)
class Files:
    """Settings over two files, and what one run over all nights in their order makes of them."""

    settings: Path
    expected: Path

    def fill(self, lake: Path, first: dt.date, last: dt.date, **more: object) -> dict[dt.date, str]:
        """What became of each night of a range."""
        from flows.backfill import NightsFailed, backfill

        try:
            outcomes = backfill(first=first, last=last, settings_file=str(self.settings), lake=str(lake), **more)  # type: ignore[arg-type]
        except NightsFailed as error:
            outcomes = list(error.outcomes)
        return {outcome.night: outcome.state for outcome in outcomes}

    def assert_as_in_order(self, lake: Path, nights: Sequence[dt.date] = NIGHTS) -> None:
        """Every table of the nights."""
        for night in nights:
            expected = tables(self.expected, str(night))
            for name, frame in tables(lake, str(night)).items():
                assert frame.equals(expected[name]), f"{name} of {night}"


def text(luck: random.Random) -> tuple[str, str]:
    """A title and a body of words that the model knows."""
    name = luck.choice(NAMES["ORG"])
    words = WORDS[luck.choice(list(WORDS))]
    title = f"{name} said {luck.choice(words)} {luck.randint(0, 999)}"
    return title, f"{name} {luck.choice(words)} today in a quarter. " * luck.randint(1, 30)


def rows(luck: random.Random) -> Iterator[dict[str, object]]:
    """Some rows of every night, among them repeats and versions of nights before, and rows without a time."""
    told: list[dict[str, object]] = []
    for night in NIGHTS:
        for number in range(luck.choice((0, 3, 6, 9))):
            title, body = text(luck)
            row = {"title": title, "body": body, "url": f"https://news.example/{night}/{number}"}
            kind, before = luck.random(), luck.choice(told[-25:] or [row])
            if kind < 0.25:
                row |= {"title": before["title"], "body": before["body"]}  # a repeat under another address
            elif kind < 0.5:
                row |= {"url": before["url"]}  # a new version
            told.append(row)
            time = dt.datetime.combine(night, dt.time(luck.randint(0, 21), luck.randint(0, 59)))
            published = luck.choice(("soon", None)) if luck.random() < 0.12 else f"{time.isoformat()}Z"
            yield row | {"published": published}
            if published is None and luck.random() < 0.5:
                yield row | {"published": published}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Files]:
    """The files, and a Prefect server for the module."""
    folder = tmp_path_factory.mktemp("files")
    luck = random.Random(5)
    for name in ("wire", "paper"):
        lines = [json.dumps(row) for row in rows(luck)]
        (folder / f"{name}.jsonl").write_text("\n".join(["{cut", *lines, '{"title": "x', ""]), encoding="utf-8")
    settings = folder / "desk.toml"
    settings.write_text(SETTINGS.format(folder=folder, bundle=tiny_bundle), encoding="utf-8")
    given = Files(settings, folder / "in-order")
    with prefect_server():
        done = given.fill(given.expected, NIGHTS[0], NIGHTS[-1])
        assert set(done.values()) == {"done"}
        yield given


def test_the_files_have_what_makes_order_matter(files: Files) -> None:
    seen = [tables(files.expected, str(night)) for night in NIGHTS]
    assert sum(night["source_counts"]["rows_repeated"].sum() for night in seen) > 5
    assert pl.concat([night["articles"] for night in seen])["version"].max() > 1  # type: ignore[operator]
    assert sum(night["quarantine"].height for night in seen) > 5
    assert len({alert for night in seen for alert in night["alerts"]["monitor"]}) >= 4
    assert {night["quarantine"].height for night in seen} != {0}


@pytest.mark.parametrize("seed", range(2))
def test_any_order_and_any_grouping_gives_the_same_tables(files: Files, tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    lake = tmp_path / "lake"
    missing = set(NIGHTS)
    while missing:
        first = luck.choice(NIGHTS)
        last = luck.choice([night for night in NIGHTS if night >= first][:4])
        busy = luck.choice(NIGHTS) if luck.random() < 0.4 else None
        with contextlib.ExitStack() as stack:
            if busy is not None:
                stack.enter_context(Lake.open(str(lake)).lock(busy, run_id="another"))
            became = files.fill(lake, first, last, nights_at_once=luck.randint(1, 4), redo=luck.random() < 0.3)
        missing -= {night for night, state in became.items() if state == "done"}
    files.fill(lake, NIGHTS[0], NIGHTS[0])  # settles what a night that was busy had kept from being followed
    files.assert_as_in_order(lake)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_a_range_filled_on_ray_is_the_same(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = tmp_path / "desk.toml"
    given = files.settings.read_text(encoding="utf-8")
    settings.write_text(given.replace("[cluster]", "[cluster]\nmin_rows = 1"), encoding="utf-8")
    became = replace(files, settings=settings).fill(tmp_path / "lake", NIGHTS[0], NIGHTS[-1], nights_at_once=4)
    assert set(became.values()) == {"done"}
    assert len(re.findall(r"articles of [1-4] nights in \d+ shards \(ray\)", caplog.text)) == 2
    files.assert_as_in_order(tmp_path / "lake")


def test_nights_backwards_are_refreshed_and_say_so(files: Files, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    states = [files.fill(lake, night, night) for night in reversed(NIGHTS)]
    files.assert_as_in_order(lake)
    refreshed = {night for became in states for night, state in became.items() if state == "refreshed"}
    assert refreshed
    for became, night in zip(states, reversed(NIGHTS), strict=True):
        assert became.pop(night) == "done"
        assert set(became.values()) <= {"refreshed"}
        assert all(other > night for other in became)


def test_what_is_filled_in_again_leaves_no_trace(files: Files, tmp_path: Path) -> None:
    lake = files.expected
    there = sorted(path for name in TABLES for path in (lake / name).rglob("*.parquet"))
    before = {path: path.read_bytes() for path in there}
    assert set(files.fill(lake, NIGHTS[0], NIGHTS[-1]).values()) == {"skipped"}
    assert set(files.fill(lake, NIGHTS[2], NIGHTS[5], redo=True, nights_at_once=3).values()) == {"done"}
    assert {path: path.read_bytes() for path in there} == before
    assert not [path for path in (lake / "_staging").rglob("*") if path.is_file()]


def test_scoring_again_asks_no_source_and_changes_nothing_that_was_read(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.nightly import nightly

    lake, settings = tmp_path / "lake", tmp_path / "desk.toml"
    shutil.copytree(files.expected, lake, symlinks=True)
    settings.write_text(files.settings.read_text(encoding="utf-8").replace(".jsonl", ".gone"), encoding="utf-8")
    later = replace(files, settings=settings)
    before = [tables(lake, str(night), without_clock=False) for night in NIGHTS]
    assert set(later.fill(lake, NIGHTS[0], NIGHTS[-2], rescore=True).values()) == {"done"}
    nightly(night=NIGHTS[-1], settings_file=str(settings), lake=str(lake), rescore=True)
    scored = re.findall(r"(\d+) scored, (\d+) kept", caplog.text)
    assert sum(int(count) for count, _ in scored) == sum(night["scored_articles"].height for night in before)
    assert {kept for _, kept in scored} == {"0"}
    for night, old in zip(NIGHTS, before, strict=True):
        new = tables(lake, str(night), without_clock=False)
        for name in ("articles", "source_counts", "quarantine", "alerts"):
            assert new[name].equals(old[name]), f"{name} of {night}"
    later.assert_as_in_order(lake)
    assert later.fill(tmp_path / "empty", NIGHTS[0], NIGHTS[0], rescore=True) == {NIGHTS[0]: "failed"}, "it is read"


def test_a_second_backfill_of_a_lake_is_refused(files: Files, tmp_path: Path) -> None:
    from flows.backfill import BACKFILL_LOCK, BackfillRunning

    with (
        Lake.open(str(tmp_path / "lake")).lock(BACKFILL_LOCK, run_id="first"),
        pytest.raises(BackfillRunning, match=r"another backfill is at work in .*first"),
    ):
        files.fill(tmp_path / "lake", NIGHTS[0], NIGHTS[0])


def test_a_night_that_another_run_writes_fails_and_the_others_go_on_without_it(files: Files, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with Lake.open(str(lake)).lock(NIGHTS[1], run_id="nightly"):
        became = files.fill(lake, NIGHTS[0], NIGHTS[3])
    assert list(became.values()) == ["done", "failed", "done", "done"]
    became = files.fill(lake, NIGHTS[0], NIGHTS[3])
    assert (became[NIGHTS[0]], became[NIGHTS[1]]) == ("skipped", "done")
    assert set(became.values()) <= {"done", "skipped", "refreshed"}
    files.assert_as_in_order(lake, NIGHTS[:4])


def test_a_backfill_killed_on_its_way_is_made_good_by_the_next(files: Files, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    files.fill(lake, NIGHTS[3], NIGHTS[-1])
    desk = Desk(home=tmp_path / "home", lake=lake, guard_log=tmp_path / "outbound.log")
    arguments = ("backfill", "--first", str(NIGHTS[0]), "--last", str(NIGHTS[2]), "--settings", str(files.settings))
    killed = desk.call(*arguments, GUARD_KILL_AT="os.rename:scored_articles/night=2026-03-04")
    assert killed.returncode == -9, killed.stderr[-2000:]
    files.fill(lake, NIGHTS[0], NIGHTS[2], nights_at_once=2)
    files.assert_as_in_order(lake)
