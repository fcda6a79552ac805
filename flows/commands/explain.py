"""Say why a text got its score, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import ModelOption, SettingsOption
from flows.settings import load

EXAMPLES = (
    'Examples:  nightdesk explain --text "Norvane did not win the contract."    '
    'nightdesk explain --text "Norvane sued Tessaly." --entity Tessaly    nightdesk explain --input articles.jsonl --json'
)


def explain(
    text: Annotated[str | None, typer.Option(help="A text; the first line is read as its title.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input", exists=True, dir_okay=False, help='JSONL rows {"id", "title", "body"}; body may be null.'
        ),
    ] = None,
    entity: Annotated[
        str | None,
        typer.Option(
            help="Why the text says what it says of this: words that stand in it. Needs an entity_sentiment head."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="negative, neutral or positive. Default: the label it got.")] = None,
    sentences: Annotated[
        int, typer.Option(min=1, help="How many of a long text's sentences, those that moved it most.")
    ] = 10,
    model: ModelOption = "champion",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text on standard output.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Print the words that drove a score, with their weights: above 0 they speak for the label, below against it.

    Weights are integrated gradients: the words of a sentence sum to its part in the label's margin over the others, in logits.
    """
    if (text is None) == (source is None):
        raise typer.BadParameter("give a text or a file, one of the two", param_hint="--text")
    from flows.explaining import explanations, show_explanation

    for key, found in explanations(
        text, source, model, load(settings), entity=entity, label=label, most_windows=sentences
    ):
        typer.echo(found.to_json()) if as_json else show_explanation(key, found)
