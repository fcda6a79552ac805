"""One night in the making: takes stories in as rows of a source, gives them time, link and dress, and hands them out again to be changed.

It does not decide what happens to whom; `edition` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import grammar
from mess import PARAGRAPH, Row
from newsroom import NIGHTS, Newsroom, Story

SEED = 20260302
SOURCES = ("wire", "exchange", "blotter")
SHARES = (42, 31, 27)
# Hours of the day in UTC and how much is published in them.
RUSH = {
    3: 3,
    4: 2,
    5: 3,
    6: 9,
    7: 16,
    8: 10,
    9: 7,
    10: 6,
    11: 8,
    12: 11,
    13: 12,
    14: 11,
    15: 8,
    16: 9,
    17: 6,
    18: 5,
    19: 4,
    20: 5,
    21: 9,
    22: 5,
    23: 4,
    24: 3,
    25: 2,
    26: 2,
}
NO_URL_EVERY = 7  # of the blotter's rows
NEVER_TOUCHED = ("feature", "wrap.europe", "wrap.wall", "wrap.results", "wrap.notes")


class Desk:
    """One night in the making: rows by key, and the numbers that keys and links are made of."""

    def __init__(self, number: int, newsroom: Newsroom) -> None:
        self.number, self.newsroom, self.night = number, newsroom, NIGHTS[number]
        self.rng = Random(SEED + number)
        self.midnight = datetime(self.night.year, self.night.month, self.night.day, tzinfo=UTC)
        self.last = self.midnight + timedelta(hours=26, minutes=58)
        self.rows: dict[str, Row] = {}
        self.busy: set[str] = set()

    def key(self) -> str:
        """Give the next row's key."""
        return f"{self.number + 1}{len(self.rows):04}"

    def moment(self, *, surge: bool) -> datetime:
        """Draw a time of publication in the night, UTC; news of the surge comes after noon."""
        hour = self.rng.choices(list(RUSH), list(RUSH.values()))[0]
        hour = max(hour, 12) if surge else hour
        return self.midnight + timedelta(
            hours=hour, minutes=self.rng.randint(1, 57), seconds=self.rng.choice((0, 0, self.rng.randint(1, 59)))
        )

    def url(self, source: str, title: str, key: str) -> str:
        """Make the address that a source gives a story."""
        if source == "wire":
            slug = "-".join(re.findall(r"[a-z0-9]+", title.lower())[:7])
            return f"https://www.tarnwire.example/{self.night:%Y/%m/%d}/{slug}-{key}"
        if source == "exchange":
            return f"https://announce.merebourse.example/notice/{self.night:%Y%m%d}{key}"
        return f"https://desk.blotterline.example/item/{key}7"

    def add(self, story: Story, source: str) -> Row:
        """Take a story in as an original row of a source, in that source's dress."""
        key, paragraphs, title = self.key(), list(story.paragraphs), story.headline
        if source == "wire" and story.town and self.rng.random() < 0.5:
            paragraphs[0] = f"{story.town.upper()}, {self.night:%B} {self.night.day} - {paragraphs[0]}"
        if source == "wire" and self.rng.random() < 0.3:
            paragraphs, title = [grammar.typographic(text) for text in paragraphs], grammar.typographic(title)
        if source == "blotter" and self.rng.random() < 0.4:
            paragraphs, title = [grammar.spaced(text) for text in paragraphs], grammar.spaced(title)
        told_here = sum(row.source == source for row in self.rows.values())
        url = None if source == "blotter" and told_here % NO_URL_EVERY == 3 else self.url(source, story.headline, key)
        row = Row(
            key=key,
            source=source,
            title=title,
            body=PARAGRAPH.join(paragraphs),
            url=url,
            published=self.moment(surge=story.kind == "surge" and self.number == 1),
            kind=story.kind,
            tone=story.tone,
            company=story.company,
            other_headline=story.other_headline,
        )
        self.rows[key] = row
        return row

    def pick(self, source: str, allowed: Callable[[Row], bool] = lambda row: True) -> Row:
        """Choose an original row of a source that nothing has happened to yet; it is used up by this."""
        free = [
            row
            for row in self.rows.values()
            if row.source == source
            and row.what == "original"
            and row.key not in self.busy
            and row.body
            and row.kind not in NEVER_TOUCHED
            and row.published < self.last - timedelta(hours=2)
            and allowed(row)
        ]
        row = self.rng.choice(free)
        self.busy.add(row.key)
        self.rows[row.key] = replace(row, plain=True)
        return self.rows[row.key]

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key."""
        self.rows[row.key] = row
