"""Puts a night together: which source tells which story when, and what happens to it on the way.

A night runs from 22:00 to 22:00 in New York; every good row is published within its night, except the few that the feed still carries from
the night before.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import grammar
import mess
from desk import SEED, SHARES, SOURCES, Desk
from mess import BAD_ROWS, PARAGRAPH, Row
from newsroom import FAVOURED, Newsroom

TITLE_ONLY = {"exchange": 7, "blotter": 3, "wire": 2}
ODD = (
    ("exchange", "control"),
    ("exchange", "invisible"),
    ("wire", "invisible"),
    ("wire", "emoji"),
    ("blotter", "emoji"),
    ("blotter", "decomposed"),
)
COPY_HOWS = ("boilerplate", "truncated", "reordered", "updated", "sentences_dropped", "punctuation", "reworded")


@dataclass(frozen=True, kw_only=True)
class Edition:
    """All rows of a night, each source's in the order of its file."""

    night: date
    rows: tuple[Row, ...]
    bulletin: tuple[Row, ...]

    def of(self, source: str) -> tuple[Row, ...]:
        """Give the rows of one source."""
        return tuple(row for row in self.rows if row.source == source)


def both_nights() -> tuple[Edition, Edition]:
    """Make the two nights."""
    newsroom = Newsroom(SEED)
    first = _filled(0, newsroom)
    second = _filled(1, newsroom)
    _after_the_first_night(first, second)
    return _edition(first), _edition(second)


def _filled(number: int, newsroom: Newsroom) -> Desk:
    """Make a night on its own."""
    desk = Desk(number, newsroom)
    companies = newsroom.company_stories(number)
    stories = [*companies, *newsroom.told_by_hand(number), *newsroom.wraps(number, companies)]
    desk.rng.shuffle(stories)
    for story in stories:
        desk.add(story, story.source or desk.rng.choices(SOURCES, SHARES)[0])
    _bad(desk)
    for source, count in TITLE_ONLY.items():
        for _ in range(count):
            row = desk.pick(source, lambda row: _ordinary(row) and len((row.body or "").split()) < 150)
            desk.put(replace(row, body=None))
    for source, kind in ODD:
        desk.put(mess.odd(desk.pick(source, _accented if kind == "decomposed" else _ordinary), kind))
    _repeats(desk)
    _versions(desk)
    _copies(desk)
    return desk


def _ordinary(row: Row) -> bool:
    return row.kind not in ("surge", "macro") and row.company not in FAVOURED


def _accented(row: Row) -> bool:
    return _ordinary(row) and unicodedata.normalize("NFD", row.body or "") != row.body


def _long_surge(row: Row) -> bool:
    return row.kind == "surge" and len((row.body or "").split(PARAGRAPH)) > 2


def _long_other(row: Row) -> bool:
    return row.kind != "surge" and len((row.body or "").split(PARAGRAPH)) > 2


def _bad(desk: Desk) -> None:
    for kind, *sources in BAD_ROWS:
        row = desk.pick(sources[desk.number], lambda row: _ordinary(row) and row.url is not None)
        desk.put(mess.bad(row, kind))


def _repeat(desk: Desk, row: Row, how: str, source: str, *, url: str | None) -> None:
    published = (
        desk.moment(surge=False)
        if row.published < desk.midnight + timedelta(hours=3)
        else mess.later(row, desk.last, desk.rng)
    )
    desk.put(mess.repeat(row, key=desk.key(), how=how, source=source, published=published, url=url))


def _repeats(desk: Desk) -> None:
    """Deliver ten rows of the night once more."""
    row = desk.pick("blotter", lambda row: row.url is None)
    _repeat(desk, row, "no_url", "blotter", url=None)
    for _ in range(3):
        row = desk.pick("wire")
        _repeat(desk, row, "same_url", "wire", url=mess.tracked(row.url, desk.rng))
    for origin, target in (("exchange", "blotter"), ("exchange", "blotter"), ("blotter", "exchange")):
        row = desk.pick(origin)
        _repeat(desk, row, "other_url", target, url=desk.url(target, row.title or "", desk.key()))
    for target in ("exchange", "blotter"):
        row = desk.pick("wire")
        _repeat(desk, row, "through_markup", target, url=mess.tracked(row.url, desk.rng))
    row = desk.pick("blotter")
    desk.put(replace(row, key=desk.key(), what="repeat", of=row.key, how="identical_row"))


