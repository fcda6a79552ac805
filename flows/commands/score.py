"""Score a file from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.errors import Fatal
from flows.commands.options import ModelOption, SettingsOption
from flows.settings import load
from flows.showing import tell

EXAMPLES = "Example:  nightdesk score --input articles.jsonl --output scored"


def score(
    source: Annotated[
        Path,
        typer.Option(
            "--input", exists=True, dir_okay=False, help='JSONL rows {"id", "title", "body"}; body may be null.'
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            file_okay=False, metavar="DIR", help="Where scored_articles.parquet and entity_mentions.parquet go."
        ),
    ],
    model: ModelOption = "champion",
    backend: Annotated[
        str | None,
        typer.Option(help="auto, torch, torch-bf16, openvino, openvino-int8, onnx, ...; else what the settings say."),
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Score articles of your own, outside the lake.

    A line that cannot be scored goes to failures.jsonl in DIR, with its number and reason. Half of a UTF-16 pair in a title or body is read
    as U+FFFD. Entities of every score from 0 are kept; the nightly drops those below min_ner_score (0.5).
    """
    from flows.scoring import score_file

    summary = score_file(source, output, model, load(settings), backend=backend)
    tell(f"{summary.scored} scored, {summary.mentions} entities, {summary.failed} failed -> {output}")
    if summary.failed and not summary.scored:
        raise Fatal(f"no line of {source} could be scored; the reasons are in {output / 'failures.jsonl'}")
