"""Tables to score, and what is read off the tables that come out."""

from typing import Any

import pyarrow as pa

from models.engine import Prediction

TEXTS = [
    "profit rises sharply",
    "shares of Acme falls",
    "Oslo and Acme",
    "the bank said on monday " * 20,
    "loss",
    "U.S. shares falls",
    "shares of Acme falls",
]


def table_of(
    titles: list[str | None], bodies: list[str | None] | None = None, ids: list[Any] | None = None
) -> pa.Table:
    """One with the columns that are scored; ids are a0, a1 and so on if not given."""
    return pa.table(
        {
            "id": ids or [f"a{number}" for number in range(len(titles))],
            "title": pa.array(titles, pa.string()),
            "body": pa.array(bodies or [None] * len(titles), pa.string()),
        }
    )


def ids_of(prediction: Prediction) -> list[Any]:
    """The ids of its articles."""
    ids: list[Any] = prediction.articles.column("id").to_pylist()
    return ids


def rows_of(prediction: Prediction) -> dict[str, list[float]]:
    """The probabilities of each article's sentiment, by id."""
    columns = ("p_negative", "p_neutral", "p_positive")
    return {row["id"]: [row[name] for name in columns] for row in prediction.articles.to_pylist()}
