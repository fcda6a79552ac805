"""Measure a model from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import ModelOption, SettingsOption, Task
from flows.settings import load

EXAMPLES = (
    "Examples:  nightdesk evaluate --task sentiment --data dev.jsonl --json    "
    "nightdesk evaluate --task entity_sentiment --given-entities --data dev.jsonl --page evaluation.html"
)


def evaluate(
    task: Annotated[Task, typer.Option(help="Which head.")],
    data: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL.")],
    model: ModelOption = "champion",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
    given_entities: Annotated[
        bool,
        typer.Option("--given-entities", help="Of entity_sentiment: the spans are told, and only their labels asked."),
    ] = False,
    exclude_seen: Annotated[
        bool,
        typer.Option("--exclude-seen", help="Leave out what the model was trained on, however much of the file it is."),
    ] = False,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Measure on texts that the model was trained on, too.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE.html", help="Write the figures as a page here, too.")
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Evaluate a model on labelled data it was not trained on.

    Texts that it was trained on are left out and counted; a file of which they are more than a quarter is refused.
    The figures are kept beside the model, in evaluations/, and in MLflow where the registry has the model.
    """
    if exclude_seen and allow_overlap:
        raise typer.BadParameter("--exclude-seen and --allow-overlap exclude one another", param_hint="--exclude-seen")
    if given_entities and task is not Task.entity_sentiment:
        raise typer.BadParameter("only entity_sentiment takes --given-entities", param_hint="--given-entities")
    from flows.evaluating import evaluate_file, show_figures

    result = evaluate_file(
        task.value,
        data,
        model,
        load(settings),
        given_entities=given_entities,
        exclude_seen=exclude_seen,
        allow_overlap=allow_overlap,
        page=page,
    )
    typer.echo(json.dumps(result)) if as_json else show_figures(result)
