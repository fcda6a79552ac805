"""The command line `nightdesk`: what people and scripts call.

Thin: each command reads the settings, calls a flow or a part, and prints. Exit codes: 0 done, 1 failed, 2 bad usage. Where a command
promises JSON, it is the last line of standard output; everything said to people goes to standard error.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from data_contracts.errors import Fatal, NightdeskError
from flows.arguments import spread
from flows.settings import load, quiet
from flows.showing import plain, show, tell

app = typer.Typer(
    name="nightdesk",
    help="The desk that reads the world's financial news overnight: Parquet in the lake, scored by BERT models, with alerts and a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
    """What a model can be evaluated and fine-tuned for."""

    sentiment = "sentiment"
    ner = "ner"


class By(StrEnum):
    """Which night an article belongs to."""

    first_seen = "first_seen"
    published = "published"


@app.command(
    epilog="Examples:  nightdesk run    nightdesk run --night 2026-03-02 --night 2026-03-03    nightdesk run --settings desk.toml --rescore"
)
def run(
    night: Annotated[
        list[dt.datetime] | None,
        typer.Option(
            formats=DATE, help="A night, by the date it ends on; may be given again. Default: the last one ended."
        ),
    ] = None,
    settings: SettingsOption = None,
    lake: LakeOption = None,
    by: Annotated[
        By, typer.Option(help="first_seen: live feeds. published: only what was published within the night.")
    ] = By.first_seen,
    rescore: Annotated[bool, typer.Option("--rescore", help="Score again what has a published score.")] = False,
) -> None:
    """Run nights: ingest, contract, score, watch, publish, report, notify."""
    from flows.running import run_nights

    nights = [one.date() for one in night or ()]
    run_nights(nights, settings_file=settings, lake=lake, by=by.value, rescore=rescore)


@app.command(epilog="Example:  nightdesk backfill --first 2022-12-20 --last 2023-01-05 --settings crypto.toml")
def backfill(
    first: Annotated[dt.datetime, typer.Option(formats=DATE, help="The earliest night.")],
    last: Annotated[dt.datetime, typer.Option(formats=DATE, help="The latest night.")],
    settings: SettingsOption = None,
    lake: LakeOption = None,
    by: Annotated[
        By, typer.Option(help="published: an article belongs to the night of its publication.")
    ] = By.published,
    redo: Annotated[bool, typer.Option("--redo", help="Run again what is published already.")] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="With --redo: score again what has a published score.")
    ] = False,
) -> None:
    """Run every night of a range over files, skipping what is done; a failed night does not stop the others."""
    from flows.running import run_range

    run_range(first.date(), last.date(), settings_file=settings, lake=lake, by=by.value, redo=redo, rescore=rescore)


@app.command(epilog="Example:  nightdesk evaluate --task sentiment --data dev.jsonl --json")
def evaluate(
    task: Annotated[Task, typer.Option(help="Which head.")],
    data: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL.")],
    model: ModelOption = "champion",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Evaluate a model on labelled data it was not trained on."""
    from flows.evaluating import evaluate_file, show_figures

    result = evaluate_file(task.value, data, model, load(settings))
    typer.echo(json.dumps(result)) if as_json else show_figures(result)


@app.command(epilog="Example:  nightdesk score --input articles.jsonl --output scored")
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
    settings: SettingsOption = None,
) -> None:
    """Score articles of your own, outside the lake.

    A line that cannot be scored goes to failures.jsonl in DIR, with its number and reason. Half of a UTF-16 pair in a title or body is read
    as U+FFFD. Entities of every score from 0 are kept; the nightly drops those below min_ner_score (0.5).
    """
    from flows.scoring import score_file

    summary = score_file(source, output, model, load(settings))
    tell(f"{summary.scored} scored, {summary.mentions} entities, {summary.failed} failed -> {output}")
    if summary.failed and not summary.scored:
        raise Fatal(f"no line of {source} could be scored; the reasons are in {output / 'failures.jsonl'}")


@app.command(
    epilog="Examples:  nightdesk finetune --task sentiment --train a.jsonl b.jsonl --dev dev.jsonl --output bundle    nightdesk finetune"
)
def finetune(
    task: Annotated[str, typer.Option(help="sentiment, ner or all.")] = "all",
    train: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE...",
            help="Labelled JSONL to fit: one file or several, and may be given again. Default: the shipped sample.",
        ),
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL to choose by: one file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave a bundle here, outside the registry.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 trains in this process.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Above 0. Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="The random seed.")] = 0,
    settings: SettingsOption = None,
) -> None:
    """Fine-tune a model. Without --output it goes through the registry and its gate; with it, into a directory."""
    if task not in ("sentiment", "ner", "all"):
        raise typer.BadParameter(f"{task!r}; allowed: sentiment, ner, all", param_hint="--task")
    if task == "all" and train:
        raise typer.BadParameter(
            "files hold one task's labels; name --task sentiment or --task ner for files of your own",
            param_hint="--task",
        )
    if bool(train) != bool(dev):
        raise typer.BadParameter("--train and --dev go together", param_hint="--train")
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise typer.BadParameter(f"{learning_rate}; allowed: numbers above 0", param_hint="--learning-rate")
    from flows.forms import RecipeForm
    from flows.tuning import finetune_files

    finetune_files(
        task,
        train or [],
        dev,
        output,
        workers=workers,
        recipe=RecipeForm(epochs=epochs, learning_rate=learning_rate, seed=seed),
        settings=load(settings),
        settings_file=settings,
    )


@app.command(
    epilog='Example:  nightdesk sql "SELECT entity, articles, mean_score FROM daily_entity_sentiment ORDER BY articles DESC LIMIT 10"'
)
def sql(
    query: Annotated[str, typer.Argument(help="A query over the published tables.")],
    lake: LakeOption = None,
    settings: SettingsOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, for other programs.")] = False,
) -> None:
    """Run DuckDB with every published table as a view."""
    from flows.querying import query_lake

    query_lake(query, load(settings, lake=lake).lake, as_csv=as_csv)


@app.command(epilog="Example:  nightdesk report --night 2026-03-03")
def report(
    night: Annotated[dt.datetime | None, typer.Option(formats=DATE, help="Default: the last published night.")] = None,
    lake: LakeOption = None,
    settings: SettingsOption = None,
) -> None:
    """Write a night's report again from the published tables, and print its path."""
    from flows.querying import write_report

    typer.echo(write_report(night.date() if night else None, load(settings, lake=lake).lake))


@app.command(epilog="Example:  nightdesk doctor --settings desk.toml")
def doctor(settings: SettingsOption = None, lake: LakeOption = None) -> None:
    """Say what is installed, found and writable, and what to do about what is not."""
    from flows.doctor import examine

    findings = examine(settings, lake)
    table = Table("", "what", "found", "what to do", show_lines=False)
    for finding in findings:
        table.add_row(
            "[green]ok[/]" if finding.good else ("[red]no[/]" if finding.needed else "[yellow]--[/]"),
            *plain(finding.what, finding.found, finding.remedy),
        )
    show(table)
    if any(not finding.good and finding.needed for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """The console script."""
    quiet()
    try:
        app(args=spread(sys.argv[1:]))
    except NightdeskError as error:
        tell((type(error).__name__, "bold red"), f": {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        tell(("the system refused", "bold red"), f": {where}{' '.join((error.strerror or str(error)).split())}")
    except KeyboardInterrupt:
        tell("interrupted; run the same command again to go on")
    else:
        return
    sys.exit(1)


if __name__ == "__main__":
    main()
