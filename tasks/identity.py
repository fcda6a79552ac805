"""Which raw rows are which article: ids, versions, and exact repeats, dropped and counted.

An article's id comes from its canonical address (`tasks.address`), so that changed text is a new version of it. Without
an address it comes from the folded title and body; a headline without body or address is told by source, title and
UTC day, because columns such as "Stocks to watch" carry the same title every day.

An exact repeat has the same title and body as a row before it, tonight or on an earlier night, under whatever id: a text
that two sources carry word for word is one article. A headline without body is too weak for that. It is a repeat under the same id
on any night, and of the same source's same headline on the same UTC day under another address, when both come in one
night; the same headline at two sources is two articles. Repeats are dropped and counted: in `repeats` of the article kept tonight, and by source.

The order of rows is that of `first_seen_at`, `published_at`, `source`, `position`, `row_id`, after the rows that a former
run of the night has published: those keep version and `available_at`, also where a corrected setting gave their row another id or time,
as long as the text is the same; a text that it changed is the next version. Every row becomes an article or a repeat of one.

Not covered: near-duplicates (`tasks.stories`), and a text that goes back to an older version of itself: that is a repeat.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa

from data_contracts.catalog import contract
from tasks.address import canonical

ID_CHARACTERS = 32
SPACE = re.compile(r"\s+")
ORDER = ("first_seen_at", "published_at", "source", "position", "row_id")
NEEDED = ("row_id", "source", "position", "url", "title", "body", "published_at", "first_seen_at")
KNOWN = ("article_id", "version", "content_hash")


@dataclass(frozen=True, kw_only=True)
class Identified:
    """The night's articles, in the contract's schema, and how many rows of each source were exact repeats."""

    articles: pa.Table
    repeats_by_source: Mapping[str, int]


def content_hash(title: str | None, body: str | None) -> str:
    """SHA-256 of the normalised text, title and body as they are, in hexadecimal."""
    return hashlib.sha256(f"{title or ''}\n{body or ''}".encode()).hexdigest()


def article_id(
    *, url: str | None, title: str | None, body: str | None, source: str, published_at: datetime | None
) -> str:
    """32 hexadecimal characters that stay the same for an article, see the module's text."""
    if (address := canonical(url)) is not None:
        parts = ["address", address]
    elif _blank(body):
        parts = ["headline", source, str(published_at.date() if published_at else None), _folded(title)]
    else:
        parts = ["content", _folded(title), _folded(body)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:ID_CHARACTERS]


def identify(
    raw: pa.Table, *, night: date, earlier: pa.Table, existing: pa.Table, available_at: datetime
) -> Identified:
    """Turn the night's raw rows that passed their contract into articles.

    Args:
        raw: all of them, those of a former run of this night included.
        night: the processing night.
        earlier: at least article_id, version, content_hash of the articles of strictly earlier nights.
        existing: the articles already published for this night.
        available_at: UTC, for the articles that are new.
    """
    rows = _ordered(_told(raw), existing)
    rows = _with_kept(rows, _frame(earlier, KNOWN))
    repeats = rows.filter(pl.col("kept").is_not_null()).group_by("kept").agg((pl.len() - 1).alias("repeats"))
    dropped = rows.filter(pl.col("kept").is_null() | (pl.col("kept") != pl.col("place")))
    kept = _with_versions(
        rows.filter(pl.col("kept") == pl.col("place")), pl.concat([_frame(earlier, KNOWN), _frame(existing, KNOWN)])
    )
    articles = kept.join(repeats, on="kept", how="left").with_columns(
        run_date=pl.lit(night),
        available_at=pl.col("available_at").fill_null(pl.lit(available_at)),
        story_id=pl.lit(None, pl.String),
        novelty_rank=pl.lit(None, pl.Int32),
        is_canonical=pl.lit(None, pl.Boolean),
    )
    wanted = contract("articles")
    table = articles.sort("published_at", "article_id", "version").select(wanted.schema.names)
    by_source = dict.fromkeys(sorted(set(rows["source"].to_list())), 0)
    by_source |= dict(dropped.group_by("source").len().iter_rows())
    return Identified(articles=wanted.conform(table), repeats_by_source=by_source)


