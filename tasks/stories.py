"""Which articles tell the same story: near-duplicates are annotated, never dropped.

Syndicated news arrives many times, with other boilerplate, cut short, lightly edited. Counting each copy as news of
its own makes one wire story look like a surge. `annotate` gives every article of a night the `story_id` (the
`article_id` of the earliest article of its story), its `novelty_rank` (1 = the first of its story, counted through
the earlier nights given) and `is_canonical` (rank 1).

How: word 5-shingles of title and body. MinHash signatures in 32 bands of 4 rows find candidate pairs (Broder 1997,
"On the resemblance and containment of documents"; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter
3); 16 bands of 2 rows over the first 48 shingles find the copy cut down to its opening. Each pair is then verified
exactly:

- containment = |A and B| / min(|A|, |B|) over distinct shingles; at least 0.6 is asked. Jaccard misses a copy cut to
  half.
- veto: a number or capitalised name of one article is foreign when it is no word of the other. The two are different
  stories when, on both sides, the share of foreign ones (counted by occurrence) exceeds `max_foreign_share` or a
  leading name (said at least twice, and at least half as often as the most frequent one) is foreign: one template
  filled in for two companies. A cut or padded copy has foreign names on one side only and passes.

An article looks at the articles before it only (earlier nights first, then by first_seen_at, published_at,
article_id, version) and joins the story of the earliest one it matches, so later arrivals never change what was
published. A new version of an article stays in its story. Texts with fewer than `min_shingles` shingles (headlines)
match only when their normalised words are equal: headlines that differ by one word often say opposite things.

Not covered: translations, rewritten stories, scripts without spaces between words (those match only when equal).
Within one band bucket an article looks back at no more than `max_look_back` others. Candidates depend on Polars'
string hash, which is fixed for one Polars version.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.shingles import ShingleConfig, candidates, pairs, shingle

KEY_WORD = re.compile(r"\d+|[^\W\d_]\w*")
DIGIT_GROUPS = re.compile(r"(?<=\d),(?=\d{3})")
ORDER = ("night_order", "run_date", "first_seen_at", "published_at", "article_id", "version")


@dataclass(frozen=True, kw_only=True)
class StoryConfig:
    """How alike two articles must be to tell one story.

    Attributes:
        min_containment: least share of the shorter article's shingles found in the other, in [0, 1].
        max_foreign_share: share of foreign numbers and names, in [0, 1], above which on both sides a pair is vetoed.
        min_shingles: articles with fewer distinct shingles match by equal words only.
        shingles: how candidate pairs are found.
    """

    min_containment: float = 0.6
    max_foreign_share: float = 0.1
    min_shingles: int = 8
    shingles: ShingleConfig = field(default_factory=ShingleConfig)


@dataclass(frozen=True)
class _KeyWords:
    """What the veto looks at, case folded: names are capitalised words that the text never shows in lower case."""

    names: Counter[str]
    numbers: Counter[str]
    words: frozenset[str]


def annotate(articles: pa.Table, earlier: pa.Table, config: StoryConfig | None = None) -> pa.Table:
    """The same rows in the same order, with story_id, novelty_rank and is_canonical filled in.

    Args:
        articles: one night's articles (contract `articles`); what stands in the three columns is replaced.
        earlier: annotated articles of earlier nights, the past that the night is compared with; may be empty.
        config: thresholds; None means `StoryConfig()`.
    """
    config = config or StoryConfig()
    if articles.num_rows == 0:
        return articles
    ordered = _in_order(articles, earlier)
    first = earlier.num_rows
    matches = _matches(ordered, first, config)
    ids = ordered["article_id"].to_list()
    known = ordered["story_id"].to_list()
    stories = [(known[index] if index < first else None) or ids[index] for index in range(len(ids))]
    ranks = ordered["novelty_rank"].fill_null(1).to_list()
    latest: dict[str, int] = {}
    for index in range(len(ids)):
        if index >= first:
            stories[index] = stories[matches.get(index, index)]
            ranks[index] = latest.get(stories[index], 0) + 1
        latest[stories[index]] = max(latest.get(stories[index], 0), ranks[index])
    filled = pl.DataFrame({"row": ordered["row"], "story_id": stories, "novelty_rank": ranks})[first:].sort("row")
    return _replaced(articles, filled)


def _in_order(articles: pa.Table, earlier: pa.Table) -> pl.DataFrame:
    """Earlier articles, then tonight's, as they became known; `row` is the place in their own table."""
    parts = []
    for night_order, table in enumerate((earlier, articles)):
        frame = pl.DataFrame(pl.from_arrow(table.select([*ORDER[1:], "title", "body", "story_id", "novelty_rank"])))
        parts.append(frame.with_row_index("row").with_columns(night_order=pl.lit(night_order)))
    ordered = pl.concat(parts, how="vertical_relaxed").sort(ORDER)
    return ordered.with_columns(text=pl.concat_str("title", pl.col("body").fill_null(""), separator="\n"))


