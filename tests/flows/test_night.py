"""The main job on the shipped sample: real flows, real weights, real Parquet."""

import datetime as dt
import json
import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tasks.lake import Lake
from tests.flows.conftest import NIGHTS, ROOT, Desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TABLES = (
    "raw",
    "articles",
    "quarantine",
    "scored_articles",
    "entity_mentions",
    "daily_entity_sentiment",
    "source_counts",
    "alerts",
)
CLOCK = ("first_seen_at", "available_at", "scored_at", "quarantined_at", "created_at")


def tables(lake: Path, night: str, *, without_clock: bool = True) -> dict[str, pl.DataFrame]:
    """Every published table of a night as an analyst reads it; `without_clock` leaves out when the run looked at its watch."""
    frames = {
        name: pl.read_parquet(lake / name / f"night={night}" / "part-0.parquet", hive_partitioning=False)
        for name in TABLES
    }
    return {name: clockless(frame) for name, frame in frames.items()} if without_clock else frames


def clockless(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows without the times of the run; the quarantine's texts quote them too."""
    quoted = [name for name in ("row", "detail") if name in frame.columns]
    texts = pl.col(quoted).str.replace_all(r'"first_seen_at": "[^"]*"|published_at_lead_seconds [0-9.]+', "")
    return frame.with_columns(texts if quoted else []).drop(CLOCK, strict=False)


def test_the_nights_are_published_as_one_file_a_table(desk: Desk) -> None:
    for night in NIGHTS:
        for table in TABLES:
            assert [p.name for p in (desk.lake / table / f"night={night}").iterdir()] == ["part-0.parquet"]


def test_no_row_is_lost(desk: Desk) -> None:
    for night in NIGHTS:
        seen = tables(desk.lake, night)
        quarantined = seen["quarantine"].filter(pl.col("stage") == "raw").height
        counts = seen["source_counts"]
        assert seen["raw"].height == quarantined + seen["articles"].height + counts["rows_repeated"].sum()
        assert seen["scored_articles"].height == seen["articles"].height


TRUTH = json.loads((ROOT / "deployments" / "sample" / "truth.json").read_text(encoding="utf-8"))


def test_the_counts_are_those_the_sample_promises(desk: Desk) -> None:
    for night in NIGHTS:
        seen, promised = tables(desk.lake, night), TRUTH[night]
        of_other_nights = promised["repeats"].get("overlap", 0)
        rows = promised["rows"]["all"] + promised["bulletin_rows"]
        assert seen["raw"].height == rows - of_other_nights
        assert seen["source_counts"]["rows_read"].sum() == rows
        assert seen["quarantine"].filter(pl.col("stage") == "raw").height == sum(promised["bad"].values())
        repeats = sum(promised["repeats"].values()) + promised["bulletin_rows"]
        assert seen["source_counts"]["rows_repeated"].sum() == repeats - of_other_nights
        assert seen["articles"].height == promised["articles"]
        assert seen["articles"].filter(pl.col("version") > 1).height == sum(promised["versions"].values())


def test_rewritten_copies_are_joined_to_their_story(desk: Desk) -> None:
    for night in NIGHTS:
        articles = tables(desk.lake, night)["articles"]
        assert articles["story_id"].n_unique() < articles.height - sum(TRUTH[night]["copies"].values()) // 2


def test_articles_longer_than_the_model_are_scored_to_their_end(desk: Desk) -> None:
    scored = tables(desk.lake, NIGHTS[0])["scored_articles"]
    assert scored.filter(pl.col("tokens_total") > 512).height >= 6
    assert (scored["tokens_scored"] == scored["tokens_total"]).all()


def test_the_surge_of_the_second_night_is_alerted_with_its_articles(desk: Desk) -> None:
    alerts = tables(desk.lake, NIGHTS[1])["alerts"].filter(pl.col("monitor") == "negative_surge")
    subject = TRUTH[NIGHTS[1]]["surge"]["company"].casefold()
    assert alerts.height == 1
    assert alerts["subject"][0].casefold() in subject or subject in alerts["subject"][0].casefold()
    assert len(alerts["article_ids"][0]) >= 5
    assert tables(desk.lake, NIGHTS[0])["alerts"].filter(pl.col("monitor") == "negative_surge").height == 0


def test_running_the_nights_again_changes_no_byte_and_sends_nothing(desk: Desk) -> None:
    files = sorted(p for table in TABLES for p in (desk.lake / table).rglob("*.parquet"))
    before = {p: p.read_bytes() for p in files}
    sent = (desk.home / "alerts.jsonl").read_bytes()
    done = desk.run_nights(*NIGHTS)
    assert done.returncode == 0, done.stderr[-4000:]
    assert {p: p.read_bytes() for p in files} == before
    assert (desk.home / "alerts.jsonl").read_bytes() == sent


def test_readers_of_all_kinds_see_the_same_rows(desk: Desk) -> None:
    glob = f"{desk.lake}/scored_articles/*/*.parquet"
    by_duckdb = duckdb.sql(f"SELECT count(*) FROM read_parquet('{glob}')").fetchall()[0]
    rows = sum(tables(desk.lake, night)["scored_articles"].height for night in NIGHTS)
    assert by_duckdb[0] == pl.scan_parquet(glob, hive_partitioning=False).collect().height == rows
    assert Lake.open(str(desk.lake)).read("scored_articles").num_rows == rows


@pytest.mark.parametrize("page", ["report.html", "contract.html"])
def test_the_pages_ask_for_nothing_from_outside(desk: Desk, page: str) -> None:
    text = (desk.lake / "_reports" / NIGHTS[1] / page).read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(https?:)?//[^"]*\.(js|css|png|svg|woff2?)', text)
    assert not re.search(r"@import|url\(\s*['\"]?http", text)


@pytest.mark.parametrize(
    ("during", "kill_at"),
    [
        ("ingest", "open:exchange.2026-03-02"),
        ("the keeping of what came in", "os.rename:_commits"),
        ("scoring", "os.rename:scored_articles"),
        ("publishing", "os.rename:scored_articles/night="),
        ("reporting", "os.rename:_reports/2026-03-02/report.html"),
    ],
)
def test_a_night_killed_anywhere_and_run_again_equals_an_undisturbed_one(
    desk: Desk, tmp_path: Path, during: str, kill_at: str
) -> None:
    lake = tmp_path / "lake"
    killed = desk.run_nights(NIGHTS[0], lake=lake, GUARD_KILL_AT=kill_at)
    assert killed.returncode == -9, f"was not killed during {during}: {killed.stderr[-2000:]}"
    again = desk.run_nights(NIGHTS[0], lake=lake)
    assert again.returncode == 0, again.stderr[-4000:]
    expected = tables(desk.lake, NIGHTS[0])
    for name, frame in tables(lake, NIGHTS[0]).items():
        assert frame.equals(expected[name]), f"{name} differs after a kill during {during}"
    leftovers = [
        p
        for p in lake.rglob("*")
        if p.is_file() and (".tmp" in p.name or p.suffix not in (".parquet", ".json", ".html", ".lock", ""))
    ]
    assert not leftovers


def test_nothing_called_home(desk: Desk) -> None:
    assert not desk.guard_log.exists(), desk.guard_log.read_text()[:4000]


def test_yesterdays_lake_can_be_read_as_it_was(desk: Desk) -> None:
    lake = Lake.open(str(desk.lake))
    assert lake.read("articles", as_of=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)).num_rows == 0
