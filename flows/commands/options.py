"""Options that several commands take, said once."""

from __future__ import annotations

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
LakeOption = Annotated[
    str | None,
    typer.Option("--lake", help="Where the tables are: a directory or a URL; else NIGHTDESK_LAKE or the settings."),
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