def _replaced(articles: pa.Table, filled: pl.DataFrame) -> pa.Table:
    columns = {
        "story_id": filled["story_id"].to_list(),
        "novelty_rank": filled["novelty_rank"].to_list(),
        "is_canonical": (filled["novelty_rank"] == 1).to_list(),
    }
    for name, values in columns.items():
        place = articles.schema.get_field_index(name)
        kind = articles.schema.field(place)
        articles = articles.set_column(place, kind, pa.array(values, type=kind.type))
    return articles


def _matches(ordered: pl.DataFrame, first: int, config: StoryConfig) -> dict[int, int]:
    """For each of tonight's articles (index >= first) that has one, the earliest article that tells the same story."""
    shingled = shingle(ordered["text"], config.shingles)
    sizes = np.diff(shingled.offsets)
    found: dict[int, int] = {}
    texts = ordered["text"]
    keys: dict[int, _KeyWords] = {}
    long = np.flatnonzero(sizes >= config.min_shingles)
    for later, sooner in candidates(
        shingled, long, first, config.shingles
    ):  # ascending: the first that passes is the earliest
        if later in found:
            continue
        shared = np.intersect1d(shingled.of(later), shingled.of(sooner), assume_unique=True).size
        if shared < config.min_containment * min(sizes[later], sizes[sooner]):
            continue
        for index in (later, sooner):
            if index not in keys:
                keys[index] = _key_words(texts[index])
        one, other = keys[later], keys[sooner]
        if not (_foreign(one, other, config.max_foreign_share) and _foreign(other, one, config.max_foreign_share)):
            found[later] = sooner
    same_words = pl.DataFrame({"text": range(len(ordered)), "bucket": shingled.whole})
    for later, sooner in pairs(same_words, first, 1):
        found[later] = min(found.get(later, sooner), sooner)
    same_article = pl.DataFrame({"text": range(len(ordered)), "bucket": ordered["article_id"]})
    return found | dict(pairs(same_article, first, 1))


def _key_words(text: str) -> _KeyWords:
    words = KEY_WORD.findall(DIGIT_GROUPS.sub("", text))
    lower = {word for word in words if word[0].islower()}
    names = Counter(word.casefold() for word in words if word[0].isupper() and word.casefold() not in lower)
    numbers = Counter(word for word in words if word[0].isdigit())
    return _KeyWords(names, numbers, frozenset(word.casefold() for word in words))


def _foreign(one: _KeyWords, other: _KeyWords, max_foreign_share: float) -> bool:
    """True when too many numbers and names of `one`, or one of its leading names, are no words of `other`."""
    counted = one.names + one.numbers
    foreign = sum(count for word, count in counted.items() if word not in other.words)
    top = max(one.names.values(), default=0)
    leading = {word for word, count in one.names.items() if count >= max(2, top / 2)}
    return foreign > max_foreign_share * counted.total() or not leading <= other.words
