"""A clean article: identified, versioned, exact repeats dropped and counted, near-duplicates marked but kept."""

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime

from data_contracts.raw import (
    EARLIEST,
    HAS_TEXT,
    HAS_TEXT_SAYS,
    MAX_BODY_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    NOT_IN_FUTURE,
    WEB_OR_FILE,
    WEB_OR_FILE_SAYS,
)
from data_contracts.schema import BOOL, DATE, INT32, STRING, UTC_TIME, Column, Contract, Order, Row


class Article(Row):
    """One version of one article."""

    article_id: Annotated[str, Column(STRING, "From the canonical URL, else from the content.", length=(1, 64))]
    version: Annotated[
        int,
        Column(
            INT32,
            "1 for the first content seen under the id, then 2, 3, ... Counted over this night and earlier ones, so "
            "nights run out of order may give a number twice: across nights, join by run_date too.",
            between=(1, None),
        ),
    ]
    content_hash: Annotated[str, Column(STRING, "Hash of the normalised title and body.", length=(1, 64))]
    run_date: Annotated[date, Column(DATE, "The night the article belongs to.")]
    source: Annotated[str, Column(STRING, "The source's name in the settings.", length=(1, 200))]
    url: Annotated[
        str | None, Column(STRING, "The article's address.", matches=WEB_OR_FILE, pattern_says=WEB_OR_FILE_SAYS)
    ] = None
    title: Annotated[
        str,
        Column(
            STRING,
            "The headline, normalised.",
            length=(1, MAX_TITLE_CHARACTERS),
            matches=HAS_TEXT,
            pattern_says=HAS_TEXT_SAYS,
        ),
    ]
    body: Annotated[
        str | None, Column(STRING, "The text, normalised; may be missing.", length=(None, MAX_BODY_CHARACTERS))
    ] = None
    published_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was published, UTC.", between=(EARLIEST, None))]
    first_seen_at: Annotated[AwareDatetime, Column(UTC_TIME, "When this system first saw it, UTC.")]
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the clean row could first be read, UTC.")]
    repeats: Annotated[int, Column(INT32, "Exact repeats of it dropped this night.", between=(0, None))]
    row_id: Annotated[str, Column(STRING, "The raw row it was made from.", length=(1, 64))]
    story_id: Annotated[str | None, Column(STRING, "Shared by near-duplicates of one story.", length=(1, 64))] = None
    novelty_rank: Annotated[
        int | None, Column(INT32, "Its place among the story's articles by time, from 1.", between=(0, None))
    ] = None
    is_canonical: Annotated[bool | None, Column(BOOL, "True for the story's first article.")] = None


CONTRACT = Contract(
    name="articles",
    row=Article,
    says="One row a version of an article, clean and identified.",
    key=("article_id", "version"),
    orders=(Order(low="first_seen_at", high="available_at"),),
    derived=(NOT_IN_FUTURE,),
)
