"""Continue the pre-training of a trunk from the command line."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import DATE, SettingsOption
from flows.settings import load
from flows.showing import bars, tell

EXAMPLES = (
    "Examples:  nightdesk adapt --lake lake --objective whole_word,sentence_order --output trunk    "
    "nightdesk adapt --texts news.jsonl old.csv --objective span,span_boundary --output trunk && nightdesk finetune --trunk trunk"
)


def adapt(
    output: Annotated[Path, typer.Option(file_okay=False, metavar="DIR", help="Where the adapted trunk goes.")],
    lake: Annotated[
        str | None,
        typer.Option(help="Learn from this lake's articles. Default: the settings' lake, or none with --texts."),
    ] = None,
    first: Annotated[
        dt.datetime | None, typer.Option(formats=DATE, help="The first night of the lake's articles.")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option(formats=DATE, help="The last night of the lake's articles.")
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE...",
            help="Texts: .txt (a line a document), .jsonl, .json, .csv, also .gz; one file or several, and may be given again.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Of CSV files: the text's column, or its number from 1 in files without a header."),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="With commas: one of mlm, whole_word, span (also span,span_boundary); one of next_sentence, sentence_order; or one of each."
        ),
    ] = "whole_word",
    trunk: Annotated[str, typer.Option(help="minilm, a directory, or a hub name if the settings allow it.")] = "minilm",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the texts. Default: 1.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Above 0. Default: the recipe's.")] = None,
    max_length: Annotated[int | None, typer.Option(min=16, help="Tokens of a piece of text. Default: 128.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=16, help="Tokens a step. Default: 4096.")] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps between checkpoints; 0: at every epoch's end.")
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of the documents to measure by, not to learn from.")] = 0.05,
    excepted: Annotated[
        list[Path] | None,
        typer.Option(
            "--except",
            exists=True,
            dir_okay=False,
            metavar="FILE...",
            help="Leave out the texts of these files: labelled dev and test files (.jsonl), or files as --texts takes them.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 adapts in this process.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The random seed.")] = 0,
    settings: SettingsOption = None,
) -> None:
    """Let a trunk read texts without labels, so that it knows their field; fine-tune from it with --trunk DIR.

    The held-out loss before and after is told, and stands in DIR/adapt.json. A run that was stopped goes on where it stood.
    """
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise typer.BadParameter(f"{learning_rate}; allowed: numbers above 0", param_hint="--learning-rate")
    if not 0 < held_out < 1:
        raise typer.BadParameter(f"{held_out}; allowed: above 0, below 1", param_hint="--held-out")
    from flows.adapt import adapt_into, losses
    from flows.forms_adapt import AdaptRecipeForm, TextsForm

    with bars():
        done = adapt_into(
            output,
            objectives=tuple(name.strip() for name in objective.split(",")),
            texts=TextsForm(
                lake=lake,
                first=first.date() if first else None,
                last=last.date() if last else None,
                files=[str(path) for path in texts or ()],
                column=column,
                held_out_share=held_out,
                excepted=[str(path) for path in excepted or ()],
            ),
            recipe=AdaptRecipeForm(
                epochs=epochs,
                steps=steps,
                learning_rate=learning_rate,
                max_length=max_length,
                batch_tokens=batch_tokens,
                checkpoint_steps=checkpoint_steps,
                seed=seed,
            ),
            settings=load(settings),
            trunk=trunk,
            workers=workers,
        )
    said = f"{done.learnt} documents learnt from in {done.steps} steps, {done.held_out} held out"
    tell(f"{said}: {losses(done)} -> {output}")
