"""One row a mention of an entity, with the sentiment of the article it stands in. Sorted by entity, then time, for quick look-ups."""

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime

from data_contracts.labels import ENTITY_TYPES, SENTIMENT
from data_contracts.schema import BOOL, DATE, FLOAT32, INT32, STRING, UTC_TIME, Column, Contract, Order, Row


class EntityMention(Row):
    """One mention; offsets are characters of title + newline + body, end exclusive."""

    article_id: Annotated[str, Column(STRING, "The article's id.", length=(1, 64))]
    version: Annotated[
        int, Column(INT32, "The article's version; across nights, join by run_date too.", between=(1, None))
    ]
    run_date: Annotated[date, Column(DATE, "The night the article belongs to.")]
    entity: Annotated[str, Column(STRING, "The normalised key of the entity.", length=(1, None))]
    mention_text: Annotated[str, Column(STRING, "The words themselves.", length=(1, None))]
    mention_type: Annotated[str, Column(STRING, "What is named.", one_of=ENTITY_TYPES)]
    mention_start: Annotated[int, Column(INT32, "First character.", between=(0, None))]
    mention_end: Annotated[int, Column(INT32, "One past the last character.", between=(1, None))]
    ner_score: Annotated[float, Column(FLOAT32, "Calibrated probability of the mention, 0 to 1.", between=(0.0, 1.0))]
    sentiment: Annotated[str, Column(STRING, "The article's label.", one_of=SENTIMENT)]
    sentiment_score: Annotated[
        float, Column(FLOAT32, "The article's p_positive - p_negative, -1 to 1.", between=(-1.0, 1.0))
    ]
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
    published_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the article was published, UTC.")]
    first_seen_at: Annotated[AwareDatetime, Column(UTC_TIME, "When this system first saw it, UTC.")]
    scored_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was scored, UTC.")]
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the row could first be read, UTC.")]
    source: Annotated[str, Column(STRING, "The source's name in the settings.", length=(1, 200))]
    model_digest: Annotated[str, Column(STRING, "Digest of the model that scored it.", length=(1, None))]
    abstained: Annotated[bool | None, Column(BOOL, "The article's, see scored_articles; null before 0.2.")] = None


CONTRACT = Contract(
    name="entity_mentions",
    row=EntityMention,
    says="One row a mention of an entity in a scored article.",
    key=("article_id", "version", "mention_start", "mention_end", "mention_type"),
    orders=(
        Order(low="mention_start", high="mention_end", strict=True),
        Order(low="first_seen_at", high="scored_at"),
        Order(low="scored_at", high="available_at"),
    ),
)
