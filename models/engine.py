"""The Predictor: a table of articles in, three tables out, and no row lost on the way.

The text of an article is its title, a line break, its body; a missing title or body is read as empty. Every text with one token at least is
scored, emoji alone or a word of two million letters (one unknown token) included; a lone surrogate is read as U+FFFD. A text without
any token goes to the failures with that reason, and so does a row that a batch breaks on, once bisecting has found it.

Does not cover: reduced precision and other runtimes; scores are float32 and do not depend on batch size, order or neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from models.bundle import Bundle


@dataclass(frozen=True)
class Prediction:
    """What was found. articles: id, sentiment, p_negative, p_neutral, p_positive (float32), tokens_scored, tokens_total, windows (int32).

    mentions: id, start, end (int32, characters of the text, end exclusive), text, type, score (float32). failures: id, error.
    Every id given stands either in articles or in failures, each in the order given.
    """

    articles: pa.Table
    mentions: pa.Table
    failures: pa.Table


class Predictor:
    """Scores tables with one bundle, or with several that serve different tasks."""

    def __init__(
        self,
        bundles: Sequence[Path | str | Bundle],
        *,
        token_budget: int = 2048,
        threads: int | None = None,
        max_windows: int | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """The bundle's digest; of several, the sha256 of their sorted digests."""
        raise NotImplementedError

    def predict(self, table: pa.Table) -> Prediction:
        """Score a table with the columns id, title and body."""
        raise NotImplementedError
