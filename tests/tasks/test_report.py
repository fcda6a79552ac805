"""The page shows what is published, escapes what feeds say, and stands alone."""

import datetime as dt
import re
from pathlib import Path

import pytest

from data_contracts.alerts import Alert
from data_contracts.article import Article
from data_contracts.catalog import contract
from data_contracts.daily import DailyEntitySentiment
from data_contracts.quarantine import QuarantineRow
from data_contracts.scores import ScoredArticle
from models.bundle import load
from tasks.lake import Lake
from tasks.registry import Registry
from tasks.report import report, summary_markdown
from tasks.report.night import gather

NOW = dt.datetime(2026, 3, 3, 3, 30, tzinfo=dt.UTC)
NIGHT = dt.date(2026, 3, 2)
EVIL = '<script>alert("x")</script> | Quillon & Sons'


def scored(key: str, sentiment: str, score: float) -> ScoredArticle:
    return ScoredArticle(
        article_id=key,
        version=1,
        run_date=NIGHT,
        source="wire",
        url="javascript:alert(1)" if key == "a" else "https://example.org/a",
        title=EVIL if key == "a" else f"title {key}",
        published_at=NOW - dt.timedelta(hours=6),
        first_seen_at=NOW,
        scored_at=NOW,
        available_at=NOW,
        sentiment=sentiment,
        p_negative=0.9 if score < 0 else 0.05,
        p_neutral=0.05,
        p_positive=0.05 if score < 0 else 0.9,
        sentiment_score=score,
        tokens_scored=10,
        tokens_total=10,
        windows=1,
        entities=[],
        model_digest="d" * 64,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"))
    rows = {
        "scored_articles": [scored("a", "negative", -0.85), scored("b", "positive", 0.85)],
        "daily_entity_sentiment": [
            DailyEntitySentiment(
                run_date=NIGHT, entity="quillon", display_name=EVIL, mention_type="ORG", articles=2, mentions=3, negative=1,
                neutral=0, positive=1, mean_score=0.0, negative_share=0.5, available_at=NOW, model_digest="d" * 64,
            )
        ],
        "quarantine": [
            QuarantineRow(
                quarantine_id="q", run_date=NIGHT, stage="raw", source="wire", row_id="r", reason="published_at.not_null",
                detail="published_at: given 'soon'; allowed: a time", row=EVIL, quarantined_at=NOW,
            )
        ],
        "alerts": [
            Alert(
                alert_key="k", run_date=NIGHT, monitor="negative_surge", subject="quillon", severity="critical",
                message=f"5 negative stories about {EVIL}", value=5.0, baseline=0.0, threshold=3.0, article_ids=["a", "gone"],
                created_at=NOW, available_at=NOW, model_digest="d" * 64,
            )
        ],
        "source_counts": [], "articles": [], "entity_mentions": [], "raw": [],
    }  # fmt: skip
    lake.commit({name: contract(name).table(r) for name, r in rows.items()}, night=NIGHT, run_id="test")
    return lake


def test_what_a_feed_says_cannot_become_markup_or_a_script_link(lake: Lake) -> None:
    page = Path(report.fn(lake.root, night=NIGHT, now=NOW)).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "javascript:" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in re.sub(r"https://example\.org/a|http://www\.w3\.org/[\w/]+", "", page)


def test_the_page_shows_counts_alerts_and_reasons(lake: Lake) -> None:
    page = Path(report.fn(lake.root, night=NIGHT, now=NOW)).read_text(encoding="utf-8")
    for text in ("published_at.not_null", "negative_surge", "critical", "given &#39;soon&#39;", "<svg"):
        assert text in page


def test_the_summary_keeps_its_table_whole(lake: Lake) -> None:
    text = summary_markdown(lake.root, night=NIGHT)
    rows = [line for line in text.splitlines() if line.startswith("|") and "Quillon" in line]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)


def test_a_night_without_anything_has_a_page(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "empty"))
    names = (
        "scored_articles",
        "daily_entity_sentiment",
        "quarantine",
        "alerts",
        "source_counts",
        "articles",
        "entity_mentions",
        "raw",
    )
    lake.commit({name: contract(name).empty() for name in names}, night=NIGHT, run_id="test")
    page = Path(report.fn(lake.root, night=NIGHT, now=NOW)).read_text(encoding="utf-8")
    assert "No article was scored" in page
    assert gather(lake, NIGHT).rows_read == 0


def test_a_lead_article_has_the_words_that_drove_its_score_while_the_model_is_there(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    digest = load(tiny_bundle).digest
    lake = Lake.open(str(tmp_path / "lake"))
    article = Article(
        article_id="a", version=1, content_hash="c" * 32, run_date=NIGHT, source="wire", title="the company said",
        body="Acme losses and fraud <b> today. The office in rome.", repeats=0, published_at=NOW, first_seen_at=NOW, available_at=NOW, row_id="r",
    )  # fmt: skip
    alert = Alert(
        alert_key="k", run_date=NIGHT, monitor="negative_surge", subject="acme", severity="warning", message="m", value=5.0, baseline=0.0,
        threshold=3.0, article_ids=["a"], created_at=NOW, available_at=NOW, model_digest=digest,
    )  # fmt: skip
    score = scored("a", "negative", -0.85).model_copy(update={"model_digest": digest, "abstained": True})
    rows = {"scored_articles": [score], "alerts": [alert], "articles": [article]}
    names = ("daily_entity_sentiment", "quarantine", "source_counts", "entity_mentions", "raw")
    tables = {name: contract(name).table(some) for name, some in rows.items()}
    lake.commit(tables | {name: contract(name).empty() for name in names}, night=NIGHT, run_id="test")
    place = {"tracking_uri": f"sqlite:///{tmp_path / 'm.db'}", "artifact_root": str(tmp_path / "bundles")}

    gone = Path(report.fn(lake.root, night=NIGHT, now=NOW, **place)).read_text(encoding="utf-8")
    assert f"not shown: the model {digest[:16]} that scored it is not in the registry" in gone
    Registry(place["tracking_uri"], place["artifact_root"]).register("sentiment", tiny_bundle, {}, {})
    page = Path(report.fn(lake.root, night=NIGHT, now=NOW, **place)).read_text(encoding="utf-8")
    assert "rgba(208,140,63" in page
    assert "not shown" not in page
    assert "1 articles have a label less probable" in page
    assert "unsure" in page
