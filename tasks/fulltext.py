"""The article on a page, in place of the summary that a feed gave: an option of a source, for new rows only.

trafilatura finds the article among menus and adverts. A page that cannot be had, or has no article, costs that row nothing: it keeps the
body it was delivered with, and the count of such rows is told. After `GIVE_UP_AFTER` busy answers in a row no more are asked for tonight.

Not covered: pages drawn by scripts, pay walls, articles over several pages.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.errors import Skippable
from data_contracts.raw import RawRow
from tasks import text
from tasks.fetch import FetchBusy, Fetcher

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 3


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The rows, with the page's text where there was one, and how many of those with an address stayed as they were, and why at first."""

    rows: list[RawRow]
    missed: int
    first_reason: str | None


def fill(rows: Sequence[RawRow], fetcher: Fetcher) -> Filled:
    """Fetch the page of every row that has a URL."""
    filled, missed, busy, first_reason = [], 0, 0, None
    for row in rows:
        body, reason = None, None
        if row.url is not None and row.parse_error is None:
            try:
                body = article(fetcher.get(row.url).data, row.url) if busy < GIVE_UP_AFTER else None
                reason = (
                    None
                    if body
                    else f"no article found on {row.url}"
                    if busy < GIVE_UP_AFTER
                    else "not asked for any more"
                )
                busy = busy if busy >= GIVE_UP_AFTER else 0
            except FetchBusy as error:
                busy, reason = busy + 1, str(error)
            except Skippable as error:
                busy, reason = 0, str(error)
        missed += reason is not None
        first_reason = first_reason or reason
        filled.append(row.model_copy(update={"body": body}) if body else row)
    return Filled(rows=filled, missed=missed, first_reason=first_reason)


def article(page: bytes, url: str) -> str | None:
    """The normalised text of the article on a page, None when there is none."""
    import trafilatura  # takes a second to import, and most sources do without

    return text.body(trafilatura.extract(page, url=url, include_comments=False))