def _frame(table: pa.Table, columns: tuple[str, ...]) -> pl.DataFrame:
    """Those columns as a Polars frame."""
    frame = pl.from_arrow(table.select(list(columns)))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _told(raw: pa.Table) -> pl.DataFrame:
    """The rows with their id, content hash, and whether they are a headline alone."""
    frame = _frame(raw, NEEDED)
    texts = frame.select("url", "title", "body", "source", "published_at").iter_rows(named=True)
    told = [(article_id(**row), content_hash(row["title"], row["body"]), _blank(row["body"])) for row in texts]
    columns = {"article_id": pl.String, "content_hash": pl.String, "headline": pl.Boolean}
    return pl.concat([frame, pl.DataFrame(told, schema=columns, orient="row")], how="horizontal")


def _ordered(rows: pl.DataFrame, existing: pa.Table) -> pl.DataFrame:
    """The rows in their one order, published ones first, with the version and time those have; `place` counts from 0."""
    published = _frame(existing, ("row_id", "article_id", "content_hash", "version", "available_at"))
    text = ["article_id", "content_hash"]
    gone = published.join(rows, on="row_id", how="anti").drop("row_id")
    heirs = rows.join(gone, on=text).sort(ORDER, nulls_last=True).unique(text, keep="first", maintain_order=True)
    published = pl.concat([published, heirs.select(published.columns)])
    joined = rows.join(published, on=["row_id", *text], how="left")
    return joined.sort(pl.col("version").is_null(), *ORDER, nulls_last=True).with_row_index("place")


def _with_kept(rows: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """Add `kept`: the place of the row that stands for this one, its own when it is kept, null when an earlier night has it."""
    headline, new = pl.col("headline"), pl.col("version").is_null()
    texts, pairs = earlier["content_hash"], earlier.select(pl.struct("article_id", "content_hash")).to_series()
    before = (
        pl.when(headline)
        .then(pl.struct("article_id", "content_hash").is_in(pairs.implode()))
        .otherwise(pl.col("content_hash").is_in(texts.implode()))
    )
    same = ["content_hash", pl.when(headline).then("article_id")]
    rows = rows.with_columns(first=pl.col("place").min().over(same), before=before)
    same_day = [
        "content_hash",
        pl.when(headline).then("source").otherwise(pl.col("place").cast(pl.String)),
        pl.when(headline).then(pl.col("published_at").dt.date()),
    ]
    firsts = rows.filter(pl.col("place") == pl.col("first")).with_columns(
        leader=pl.col("place").min().over(same_day),
        published=(~new).any().over(same_day),
        gone=pl.col("before").any().over(same_day),
    )
    kept = pl.when(pl.col("published") | ~pl.col("gone")).then("leader")
    return rows.join(firsts.select("first", kept=kept), on="first", how="left").sort("place")


def _with_versions(kept: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """New articles get the version after the highest that their id has, in their order; published ones keep theirs."""
    reached = earlier.group_by("article_id").agg(pl.col("version").max().alias("reached"))
    highest = pl.max_horizontal(pl.col("reached"), pl.col("version").max().over("article_id")).fill_null(0)
    new = pl.col("version").is_null()
    return (
        kept.join(reached, on="article_id", how="left")
        .sort("place")
        .with_columns(version=pl.coalesce("version", highest + new.cast(pl.Int32).cum_sum().over("article_id")))
    )


def _blank(body: str | None) -> bool:
    """True when there is no text beside the title."""
    return body is None or not body.strip()


def _folded(text: str | None) -> str:
    """Without differences of case, width and white space."""
    return SPACE.sub(" ", unicodedata.normalize("NFKC", text or "").casefold()).strip()
