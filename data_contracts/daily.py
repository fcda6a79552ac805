"""One row an entity and night: how many articles named it and how they sounded. Small, for charts and back-tests."""

from datetime import date
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime

from data_contracts.labels import ENTITY_TYPES, SENTIMENT
from data_contracts.schema import DATE, FLOAT32, INT32, STRING, UTC_TIME, Column, Contract, Derived, Order, Row


class DailyEntitySentiment(Row):
    """One entity on one night."""

    run_date: Annotated[date, Column(DATE, "The night.")]
    entity: Annotated[str, Column(STRING, "The normalised key of the entity.", length=(1, None))]
    display_name: Annotated[str, Column(STRING, "Its most frequent mention text.", length=(1, None))]
    mention_type: Annotated[str, Column(STRING, "What is named.", one_of=ENTITY_TYPES)]
    articles: Annotated[int, Column(INT32, "Distinct articles that name it.", between=(1, None))]
    mentions: Annotated[int, Column(INT32, "Mentions in those articles.", between=(1, None))]
    negative: Annotated[int, Column(INT32, "Of those articles, the negative ones.", between=(0, None))]
    neutral: Annotated[int, Column(INT32, "Of those articles, the neutral ones.", between=(0, None))]
    positive: Annotated[int, Column(INT32, "Of those articles, the positive ones.", between=(0, None))]
    mean_score: Annotated[float, Column(FLOAT32, "Mean sentiment_score of the articles, -1 to 1.", between=(-1.0, 1.0))]
    negative_share: Annotated[float, Column(FLOAT32, "negative / articles, 0 to 1.", between=(0.0, 1.0))]
    mean_entity_score: Annotated[
        float | None,
        Column(
            FLOAT32,
            "Mean of the articles' entity_sentiment_score of it, -1 to 1; null where none has one.",
            between=(-1.0, 1.0),
        ),
    ] = None
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the row could first be read, UTC.")]
    model_digest: Annotated[str, Column(STRING, "Digest of the model that scored them.", length=(1, None))]
    abstained: Annotated[
        int | None,
        Column(
            INT32, "Of those articles, the ones whose label is too unsure to count; null before 0.2.", between=(0, None)
        ),
    ] = None


def _unlabelled(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    left = table.column("articles").cast(pa.int64())
    for counted in (*SENTIMENT, "abstained"):
        left = pc.subtract(left, pc.fill_null(table.column(counted).cast(pa.int64()), 0))
    return left


CONTRACT = Contract(
    name="daily_entity_sentiment",
    row=DailyEntitySentiment,
    says="One row an entity and night, summed over that night's articles.",
    key=("run_date", "entity", "mention_type"),
    orders=(Order(low="articles", high="mentions"),),
    derived=(
        Derived(
            column="articles",
            rule="sums_labels",
            name="articles_without_label",
            says="the sum of negative, neutral, positive and abstained",
            between=(0, 0),
            compute=_unlabelled,
        ),
    ),
)
