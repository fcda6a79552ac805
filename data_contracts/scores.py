"""A scored article: its sentiment with calibrated probabilities, its entities nested inside, and how much of it the model read."""

from datetime import date
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime

from data_contracts.labels import ENTITY_TYPES, SENTIMENT
from data_contracts.schema import (
    BOOL,
    DATE,
    FLOAT32,
    INT32,
    STRING,
    UTC_TIME,
    Column,
    Contract,
    Derived,
    Order,
    Row,
    struct_list,
)

PROBABILITY_TOLERANCE = 1e-3


class ScoredEntity(Row):
    """One mention inside an article; offsets are characters of title + newline + body, end exclusive."""

    mention_text: Annotated[str, Column(STRING, "The words themselves.", length=(1, None))]
    mention_type: Annotated[str, Column(STRING, "What is named.", one_of=ENTITY_TYPES)]
    ner_score: Annotated[float, Column(FLOAT32, "Calibrated probability of the mention, 0 to 1.", between=(0.0, 1.0))]
    mention_start: Annotated[int, Column(INT32, "First character.", between=(0, None))]
    mention_end: Annotated[int, Column(INT32, "One past the last character.", between=(1, None))]
    entity_sentiment: Annotated[
        str | None,
        Column(STRING, "What is said of it in particular; null where no model was asked.", one_of=SENTIMENT),
    ] = None
    entity_sentiment_score: Annotated[
        float | None,
        Column(FLOAT32, "Of it in particular: p_positive - p_negative, -1 to 1.", between=(-1.0, 1.0)),
    ] = None
    relevance: Annotated[
        float | None,
        Column(FLOAT32, "Weight of the sentences that mention it over that of all, 0 to 1.", between=(0.0, 1.0)),
    ] = None


class ScoredArticle(Row):
    """One scored version of one article."""

    article_id: Annotated[str, Column(STRING, "The article's id.", length=(1, 64))]
    version: Annotated[
        int, Column(INT32, "The article's version; across nights, join by run_date too.", between=(1, None))
    ]
    run_date: Annotated[date, Column(DATE, "The night the article belongs to.")]
    source: Annotated[str, Column(STRING, "The source's name in the settings.", length=(1, 200))]
    url: Annotated[str | None, Column(STRING, "The article's address.")] = None
    title: Annotated[str, Column(STRING, "The headline, normalised.", length=(1, None))]
    published_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was published, UTC.")]
    first_seen_at: Annotated[AwareDatetime, Column(UTC_TIME, "When this system first saw it, UTC.")]
    scored_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was scored, UTC.")]
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the scored row could first be read, UTC.")]
    sentiment: Annotated[str, Column(STRING, "The most probable label.", one_of=SENTIMENT)]
    p_negative: Annotated[float, Column(FLOAT32, "Calibrated probability, 0 to 1.", between=(0.0, 1.0))]
    p_neutral: Annotated[float, Column(FLOAT32, "Calibrated probability, 0 to 1.", between=(0.0, 1.0))]
    p_positive: Annotated[float, Column(FLOAT32, "Calibrated probability, 0 to 1.", between=(0.0, 1.0))]
    sentiment_score: Annotated[float, Column(FLOAT32, "p_positive - p_negative, -1 to 1.", between=(-1.0, 1.0))]
    tokens_scored: Annotated[int, Column(INT32, "Tokens the model read.", between=(0, None))]
    tokens_total: Annotated[int, Column(INT32, "Tokens the article has.", between=(0, None))]
    windows: Annotated[
        int, Column(INT32, "Windows the article was read in, one a sentence at least.", between=(0, None))
    ]
    entities: Annotated[
        list[ScoredEntity],
        Column(struct_list(ScoredEntity), "The mentions in order of appearance.", nested=ScoredEntity),
    ]
    topics: Annotated[
        list[str] | None,
        Column(pa.list_(STRING), "Topics with a probability of at least 0.5; null where no model was asked."),
    ] = None
    summary: Annotated[
        str | None,
        Column(STRING, "The sentences of the body that carry it, a line each; null without a body or a model."),
    ] = None
    model_digest: Annotated[str, Column(STRING, "Digest of the model that scored it.", length=(1, None))]
    abstained: Annotated[
        bool | None,
        Column(
            BOOL, "Its label's probability is below min_confidence, so no count of a label has it; null before 0.2."
        ),
    ] = None


def _probability_sum(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    negative, neutral, positive = (table.column(f"p_{label}").cast(pa.float64()) for label in SENTIMENT)
    return pc.add(pc.add(negative, neutral), positive)


def _score_error(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    positive, negative, score = (
        table.column(n).cast(pa.float64()) for n in ("p_positive", "p_negative", "sentiment_score")
    )
    return pc.abs(pc.subtract(score, pc.subtract(positive, negative)))


ENTITIES = Contract(
    name="scored_articles.entities",
    row=ScoredEntity,
    says="The mentions nested in scored_articles, one row each.",
    orders=(Order(low="mention_start", high="mention_end", strict=True),),
)

CONTRACT = Contract(
    name="scored_articles",
    row=ScoredArticle,
    says="One row a scored version of an article, entities nested inside.",
    key=("article_id", "version"),
    orders=(
        Order(low="tokens_scored", high="tokens_total"),
        Order(low="first_seen_at", high="scored_at"),
        Order(low="scored_at", high="available_at"),
    ),
    derived=(
        Derived(
            column="p_negative",
            rule="sums_to_one",
            name="probability_sum",
            says="p_negative + p_neutral + p_positive = 1 within 0.001",
            between=(1 - PROBABILITY_TOLERANCE, 1 + PROBABILITY_TOLERANCE),
            compute=_probability_sum,
        ),
        Derived(
            column="sentiment_score",
            rule="is_difference",
            name="sentiment_score_error",
            says="p_positive - p_negative within 0.001",
            between=(None, PROBABILITY_TOLERANCE),
            compute=_score_error,
        ),
    ),
    nested_contracts={"entities": ENTITIES},
)
