"""A night scored by one model with every head, and by one without those that a night can do without."""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.labelled import EntitySentimentExample, EntitySpan, NerExample, SentimentExample, SummaryExample
from data_contracts.labelled import TopicsExample as Topics
from data_contracts.labels import SENTIMENT, TASKS
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.scores import CONTRACT as SCORES
from flows.scoring import score_file
from flows.settings import load as load_settings
from models.bundle import load
from tasks.cluster import ClusterConfig
from tasks.lake import Lake
from tasks.score import score
from tasks.shadow import Shadow, shadow

NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 4, tzinfo=dt.UTC)
TABLES = ("scored_articles", "entity_mentions", "daily_entity_sentiment")
TOPICS = {"negative": "trouble", "neutral": "office", "positive": "success"}  # and "news", of all
OF_ENTITY = ("entity_sentiment", "entity_sentiment_score", "relevance")
Rows = list[tuple[str, str, str | None]]
Night = dict[str, pa.Table]


@pytest.fixture(scope="module")
def every_head(
    tiny_trunk: Path,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[NerExample],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A joint model with all five heads."""
    from models.training import Recipe, TaskData, fit

    texts, labels = [one.text for one in sentiment_examples], [one.label for one in sentiment_examples]
    about = [
        EntitySentimentExample(text=f"{name} {text}", entities=(EntitySpan(start=0, end=len(name), label=label),))
        for text, label, name in zip(texts, labels, ("acme", "bolt", "zeta") * 20, strict=True)
    ]
    articles = [
        SummaryExample(text=" ".join(f"{text.capitalize()}." for text in texts[i : i + 5]), summary=texts[i + 1])
        for i in range(0, 20, 2)
    ]
    examples = {
        "sentiment": sentiment_examples,
        "ner": ner_examples,
        "topics": [
            Topics(text=t, topics=tuple(sorted(("news", TOPICS[label]))))
            for t, label in zip(texts, labels, strict=True)
        ],
        "entity_sentiment": about,
        "summary": articles,
    }
    return fit(
        trunk=str(tiny_trunk),
        data={task: TaskData(some, some) for task, some in examples.items()},
        recipe=Recipe(epochs=3, precision="float32", max_length=64, overlap=16, learning_rate=1e-2),
        output=tmp_path_factory.mktemp("models") / "all",
    )


@pytest.fixture(scope="module")
def scored_night(
    every_head: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    tmp_path_factory: pytest.TempPathFactory,
) -> Night:
    return _night(tmp_path_factory.mktemp("lake"), every_head, stage_articles, news(9))


def _night(lake: Path, bundle: Path, stage_articles: Callable[..., None], rows: Rows) -> Night:
    stage_articles(lake, rows)
    score.fn(
        str(lake),
        night=NIGHT,
        now=NOW,
        run_id="r1",
        bundles=[str(bundle)],
        cluster=ClusterConfig(rows_per_shard=4),
        min_ner_score=0.0,
    )
    stage = Lake.open(str(lake)).stage(NIGHT)
    return {name: stage.read(name) for name in TABLES}


def test_articles_have_topics_and_a_summary(every_head: Path, scored_night: Night, news: Callable[[int], Rows]) -> None:
    assert load(every_head).heads == tuple(sorted(TASKS))
    table = scored_night["scored_articles"]
    assert table.schema.equals(SCORES.schema)
    bodies = {key: body for key, _, body in news(9)}
    topics = table["topics"].to_pylist()
    assert table["topics"].null_count == 0
    assert {"news"} <= {topic for found in topics for topic in found} <= {"news", *TOPICS.values()}
    for row in table.to_pylist():
        body = bodies[row["article_id"]]
        if body is None:
            assert row["summary"] is None
        else:
            assert row["summary"]
            assert all(line in body for line in row["summary"].split("\n"))


def test_mentions_have_what_is_said_of_the_entity_and_how_much_of_the_article_it_is(scored_night: Night) -> None:
    mentions, articles = scored_night["entity_mentions"], scored_night["scored_articles"].to_pylist()
    assert mentions.schema.equals(MENTIONS.schema)
    assert mentions.num_rows == sum(len(row["entities"]) for row in articles) > 0
    nested = {(row["article_id"], one["mention_start"]): one for row in articles for one in row["entities"]}
    for row in mentions.to_pylist():
        assert {name: row[name] for name in OF_ENTITY} == {
            name: nested[row["article_id"], row["mention_start"]][name] for name in OF_ENTITY
        }
        assert row["entity_sentiment"] in SENTIMENT
        assert -1.0 <= row["entity_sentiment_score"] <= 1.0
        assert 0.0 < row["relevance"] <= 1.0


def test_a_day_has_the_mean_over_articles_of_what_is_said_of_the_entity(scored_night: Night) -> None:
    daily = scored_night["daily_entity_sentiment"]
    assert daily.schema.equals(DAILY.schema)
    said: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in scored_night["entity_mentions"].to_pylist():
        said[row["entity"], row["mention_type"]][row["article_id"]].append(row["entity_sentiment_score"])
    expected = {
        key: sum(sum(each) / len(each) for each in articles.values()) / len(articles) for key, articles in said.items()
    }
    found = {(row["entity"], row["mention_type"]): row["mean_entity_score"] for row in daily.to_pylist()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_second_run_gives_the_same_tables(
    every_head: Path,
    scored_night: Night,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    tmp_path: Path,
) -> None:
    assert _night(tmp_path, every_head, stage_articles, news(9)) == scored_night


def test_columns_of_heads_that_a_model_lacks_are_null(
    tiny_bundle: Path, stage_articles: Callable[..., None], news: Callable[[int], Rows], tmp_path: Path
) -> None:
    night = _night(tmp_path, tiny_bundle, stage_articles, news(5))
    articles, mentions, daily = (night[name] for name in TABLES)
    assert min(articles.num_rows, mentions.num_rows, daily.num_rows) > 0
    for table, names in ((articles, ("topics", "summary")), (mentions, OF_ENTITY), (daily, ("mean_entity_score",))):
        assert {name: table[name].null_count for name in names} == dict.fromkeys(names, table.num_rows)
    assert all(one[name] is None for row in articles["entities"].to_pylist() for one in row for name in OF_ENTITY)


def test_a_file_of_ones_own_is_answered_by_every_head(
    every_head: Path, news: Callable[[int], Rows], tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": key, "title": title, "body": body}) for key, title, body in news(5)]
    source.write_text("\n".join(lines), encoding="utf-8")
    settings = load_settings(None)
    said = score_file(source, tmp_path / "out", str(every_head), settings)
    articles = pq.read_table(tmp_path / "out" / "scored_articles.parquet")
    mentions = pq.read_table(tmp_path / "out" / "entity_mentions.parquet")
    assert (said.scored, said.failed, articles.num_rows) == (5, 0, 5)
    assert articles["topics"].null_count == 0
    assert [summary is None for summary in articles["summary"].to_pylist()] == [b is None for _, _, b in news(5)]
    assert mentions.num_rows > 0
    for name in OF_ENTITY:
        assert mentions[name].null_count == 0


@pytest.mark.parametrize("task", ["sentiment", "ner", "entity_sentiment"])
def test_two_models_are_compared_on_the_last_nights(
    task: str,
    every_head: Path,
    tiny_trunk: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    tmp_path: Path,
) -> None:
    from models.training import Recipe, TaskData, fit

    lake = Lake.open(str(tmp_path / "lake"))
    stage_articles(tmp_path / "lake", news(9))
    lake.commit({"articles": lake.stage(NIGHT).read("articles")}, night=NIGHT, run_id="r1")

    def compared(candidate: Path) -> Shadow:
        found = shadow.fn(
            str(tmp_path / "lake"),
            task=task,
            champion=str(every_head),
            candidate=str(candidate),
            nights=2,
            max_articles=100,
            scratch=str(tmp_path / "narrow"),
        )
        assert found is not None
        assert (found.task, found.nights, found.articles) == (task, 1, 9)
        return found

    same = compared(every_head)
    assert (same.flipped, same.shift, same.flips) == (0.0, 0.0, ())
    assert sum(same.champion_shares.values()) == pytest.approx(1.0)
    if task != "ner":
        assert set(same.champion_shares) <= set(SENTIMENT)
        assert same.champion_confidence >= 1 / 3
    untaught = EntitySentimentExample(text="the river is long", entities=(EntitySpan(start=4, end=9, label="neutral"),))
    examples = {
        "sentiment": [SentimentExample(text="the river is long", label="neutral")],
        "ner": [NerExample(tokens=("the", "river"), tags=("O", "O"))],
        "entity_sentiment": [untaught],
    }
    other = fit(
        trunk=str(tiny_trunk),
        data={task: TaskData(examples[task], examples[task])},  # type: ignore[arg-type]
        recipe=Recipe(epochs=1, precision="float32", max_length=64, overlap=16, learning_rate=1e-6),
        output=tmp_path / "other",
    )
    found = compared(other)
    assert 0.0 < found.flipped <= 1.0
    assert found.flips


def test_topics_and_summaries_are_not_compared(every_head: Path, tmp_path: Path) -> None:
    for task in ("topics", "summary"):
        assert (
            shadow.fn(
                str(tmp_path),
                task=task,
                champion=str(every_head),
                candidate=str(every_head),
                nights=1,
                max_articles=9,
                scratch=str(tmp_path),
            )
            is None
        )
