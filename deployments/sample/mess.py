"""What happens to stories on their way: repeats, rewritten copies, new versions, odd characters, and rows that are simply broken.

Every row knows what was done to it, so that the counts in truth.json are counts of what is in the files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import grammar

PARAGRAPH = "\n\n"
TRACKING = (
    "utm_source=rss&utm_medium=feed",
    "fbclid=IwAR0x9k2",
    "utm_campaign=evening&utm_term=markets",
    "gclid=Cj0KCQ",
    "mc_cid=3f2a&mc_eid=77b1",
)
# (kind of bad row, its source on the first night, its source on the second)
BAD_ROWS = (
    ("missing_title", "wire", "exchange"),
    ("empty_title", "exchange", "blotter"),
    ("missing_time", "blotter", "wire"),
    ("impossible_time", "exchange", "wire"),
    ("future_time", "wire", "exchange"),
    ("ancient_time", "blotter", "exchange"),
    ("cut_json_line", "exchange", "exchange"),
    ("short_csv_row", "blotter", "blotter"),
    ("long_csv_row", "blotter", "blotter"),
    ("overlong_title", "exchange", "wire"),
    ("bad_url", "wire", "exchange"),
)
IMPOSSIBLE = {
    "wire": "Mon, 31 Foo 2026 10:20:00 GMT",
    "exchange": "2026-02-30T10:20:00",
    "blotter": "2026-02-30 10:20:00",
}
FUTURE = {"wire": "Mon, 03 Mar 2031 09:00:00 GMT", "exchange": "2031-03-03T09:00:00Z", "blotter": "2031-03-03 09:00:00"}
ANCIENT = {
    "wire": "Thu, 07 Jul 1983 10:15:00 GMT",
    "exchange": "1987-10-19T21:00:00Z",
    "blotter": "1983-07-07 10:15:00",
}
BAD_URLS = {"wire": "htp:/www.tarnwire..example/%%20broken link", "exchange": "to be announced"}
REWORDING = (
    ("said on Monday", "announced on Monday"),
    ("said on Tuesday", "announced on Tuesday"),
    (" about ", " around "),
    ("told reporters", "told journalists"),
    ("compared with", "against"),
    ("analysts", "market watchers"),
    ("is expected to", "should"),
    ("Shares in", "Stock in"),
    ("declined to comment", "would not comment"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row to be delivered.

    `published` is UTC; `time_text` overrides what would be written, `literal` says that the row is written so that it cannot be read.
    `what` and `how` say what it is (original, repeat, copy, version, bad) and of which kind, `of` names the row it is like.
    """

    key: str
    source: str
    title: str | None
    body: str | None
    url: str | None
    published: datetime
    what: str = "original"
    of: str = ""
    how: str = ""
    kind: str = ""
    tone: str = ""
    company: str = ""
    other_headline: str = ""
    time_text: str | None = None
    literal: bool = False
    plain: bool = False


def tracked(url: str | None, rng: Random) -> str | None:
    """Add a tracking parameter to a link."""
    return None if url is None else f"{url}?{rng.choice(TRACKING)}"


def later(row: Row, last: datetime, rng: Random) -> datetime:
    """Draw a time up to two hours after the row's, and before `last`."""
    return min(row.published + timedelta(minutes=rng.randint(4, 110), seconds=rng.randint(0, 59)), last)


def repeat(row: Row, *, key: str, how: str, source: str, published: datetime, url: str | None) -> Row:
    """Deliver the same text once more."""
    return replace(
        row, key=key, source=source, published=published, url=url, what="repeat", of=row.key, how=how, plain=True
    )


