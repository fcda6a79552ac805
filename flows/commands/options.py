"""Options that several commands take, said once."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

DATE = ["%Y-%m-%d"]
SettingsOption = Annotated[
    str | None,
    typer.Option(
        "--settings", help="A TOML settings file; else NIGHTDESK_SETTINGS, ./nightdesk.toml, or the shipped sample's."
    ),
]


def _without_credentials(place: str | None) -> str | None:
    from flows.forms import WITHOUT_CREDENTIALS

    if place is not None and not re.fullmatch(WITHOUT_CREDENTIALS, place):
        raise typer.BadParameter(
            "the URL holds credentials, which Prefect would store with the run; put it into NIGHTDESK_LAKE or the settings"
        )
    return place


LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake",
        callback=_without_credentials,
        help="Where the tables are: a directory or a URL; else NIGHTDESK_LAKE or the settings.",
    ),
]
ModelOption = Annotated[str, typer.Option("--model", help="champion, sentiment/3, or a bundle's directory.")]


class Task(StrEnum):
    """What a model can be trained and evaluated for."""

    sentiment = "sentiment"
    topics = "topics"
    ner = "ner"
    entity_sentiment = "entity_sentiment"
    summary = "summary"


class By(StrEnum):
    """Which night an article belongs to."""

    first_seen = "first_seen"
    published = "published"
