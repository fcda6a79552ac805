"""Every verb of a night in its order, on troubled sources and places: what is wrong is said, the rest goes on, nothing published is lost."""

import datetime as dt
import errno
import json
import os
import random
import shutil
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_contracts.errors import ContractBroken
from tasks.cluster import ClusterConfig
from tasks.ingest import Window, ingest
from tasks.lake import Lake, LakeFull, LakeReadOnly, LakeTooNew
from tasks.notify import Notified, notify
from tasks.publish import Published, publish
from tasks.report import report
from tasks.score import score
from tasks.sources import SourceConfig
from tasks.validate import validate, validate_alerts, validate_scores
from tasks.watch import watch

NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 4, 0, tzinfo=dt.UTC)
TOMORROW, THEN = NIGHT + dt.timedelta(days=1), NOW + dt.timedelta(days=1)
MONITORS: dict[str, dict[str, object]] = {"source_failed": {}, "contract_failures": {}, "negative_surge": {}}


def row(key: int, **changes: object) -> dict[str, object]:
    return {
        "title": f"acme said profit {key}",
        "body": f"bolt losses in a quarter {key}",
        "url": f"https://news.example/{key}",
        "published": "2026-03-02T12:00:00Z",
    } | changes


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def source(name: str, kind: str, path: Path, **more: object) -> SourceConfig:
    return SourceConfig(name=name, kind=kind, location=str(path), **more)  # type: ignore[arg-type]


def run_night(
    lake: Path,
    sources: list[SourceConfig],
    bundle: Path,
    *,
    night: dt.date = NIGHT,
    now: dt.datetime = NOW,
    window: Window | None = None,
    max_failed_share: float = 0.5,
) -> tuple[Published, Notified]:
    """The verbs as the nightly flow calls them."""
    url, run_id = str(lake), f"{now:%Y%m%dT%H%M%S}-test"
    desk = Lake.open(url)
    with desk.lock(night, run_id=run_id):
        desk.repair()
        desk.stage(night).clear(keep=("shards",))
        ingest.fn(
            url, sources, night=night, window=window, take_undated=True, now=now, keep_raw=False, lookback_nights=30, run_id=run_id
        )  # fmt: skip
        validate.fn(url, night=night, now=now, run_id=run_id, max_failed_share=max_failed_share, lookback_nights=30)
        cluster = ClusterConfig()
        scored = score.fn(url, night=night, now=now, run_id=run_id, bundles=[str(bundle)], cluster=cluster)
        validate_scores.fn(url, night=night, now=now, max_failed_share=max_failed_share)
        watch.fn(url, night=night, now=now, monitors=MONITORS, model_digest=scored.model_digest)
        validate_alerts.fn(url, night=night, now=now)
        published = publish.fn(url, night=night, run_id=run_id, now=now)
        desk.stage(night).clear()
        report.fn(url, night=night, now=now)
        return published, notify.fn(url, night=night, now=now, sinks={"jsonl": {}}, cooldown_hours=24)


def read(lake: Path, table: str, night: dt.date = NIGHT) -> pl.DataFrame:
    return pl.read_parquet(lake / table / f"night={night}" / "part-0.parquet", hive_partitioning=False)


def visible(lake: Path) -> dict[Path, bytes]:
    """What readers find: every published file, byte for byte."""
    return {path: path.read_bytes() for path in lake.glob("[!_]*/night=*/*.parquet")}


def laughs() -> str:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><rss><channel><title>&l9;</title></channel></rss>'