def copy(
    row: Row,
    *,
    key: str,
    how: str,
    source: str,
    published: datetime,
    url: str | None,
    pools: Mapping[str, tuple[str, ...]],
    rng: Random,
) -> Row:
    """Rewrite a row lightly, as another desk would."""
    paragraphs = (row.body or "").split(PARAGRAPH)
    reporter, reporter2 = rng.sample(pools["reporter"], 2)
    boilerplate = rng.choice(pools["boilerplate"]).format(reporter=reporter, reporter2=reporter2)
    edit: dict[str, Callable[[], list[str]]] = {
        "boilerplate": lambda: [*paragraphs, boilerplate],
        "truncated": lambda: [*paragraphs[: max(2, len(paragraphs) * 2 // 3)], "Read more ..."],
        "reordered": lambda: [paragraphs[0], *reversed(paragraphs[1:])],
        "updated": lambda: [*paragraphs, rng.choice(pools["update"])],
        "sentences_dropped": lambda: _without_some(paragraphs, rng),
        "punctuation": lambda: [grammar.typographic(text).replace(" - ", " \N{EM DASH} ") for text in paragraphs],
        "reworded": lambda: [_reworded(text) for text in paragraphs],
    }
    edited = edit[how]()
    if edited == paragraphs:  # nothing was there to change, and a copy must not be an exact repeat
        edited[0] = f"In brief: {edited[0]}"
    title = row.other_headline or row.title or ""
    if how == "updated":
        title = f"UPDATE 1-{row.title}"
    elif how == "punctuation":
        title = (row.title or "").upper()
    return replace(
        row,
        key=key,
        source=source,
        published=published,
        url=url,
        title=title,
        body=PARAGRAPH.join(edited),
        what="copy",
        of=row.key,
        how=how,
        plain=False,
    )


def _without_some(paragraphs: list[str], rng: Random) -> list[str]:
    """Drop one of the middle paragraphs and the last sentence of the longest one left."""
    kept = list(paragraphs)
    if len(kept) > 3:
        del kept[rng.randint(2, len(kept) - 1)]
    longest = max(range(len(kept)), key=lambda index: len(kept[index]))
    sentences = kept[longest].split(". ")
    if len(sentences) > 1:
        kept[longest] = ". ".join(sentences[:-1]) + "."
    return kept


def _reworded(text: str) -> str:
    for old, new in REWORDING:
        text = text.replace(old, new)
    return text


def version(
    row: Row, *, key: str, how: str, published: datetime, pools: Mapping[str, tuple[str, ...]], rng: Random
) -> Row:
    """Change an article under its own address."""
    body = PARAGRAPH.join([row.body or "", rng.choice(pools["update"])])
    return replace(
        row,
        key=key,
        published=published,
        url=tracked(row.url, rng),
        title=f"{row.title} - update",
        body=body,
        what="version",
        of=row.key,
        how=how,
        plain=True,
    )


def bad(row: Row, kind: str) -> Row:
    """Break a row in exactly one way."""
    broken = replace(row, what="bad", how=kind, plain=True)
    changes: dict[str, Callable[[], Row]] = {
        "missing_title": lambda: replace(broken, title=None),
        "empty_title": lambda: replace(broken, title="   " if row.source == "exchange" else ""),
        "missing_time": lambda: replace(broken, time_text=""),
        "impossible_time": lambda: replace(broken, time_text=IMPOSSIBLE[row.source]),
        "future_time": lambda: replace(broken, time_text=FUTURE[row.source]),
        "ancient_time": lambda: replace(broken, time_text=ANCIENT[row.source]),
        "overlong_title": lambda: replace(
            broken, title=f"{row.title}: " + " ".join((row.body or "").split() * 4)[:1400]
        ),
        "bad_url": lambda: replace(broken, url=BAD_URLS[row.source]),
    }
    return changes[kind]() if kind in changes else replace(broken, literal=True)


def odd(row: Row, kind: str) -> Row:
    """Sprinkle a good row with what a reader does not see, and some that one does."""
    title, body = row.title or "", row.body or ""
    if kind == "invisible":
        title, body = (
            title.replace(" ", "\u200b ", 2),
            "\ufeff" + body.replace(". ", ".\u00a0\u200b", 2).replace("ment", "\u00adment", 1),
        )
    elif kind == "emoji":
        title, body = f"{title} \U0001f4c8", body.replace(". ", ". \U0001f469\u200d\U0001f4bb ", 1)
    elif kind == "control":
        title, body = (
            title.replace(" ", " \u0007", 1),
            body.replace(". ", ".\u001b\u0000 ", 1).replace(PARAGRAPH, "\u000b", 1),
        )
    else:
        title, body = unicodedata.normalize("NFD", title), unicodedata.normalize("NFD", body)
    return replace(row, title=title, body=body, how=kind, plain=True)