def _versions(desk: Desk) -> None:
    for source in SOURCES:
        row = desk.pick(source, lambda row: row.url is not None)
        desk.put(
            mess.version(
                row,
                key=desk.key(),
                how="same_night",
                published=mess.later(row, desk.last, desk.rng),
                pools=desk.newsroom.pools,
                rng=desk.rng,
            )
        )


def _copy(desk: Desk, row: Row, how: str, source: str, published: datetime) -> None:
    key = desk.key()
    url = desk.url(source, row.other_headline or row.title or "", key)
    made = mess.copy(
        row, key=key, how=how, source=source, published=published, url=url, pools=desk.newsroom.pools, rng=desk.rng
    )
    if source == "blotter" and desk.rng.random() < 0.5:
        made = replace(made, title=grammar.spaced(made.title or ""), body=grammar.spaced(made.body or ""))
    desk.put(made)


def _copies(desk: Desk) -> None:
    """Have fourteen stories of the night rewritten by another source, on the second night four of them about the surge."""
    for number in range(14):
        surge = desk.number == 1 and number < 4
        origin = "wire" if surge and number in (1, 2) else SOURCES[number % 3]
        row = desk.pick(origin, _long_surge if surge else _long_other)
        target = SOURCES[(SOURCES.index(origin) + 1 + number // 3 % 2) % 3]
        _copy(desk, row, COPY_HOWS[number % len(COPY_HOWS)], target, mess.later(row, desk.last, desk.rng))


def _after_the_first_night(first: Desk, second: Desk) -> None:
    """Have the second night repeat, change and copy some of the first, and the feed still carry three old items."""
    for origin, target, how in (
        ("wire", "wire", "same_url"),
        ("wire", "wire", "same_url"),
        ("exchange", "blotter", "other_url"),
        ("blotter", "exchange", "other_url"),
        ("wire", "exchange", "through_markup"),
    ):
        row = first.pick(origin, lambda row: row.url is not None)
        url = (
            second.url(target, row.title or "", second.key())
            if how == "other_url"
            else mess.tracked(row.url, second.rng)
        )
        _repeat(second, row, f"{how}_of_earlier_night", target, url=url)
    for source in SOURCES:
        row = first.pick(source, lambda row: row.url is not None)
        second.put(
            mess.version(
                row,
                key=second.key(),
                how="of_earlier_night",
                published=second.moment(surge=False),
                pools=second.newsroom.pools,
                rng=second.rng,
            )
        )
    for origin, target, how in (("wire", "blotter", "truncated"), ("exchange", "wire", "boilerplate")):
        row = first.pick(origin, lambda row: len((row.body or "").split(PARAGRAPH)) > 2)
        _copy(second, row, how, target, second.moment(surge=False))
    for _ in range(3):
        row = first.pick("wire", lambda row: row.published > first.midnight + timedelta(hours=16))
        second.put(replace(row, key=second.key(), what="repeat", of=row.key, how="overlap"))


def _edition(desk: Desk) -> Edition:
    """Put every source's rows in the order of its file: a feed has the newest first."""
    rows: list[Row] = []
    for source in SOURCES:
        rows += sorted(
            (row for row in desk.rows.values() if row.source == source),
            key=lambda row: (row.published, row.key),
            reverse=source == "wire",
        )
    bulletin = [row for row in rows if row.source == "wire" and row.what == "original" and row.body and row.plain][:10]
    return Edition(night=desk.night, rows=tuple(rows), bulletin=tuple(replace(row, plain=True) for row in bulletin))