def test_each_broken_source_is_named_and_the_others_go_on(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "page.xml").write_text("Sorry, we are closed.", encoding="utf-8")
    (tmp_path / "bomb.xml").write_text(laughs(), encoding="utf-8")
    whole = json.dumps([row(i) for i in range(3)])
    (tmp_path / "cut.json").write_text(whole[: whole.rindex('"title"') + 20], encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes(
        "published,title\n2026-03-02T12:00:00Z,Café société reports\n".encode("latin-1")
    )
    with (tmp_path / "huge.xml").open("wb") as file:
        file.truncate(200 << 20)
    sources = [
        source("closed", "rss", tmp_path / "page.xml"),
        source("bomb", "rss", tmp_path / "bomb.xml"),
        source("huge", "rss", tmp_path / "huge.xml"),
        source("cut", "json", tmp_path / "cut.json"),
        source("latin", "csv", tmp_path / "latin.csv"),
        source("good", "json", written(tmp_path / "good.jsonl", [row(i) for i in range(10, 20)])),
    ]
    lake = tmp_path / "lake"
    run_night(lake, sources, tiny_bundle)
    counts = {r["source"]: r for r in read(lake, "source_counts").iter_rows(named=True)}
    assert {name for name, r in counts.items() if r["failed"]} == {"closed", "bomb", "huge", "latin"}
    for name, said in {"closed": "page.xml", "bomb": "entit", "huge": "max_bytes", "latin": "encoding"}.items():
        assert said in counts[name]["error"]
    assert counts["cut"]["articles"] == 2
    assert read(lake, "quarantine").filter(pl.col("source") == "cut")["reason"].str.contains("parse_error").all()
    assert read(lake, "scored_articles").filter(pl.col("source") == "good").height == 10
    assert set(read(lake, "alerts").filter(pl.col("monitor") == "source_failed")["subject"]) == {
        "closed",
        "bomb",
        "huge",
        "latin",
    }


def test_an_empty_night_is_published_as_one(tmp_path: Path, tiny_bundle: Path) -> None:
    lake = tmp_path / "lake"
    run_night(lake, [source("quiet", "json", written(tmp_path / "quiet.jsonl", []))], tiny_bundle)
    assert [read(lake, table).height for table in ("articles", "scored_articles", "entity_mentions", "alerts")] == [
        0,
        0,
        0,
        0,
    ]
    assert Lake.open(str(lake)).published(NIGHT)
    assert (lake / "_reports" / str(NIGHT) / "report.html").is_file()


def test_a_broken_contract_publishes_nothing_and_keeps_what_came(tmp_path: Path, tiny_bundle: Path) -> None:
    lake, feed = tmp_path / "lake", tmp_path / "feed.jsonl"
    sources = [source("feed", "json", written(feed, [row(i, published="soon") for i in range(8)] + [row(8), row(9)]))]
    with pytest.raises(ContractBroken, match="80"):
        run_night(lake, sources, tiny_bundle, max_failed_share=0.2)
    desk = Lake.open(str(lake))
    assert not desk.published(NIGHT)
    assert not list(lake.glob("[!_]*/night=*/*.parquet"))
    assert desk.read("raw", nights=[NIGHT]).num_rows == 10
    assert (lake / "_reports" / str(NIGHT) / "contract.html").is_file()


def test_late_rows_of_a_live_night_join_it_and_touch_no_other(tmp_path: Path, tiny_bundle: Path) -> None:
    lake, feed = tmp_path / "lake", tmp_path / "feed.jsonl"
    sources = [source("feed", "json", feed)]
    written(feed, [row(i) for i in range(3)])
    run_night(lake, sources, tiny_bundle)
    before = read(lake, "scored_articles")
    later = NOW + dt.timedelta(hours=1)
    written(feed, [row(i) for i in range(5)])
    run_night(lake, sources, tiny_bundle, now=later)
    after = read(lake, "scored_articles")
    assert after.height == 5
    assert after.join(before, on=before.columns, how="semi", nulls_equal=True).height == 3, (
        "rows that were there keep their times"
    )
    written(feed, [row(i) for i in range(6)])
    run_night(lake, sources, tiny_bundle, night=NIGHT + dt.timedelta(days=1), now=NOW + dt.timedelta(days=1))
    assert read(lake, "scored_articles", NIGHT + dt.timedelta(days=1)).height == 1
    assert read(lake, "scored_articles").equals(after)


def test_poisoned_rows_are_scored_or_quarantined_by_rule_and_their_neighbours_unharmed(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    emoji = "\U0001f680\U0001f315\U0001f680"
    poison = [
        row(20, title="acme \ud83d said profit"),
        row(21, title=emoji, body=emoji),
        row(22, title="acme report", body="a" * 2_000_000),
        row(23, title=None, body=None),
    ]
    healthy = [row(i) for i in range(8)]
    for folder, rows in (("clean", healthy), ("mixed", [*healthy[:4], *poison, *healthy[4:]])):
        feed = source("feed", "json", written(tmp_path / f"{folder}.jsonl", rows))
        run_night(tmp_path / folder, [feed], tiny_bundle)
    clean, scored = (read(tmp_path / folder, "scored_articles").sort("url") for folder in ("clean", "mixed"))
    (quarantined,) = read(tmp_path / "mixed", "quarantine").to_dicts()
    assert (quarantined["stage"], quarantined["reason"]) == ("raw", "title.not_null")
    titles = dict(scored.select("url", "title").iter_rows())
    assert titles["https://news.example/20"] == "acme \ufffd said profit"
    assert titles["https://news.example/21"] == emoji
    endless = scored.row(by_predicate=pl.col("url") == "https://news.example/22", named=True)
    assert (endless["tokens_scored"], endless["tokens_total"]) == (3, 3), "a word without end is one unknown token"
    neighbours = scored.filter(pl.col("url").is_in(clean["url"].to_list()))
    assert scored.height == 11
    assert neighbours["sentiment"].equals(clean["sentiment"])
    for name in ("p_negative", "p_neutral", "p_positive"):
        assert neighbours[name].to_list() == pytest.approx(clean[name].to_list(), abs=1e-5)
    assert [[e["mention_text"] for e in entities] for entities in neighbours["entities"]] == [
        [e["mention_text"] for e in entities] for entities in clean["entities"]
    ]


def test_the_same_night_again_is_unchanged_and_sends_nothing(tmp_path: Path, tiny_bundle: Path) -> None:
    lake = tmp_path / "lake"
    sources = [
        source("gone", "json", tmp_path / "gone.jsonl"),
        source("feed", "json", written(tmp_path / "f.jsonl", [row(1)])),
    ]
    first, told = run_night(lake, sources, tiny_bundle)
    again, told_again = run_night(lake, sources, tiny_bundle, now=NOW + dt.timedelta(hours=2))
    assert (first.changed, again.changed) == (True, False)
    assert (told.sent, told_again.sent) == (1, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_night_with_its_name_and_keeps_the_nights_before(
    small_disk: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    lake = small_disk / "lake"
    run_night(lake, [source("feed", "json", written(tmp_path / "a.jsonl", [row(i) for i in range(5)]))], tiny_bundle)
    before = visible(lake)
    letters = random.Random(0)
    bulky = [row(i, body="".join(letters.choices(string.ascii_letters, k=60_000))) for i in range(100, 180)]
    feed = source("feed", "json", written(tmp_path / "b.jsonl", bulky))
    with pytest.raises(LakeFull, match="no space left"):
        run_night(lake, [feed], tiny_bundle, night=TOMORROW, now=THEN)
    assert visible(lake) == before
    roomy = tmp_path / "roomy"
    shutil.copytree(lake, roomy)
    few = source("feed", "json", written(tmp_path / "c.jsonl", [row(i) for i in range(200, 203)]))
    run_night(roomy, [few], tiny_bundle, night=TOMORROW, now=THEN)
    assert read(roomy, "scored_articles", TOMORROW).height == 3


def test_a_read_only_disk_ends_the_night_with_its_name_and_keeps_the_nights_before(
    small_disk: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    lake = small_disk / "lake"
    sources = [source("feed", "json", written(tmp_path / "feed.jsonl", [row(i) for i in range(5)]))]
    run_night(lake, sources, tiny_bundle)
    before = visible(lake)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LakeReadOnly) as refused:
        run_night(lake, sources, tiny_bundle, night=TOMORROW, now=THEN)
    assert f"cannot write {lake}/_locks/night={TOMORROW}" in str(refused.value)
    assert "Read-only file system" in str(refused.value)
    assert "the user who runs the night must be allowed to" in str(refused.value)
    assert visible(lake) == before


def test_a_disk_that_turns_read_only_while_a_night_is_published_costs_nothing(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    lake, feed = tmp_path / "lake", tmp_path / "feed.jsonl"
    sources = [source("feed", "json", written(feed, [row(i) for i in range(5)]))]
    run_night(lake, sources, tiny_bundle)
    before = visible(lake)
    written(feed, [row(i) for i in range(8)])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "hardlink_to", refuse)
        with pytest.raises(LakeReadOnly, match=rf"{lake}/\w+/night={TOMORROW}/.*Read-only file system"):
            run_night(lake, sources, tiny_bundle, night=TOMORROW, now=THEN)
    assert visible(lake) == before
    run_night(lake, sources, tiny_bundle, night=TOMORROW, now=THEN)
    assert read(lake, "scored_articles", TOMORROW).height == 3
    assert before.items() <= visible(lake).items()


def test_a_lake_of_a_newer_version_ends_the_night_before_and_amid_it_and_stays_as_it_is(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, feed = tmp_path / "lake", tmp_path / "feed.jsonl"
    sources = [source("feed", "json", written(feed, [row(i) for i in range(5)]))]
    run_night(lake, sources, tiny_bundle)
    before, mark, scoring = visible(lake), lake / "_lake.json", score.fn
    ours, newer = mark.read_text(), '{"format": 99}'

    def scored_while_another_program_comes(*given: Any, **named: Any) -> Any:
        mark.write_text(newer)
        return scoring(*given, **named)

    written(feed, [row(i) for i in range(8)])
    with monkeypatch.context() as patched:
        patched.setattr(score, "fn", scored_while_another_program_comes)
        for _ in ("amid it", "before it"):
            with pytest.raises(LakeTooNew) as refused:
                run_night(lake, sources, tiny_bundle, night=TOMORROW, now=THEN)
            said = f"the lake {lake} has layout version 99, this program knows up to 1; use a newer one"
            assert str(refused.value) == said
            assert mark.read_text() == newer
            assert visible(lake) == before
    mark.write_text(ours)
    run_night(lake, sources, tiny_bundle, night=TOMORROW, now=THEN)
    assert read(lake, "scored_articles", TOMORROW).height == 3
    assert before.items() <= visible(lake).items()
