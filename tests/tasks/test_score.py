"""Scoring a night in this process: what is kept, what fails, what a stopped run finds."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.errors import Fatal
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.scores import CONTRACT as SCORES
from models.backends.torch import TorchBackend
from models.batching import Batch
from models.engine import Prediction, Predictor
from tasks.cluster import ClusterConfig
from tasks.lake import Lake
from tasks.score import Scored, score
from tasks.shards import TEXT, RowsLost, Shard, cut, gather, model_name, score_shards, unfinished

NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
TABLES = ("scored_articles", "entity_mentions", "daily_entity_sentiment", "quarantine")
Rows = list[tuple[str, str, str | None]]


def run(lake: Path, bundle: Path, *, now: dt.datetime = NOW, rescore: bool = False, **more: object) -> Scored:
    config = ClusterConfig(rows_per_shard=7)
    arguments = {
        "night": NIGHT,
        "now": now,
        "run_id": "r1",
        "bundles": [str(bundle)],
        "cluster": config,
        "rescore": rescore,
    }
    return score.fn(str(lake), **(arguments | more))


def tables(lake: Path) -> dict[str, pa.Table]:
    stage = Lake.open(str(lake)).stage(NIGHT)
    return {name: stage.read(name) for name in TABLES}


def publish(lake: Path, run_id: str) -> None:
    Lake.open(str(lake)).commit(tables(lake), night=NIGHT, run_id=run_id)


def test_every_article_is_scored_once_in_its_order(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(30))
    done = run(tmp_path, tiny_bundle)
    scored = tables(tmp_path)["scored_articles"]
    assert (done.new, done.kept, done.failed, done.where) == (30, 0, 0, "process")
    assert scored.schema.equals(SCORES.schema)
    assert scored["article_id"].to_pylist() == [key for key, _, _ in news(30)]
    assert set(scored["scored_at"].to_pylist()) == {NOW}
    assert set(scored["model_digest"].to_pylist()) == {done.model_digest}
    assert scored["tokens_scored"].equals(scored["tokens_total"])


def test_the_tables_are_what_the_model_says(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(9))
    run(tmp_path, tiny_bundle, min_ner_score=0.0)
    texts = pa.table(dict(zip(TEXT.names, zip(*news(9), strict=True), strict=True)), schema=TEXT)
    expected = Predictor([tiny_bundle]).predict(texts)
    scored, mentions = tables(tmp_path)["scored_articles"], tables(tmp_path)["entity_mentions"]
    for name in ("p_negative", "p_neutral", "p_positive"):
        assert scored[name].to_pylist() == pytest.approx(expected.articles[name].to_pylist(), abs=1e-3)
    assert scored["sentiment"].equals(expected.articles["sentiment"])
    assert mentions.num_rows == expected.mentions.num_rows > 0
    assert mentions.schema.equals(MENTIONS.schema)
    assert sum(map(len, scored["entities"].to_pylist())) == mentions.num_rows
    keyed = {(r["article_id"], r["mention_start"]): r["mention_text"] for r in mentions.to_pylist()}
    text_of = {key: f"{title}\n{body or ''}" for key, title, body in news(9)}
    assert all(text_of[key][start:].startswith(words) for (key, start), words in keyed.items())


def test_a_second_run_keeps_published_rows_to_the_byte(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    rows = [*news(10), ("blank", " ", None)]
    stage_articles(tmp_path, rows)
    run(tmp_path, tiny_bundle)
    before = tables(tmp_path)
    publish(tmp_path, "r1")
    Lake.open(str(tmp_path)).stage(NIGHT).clear()
    stage_articles(tmp_path, rows)
    again = run(tmp_path, tiny_bundle, now=LATER)
    assert (again.new, again.kept, again.failed) == (0, 10, 1)
    assert tables(tmp_path) == before


def test_a_kept_score_has_the_corrected_time_of_its_article(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(3))
    run(tmp_path, tiny_bundle)
    publish(tmp_path, "r1")
    stage = Lake.open(str(tmp_path)).stage(NIGHT)
    articles = stage.read("articles")
    corrected = dt.datetime(2026, 3, 2, 3, tzinfo=dt.UTC)
    place = articles.schema.get_field_index("published_at")
    times = pa.array([corrected] * 3, articles.schema.field(place).type)
    stage.write("articles", articles.set_column(place, articles.schema.field(place), times))
    done = run(tmp_path, tiny_bundle, now=LATER)
    scored = tables(tmp_path)["scored_articles"]
    assert (done.new, done.kept) == (0, 3)
    assert set(scored["published_at"].to_pylist()) == {corrected}
    assert set(scored["available_at"].to_pylist()) == {NOW}


def test_only_new_articles_get_a_new_time(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(5))
    run(tmp_path, tiny_bundle)
    publish(tmp_path, "r1")
    stage_articles(tmp_path, news(6))
    done = run(tmp_path, tiny_bundle, now=LATER)
    assert (done.new, done.kept) == (1, 5)
    assert tables(tmp_path)["scored_articles"]["scored_at"].to_pylist() == [NOW] * 5 + [LATER]


def test_rescore_scores_everything_again(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(5))
    run(tmp_path, tiny_bundle)
    publish(tmp_path, "r1")
    done = run(tmp_path, tiny_bundle, now=LATER, rescore=True)
    assert (done.new, done.kept) == (5, 0)
    assert set(tables(tmp_path)["scored_articles"]["scored_at"].to_pylist()) == {LATER}


def test_an_article_without_any_token_goes_to_quarantine_and_the_rest_are_scored(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, [*news(3), ("blank", " ", None)])
    done = run(tmp_path, tiny_bundle)
    (row,) = tables(tmp_path)["quarantine"].to_pylist()
    assert (done.new, done.failed) == (3, 1)
    assert (row["stage"], row["row_id"], row["source"], row["reason"]) == (
        "score",
        "blank:1",
        "wire",
        "text.not_scored",
    )
    assert "token" in row["detail"]
    run(tmp_path, tiny_bundle)
    assert tables(tmp_path)["quarantine"].num_rows == 1


def test_a_night_without_articles_has_empty_tables(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None]
) -> None:
    stage_articles(tmp_path, [])
    done = run(tmp_path, tiny_bundle)
    assert (done.new, done.where) == (0, "nothing")
    assert {name: table.num_rows for name, table in tables(tmp_path).items()} == dict.fromkeys(TABLES, 0)


def test_finished_shards_are_not_scored_again(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows]
) -> None:
    stage_articles(tmp_path, news(21))
    run(tmp_path, tiny_bundle)
    first = tables(tmp_path)
    stage = Lake.open(str(tmp_path)).stage(NIGHT)
    scored = sorted(Path(stage.path(name)) for name in stage.names() if name.startswith("shards/scored/"))
    times = {path: path.stat().st_mtime_ns for path in scored}
    victim = next(path for path in scored if path.name.endswith("articles.parquet"))
    victim.unlink()
    run(tmp_path, tiny_bundle)
    written = {path for path in scored if path.stat().st_mtime_ns != times[path]}
    assert {path.name.rsplit("-", 1)[0] for path in written} == {victim.name.rsplit("-", 1)[0]}
    assert tables(tmp_path) == first


@pytest.mark.parametrize("rows_per_shard", [1, 3, 10, 100])
def test_any_cut_into_shards_gives_the_same_rows(
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    rows_per_shard: int,
) -> None:
    found = []
    for folder, rows in (("uncut", 1_000), ("cut", rows_per_shard)):
        stage_articles(tmp_path / folder, [*news(25), ("blank", " ", None)])
        run(tmp_path / folder, tiny_bundle, cluster=ClusterConfig(rows_per_shard=rows))
        found.append(tables(tmp_path / folder))
    uncut, cut_up = found
    assert cut_up["quarantine"].equals(uncut["quarantine"])
    for name in ("p_negative", "p_neutral", "p_positive"):
        whole = uncut["scored_articles"][name].to_pylist()
        assert cut_up["scored_articles"][name].to_pylist() == pytest.approx(whole, abs=1e-5)
    exact = ["article_id", "mention_start", "mention_end", "mention_text", "mention_type"]
    assert cut_up["entity_mentions"].select(exact).equals(uncut["entity_mentions"].select(exact))


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage_articles(tmp_path / "roomy", news(25))
    run(tmp_path / "roomy", tiny_bundle)
    compute, refused = TorchBackend.run, []

    def crowded(self: TorchBackend, batch: Batch) -> dict[str, np.ndarray]:
        if len(batch) > 2:
            refused.append(len(batch))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return compute(self, batch)

    monkeypatch.setattr(TorchBackend, "run", crowded)
    stage_articles(tmp_path / "crowded", news(25))
    done = run(tmp_path / "crowded", tiny_bundle)
    assert refused
    assert (done.new, done.failed) == (25, 0)
    roomy, tight = (tables(tmp_path / folder)["scored_articles"] for folder in ("roomy", "crowded"))
    assert tight["p_positive"].to_pylist() == pytest.approx(roomy["p_positive"].to_pylist(), abs=1e-5)


def test_models_without_sentiment_are_refused(
    tmp_path: Path, tiny_bundle: Path, stage_articles: Callable[..., None]
) -> None:
    from tasks.narrow import narrowed

    stage_articles(tmp_path, [])
    with pytest.raises(Fatal, match="need sentiment"):
        run(tmp_path, narrowed(tiny_bundle, ["ner"], tmp_path / "narrow"))


class Forgetful:
    """A model that loses the last row of each table."""

    def __init__(self, bundle: Path) -> None:
        self.inner = Predictor([bundle])

    def predict_each(self, tables: Iterable[pa.Table]) -> Iterator[Prediction]:
        return self.inner.predict_each(table.slice(0, table.num_rows - 1) for table in tables)


def test_a_model_that_loses_a_row_is_caught(tmp_path: Path, tiny_bundle: Path) -> None:
    lake = Lake.open(str(tmp_path))
    stage = lake.stage(NIGHT)
    shards = cut(pa.table({"id": ["a", "b"], "title": ["x", "y"], "body": ["p", None]}), stage, rows_per_shard=5)
    with pytest.raises(RowsLost, match=r"2 rows went .* 1 came out; missing 1 \['b'\]"):
        list(score_shards(Forgetful(tiny_bundle), shards, lake, model="m"))
    assert unfinished(shards, stage, "m") == shards


def test_a_shard_is_known_by_its_text_its_model_and_its_backend(tmp_path: Path, tiny_bundle: Path) -> None:
    lake = Lake.open(str(tmp_path))
    stage = lake.stage(NIGHT)
    scorer = Predictor([tiny_bundle])
    model = model_name(scorer.digest, "torch")

    def cut_one(title: str | None) -> Shard:
        (shard,) = cut(
            pa.table({"id": ["a"], "title": [title], "body": pa.array([None], pa.string())}), stage, rows_per_shard=5
        )
        return shard

    assert list(score_shards(scorer, [cut_one("profit")], lake, model=model)) == [(cut_one("profit"), 0)]
    assert unfinished([cut_one("profit")], stage, model) == []
    assert unfinished([cut_one("losses")], stage, model) != []
    assert unfinished([cut_one("profit")], stage, model_name(scorer.digest, "torch-bf16")) != []
    assert unfinished([cut_one("profit")], stage, model_name("0" * 64, "torch")) != []
    assert gather([cut_one("profit")], stage, model).articles.num_rows == 1
