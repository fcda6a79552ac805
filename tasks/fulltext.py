"""The article on a page, in place of the summary that a feed gave: an option of a source, for new rows only.

trafilatura finds the article among menus and adverts. A page that cannot be had, or has no article, costs that row nothing: it keeps the
body it was delivered with, and the count of such rows is told. After `GIVE_UP_AFTER` busy answers in a row no more are asked for tonight.

Not covered: pages drawn by scripts, pay walls, articles over several pages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.errors import Skippable
from data_contracts.raw import RawRow
from tasks import text
from tasks.fetch import FetchBusy, Fetcher

GIVE_UP_AFTER = 3
TELL_SECONDS = 5.0  # between two words on how far the pages are

log = logging.getLogger(__name__)


class NoArticle(Skippable):
    """A page without an article, or one that was not asked for; its row keeps the body it has."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The rows, with the page's text where there was one, and how many of those with an address stayed as they were, and why at first."""

    rows: list[RawRow]
    missed: int
    first_reason: str | None


def fill(rows: Sequence[RawRow], fetcher: Fetcher) -> Filled:
    """Fetch the page of every row that has a URL."""
    filled, reasons, busy = [], list[str](), 0
    begun = told = time.monotonic()
    for number, row in enumerate(rows, start=1):
        body = None
        if row.url is not None and row.parse_error is None:
            try:
                if busy >= GIVE_UP_AFTER:
                    raise NoArticle(f"{row.url}: not asked, after {GIVE_UP_AFTER} busy answers in a row")
                page = fetcher.get(row.url)
                busy = 0
                body = article(page.data, row.url)
            except FetchBusy as error:
                busy += 1
                reasons.append(str(error))
            except Skippable as error:
                reasons.append(str(error))
        filled.append(row.model_copy(update={"body": body}) if body else row)
        now = time.monotonic()
        if now - told > TELL_SECONDS or (number == len(rows) and told > begun):
            told = now
            extra = {"done": number, "total": len(rows), "part": f"pages of {row.source}"}
            log.info("%d of %d rows of %s have been asked for their pages", number, len(rows), row.source, extra=extra)
    return Filled(rows=filled, missed=len(reasons), first_reason=reasons[0] if reasons else None)


def article(page: bytes, url: str) -> str:
    """The normalised text of the article on a page."""
    import trafilatura  # takes a second to import, and most sources do without

    try:
        found = text.body(trafilatura.extract(page, url=url, include_comments=False))
    except Exception as error:  # a parser of strangers' pages breaks in ways it does not name
        raise NoArticle(f"{url}: trafilatura failed on it ({type(error).__name__}: {error})") from error
    if found is None:
        raise NoArticle(f"{url}: no article found on the page")
    return found
