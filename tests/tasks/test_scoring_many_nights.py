"""Several nights scored together: each gets what it would have got alone, its shards are found, and a pool is opened once."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from data_contracts.article import CONTRACT as ARTICLES
from tasks.cluster import ClusterConfig
from tasks.lake import Lake
from tasks.pool import Pool
from tasks.score import score
from tasks.score_nights import score_nights

NIGHTS = [dt.date(2026, 3, day) for day in (2, 3, 4)]
NOW = dt.datetime(2026, 3, 5, 4, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
HERE = ClusterConfig(rows_per_shard=7)
TABLES = ("scored_articles", "entity_mentions", "daily_entity_sentiment", "quarantine")
Rows = list[tuple[str, str, str | None]]
Stage = Callable[..., None]
News = Callable[[int], Rows]


def stage_all(lake: Path, stage_articles: Stage, news: News) -> None:
    rows = news(60)
    for night, part in zip(NIGHTS, (rows[:23], [], [*rows[23:50], ("blank", " ", None)]), strict=True):
        stage_articles(lake, part, night)


def run(lake: Path, bundle: Path, night: dt.date, *, now: dt.datetime = NOW, **more: object) -> dict[str, pa.Table]:
    """The tables that scoring a night stages."""
    arguments = {"run_id": "r", "bundles": [str(bundle)], "cluster": HERE} | more
    score.fn(str(lake), night=night, now=now, **arguments)
    stage = Lake.open(str(lake)).stage(night)
    return {name: stage.read(name) for name in TABLES}


def shards(lake: Path) -> dict[Path, int]:
    """Every result of a shard and when it was written."""
    found = (lake / "_staging").rglob("shards/scored/*.parquet")
    return {path: path.stat().st_mtime_ns for path in found}


def test_nights_scored_together_are_to_the_bit_as_each_alone(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News
) -> None:
    for folder in ("alone", "together"):
        stage_all(tmp_path / folder, stage_articles, news)
    with Pool(str(tmp_path / "together"), [str(tiny_bundle)], cluster=HERE) as pool:
        ahead = score_nights.fn(str(tmp_path / "together"), nights=NIGHTS, pool=pool)
        assert (ahead.rows, ahead.shards, ahead.where) == (51, 8, "process")
        before = shards(tmp_path / "together")
        for night in NIGHTS:
            assert run(tmp_path / "together", tiny_bundle, night, pool=pool) == run(
                tmp_path / "alone", tiny_bundle, night
            )
    assert shards(tmp_path / "together") == before, "nothing was scored twice"


def test_nights_that_were_stopped_find_their_finished_shards(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News
) -> None:
    stage_all(tmp_path, stage_articles, news)
    with Pool(str(tmp_path), [str(tiny_bundle)], cluster=HERE) as pool:
        score_nights.fn(str(tmp_path), nights=NIGHTS, pool=pool)
        before = shards(tmp_path)
        victim = next(path for path in before if path.stem.endswith("-articles") and f"night={NIGHTS[2]}" in str(path))
        victim.unlink()
        score_nights.fn(str(tmp_path), nights=NIGHTS, pool=pool)
    written = {path for path, time in shards(tmp_path).items() if before[path] != time}
    assert {path.stem.rsplit("-", 1)[0] for path in written} == {victim.stem.rsplit("-", 1)[0]}


def published(lake: Path, night: dt.date) -> None:
    desk = Lake.open(str(lake))
    tables = {name: desk.stage(night).read(name) for name in ("articles", *TABLES)}
    desk.commit(tables, night=night, run_id="r")
    desk.stage(night).clear()


def test_a_night_that_lost_an_article_is_as_if_it_had_been_scored_without_it(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News
) -> None:
    stage_articles(tmp_path / "before", news(20), NIGHTS[0])
    first = run(tmp_path / "before", tiny_bundle, NIGHTS[0])["scored_articles"]
    published(tmp_path / "before", NIGHTS[0])
    for folder in ("before", "without"):
        stage_articles(tmp_path / folder, news(20)[1:], NIGHTS[0])
    after = run(tmp_path / "before", tiny_bundle, NIGHTS[0], now=LATER, whole=True)
    without = run(tmp_path / "without", tiny_bundle, NIGHTS[0])
    clock = ["scored_at", "available_at"]
    for name in ("scored_articles", "entity_mentions"):
        times = [column for column in clock if column in after[name].schema.names]
        assert after[name].drop_columns(times) == without[name].drop_columns(times)
    old = {row["article_id"]: row for row in first.to_pylist()}
    for row in after["scored_articles"].to_pylist():
        same = {k: v for k, v in row.items() if k not in clock} == {
            k: v for k, v in old[row["article_id"]].items() if k not in clock
        }
        assert row["scored_at"] == (NOW if same else LATER)


def test_a_night_as_it_was_keeps_its_scores(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News
) -> None:
    stage_articles(tmp_path, news(9), NIGHTS[0])
    first = run(tmp_path, tiny_bundle, NIGHTS[0])
    published(tmp_path, NIGHTS[0])
    stage_articles(tmp_path, news(9), NIGHTS[0])
    with Pool(str(tmp_path), [str(tiny_bundle)], cluster=HERE) as pool:
        assert score_nights.fn(str(tmp_path), nights=NIGHTS[:1], pool=pool).where == "nothing"
        assert run(tmp_path, tiny_bundle, NIGHTS[0], now=LATER, whole=True, pool=pool) == first


def test_a_version_that_is_another_text_now_does_not_keep_the_score_of_the_old_one(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News
) -> None:
    stage_articles(tmp_path, news(5), NIGHTS[0])
    run(tmp_path, tiny_bundle, NIGHTS[0])
    published(tmp_path, NIGHTS[0])
    stage = Lake.open(str(tmp_path)).stage(NIGHTS[0])
    stage_articles(tmp_path, [("a0000", "acme losses fraud default", "warning"), *news(5)[1:]], NIGHTS[0])
    rows = stage.read("articles").to_pylist()
    rows[0]["content_hash"] = "d" * 32
    stage.write("articles", pa.Table.from_pylist(rows, schema=ARTICLES.schema))
    scored = run(tmp_path, tiny_bundle, NIGHTS[0], now=LATER, whole=True)["scored_articles"].to_pylist()
    assert (scored[0]["title"], scored[0]["scored_at"]) == ("acme losses fraud default", LATER)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_one_ray_serves_all_nights_and_gives_the_same_rows(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Stage, news: News, children: Callable[[str], list[int]]
) -> None:
    for folder in ("here", "ray"):
        stage_all(tmp_path / folder, stage_articles, news)
    config = ClusterConfig(min_rows=20, rows_per_shard=7, threads_per_worker=1)
    lake = str(tmp_path / "ray")
    with Pool(lake, [str(tiny_bundle)], cluster=config) as pool:
        assert score_nights.fn(lake, nights=NIGHTS[:1], pool=pool).where == "ray"
        (raylet,) = children("raylet/raylet")  # and not a worker, which is told the name of its raylet
        ahead = score_nights.fn(lake, nights=NIGHTS, pool=pool)
        assert (ahead.shards, ahead.where) == (8, "ray")
        assert children("raylet/raylet") == [raylet]
        for night in NIGHTS:
            there = run(tmp_path / "ray", tiny_bundle, night, pool=pool)["scored_articles"]
            here = run(tmp_path / "here", tiny_bundle, night)["scored_articles"]
            assert there["article_id"].equals(here["article_id"])
            assert there["p_positive"].to_pylist() == pytest.approx(here["p_positive"].to_pylist(), abs=1e-3)
    assert not children("raylet")
