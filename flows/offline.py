"""What the command line does beside the flows: evaluate, score and fine-tune on files of one's own, query the lake, write a report again."""

from __future__ import annotations

import csv
import datetime as dt
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TimeElapsedColumn
from rich.table import Table

from data_contracts.errors import Fatal
from flows.settings import Settings
from tasks.registry import Registry

CHUNK_ROWS = 512
WIDE = 10_000  # characters: a table that goes into a file or a pipe is not folded


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What scoring a file gave."""

    scored: int
    mentions: int
    failed: int


def evaluate_file(task: str, data: Path, model: str, settings: Settings) -> dict[str, Any]:
    """Evaluate on a labelled file; the mapping is what `nightdesk evaluate --json` prints."""
    from data_contracts.labelled import read_labelled
    from models.bundle import load
    from models.evaluation import evaluate

    labelled = read_labelled(data, task)
    for row in labelled.rejected:
        Console(stderr=True).print(f"{data}:{row.line}: left out: {row.reason}", markup=False)
    if not labelled.examples:
        raise Fatal(f"{data} holds no usable {task} example; {len(labelled.rejected)} rows were left out")
    bundle = load(_registry(settings).resolve(f"{task}/champion" if model == "champion" else model))
    figures: dict[str, Any] = json.loads(evaluate(bundle.path, task, labelled.examples).to_json())
    return figures | {"model_digest": bundle.digest, "rejected": len(labelled.rejected)}


def _registry(settings: Settings) -> Registry:
    return Registry(settings.mlflow_uri, settings.home / "bundles")


def score_file(source: Path, output: Path, model: str, settings: Settings) -> Summary:
    """Score a JSONL file into two Parquet files, and what could not be scored into `failures.jsonl` with its reason."""
    from models.engine import Predictor

    predictor = Predictor(_registry(settings).serving([name.strip() for name in model.split(",")]))
    rows, failures = [], []
    for number, line in enumerate(source.read_bytes().splitlines(), start=1):
        if line.strip():
            row, reason = _article(line)
            (failures.append((number, reason, line)) if row is None else rows.append(row))
    articles, mentions = [], []
    columns = (SpinnerColumn(), *Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("scoring", total=len(rows))
        for start, chunk in _chunks(rows):
            prediction = predictor.predict(_table(chunk, start))
            articles.append(_named(prediction.articles, rows))
            mentions.append(_named(prediction.mentions, rows))
            for key, error in zip(
                prediction.failures["id"].to_pylist(), prediction.failures["error"].to_pylist(), strict=True
            ):
                failures.append((0, error, json.dumps(rows[int(key)]).encode()))
            progress.advance(bar, len(chunk))
    scored = pa.concat_tables(articles) if articles else _named(predictor.predict(_table([], 0)).articles, rows)
    found = pa.concat_tables(mentions) if mentions else _named(predictor.predict(_table([], 0)).mentions, rows)
    scored = scored.append_column("model_digest", pa.array([predictor.digest] * scored.num_rows, pa.string()))
    output.mkdir(parents=True, exist_ok=True)
    pq.write_table(scored.drop_columns(["windows"]), output / "scored_articles.parquet")
    pq.write_table(found, output / "entity_mentions.parquet")
    _write_failures(output / "failures.jsonl", failures)
    return Summary(scored=scored.num_rows, mentions=found.num_rows, failed=len(failures))


def _article(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """One input line as a row, or None and what is wrong with it."""
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return None, f"not JSON: {error}"
    if not isinstance(row, dict) or not isinstance(row.get("id"), str | int) or isinstance(row.get("id"), bool):
        return None, 'given a row without a text or number "id"; allowed: {"id", "title", "body"}'
    if not isinstance(row.get("title"), str | None) or not isinstance(row.get("body"), str | None):
        return None, "title and body must be text or null"
    if not (row.get("title") or row.get("body")):
        return None, "title and body are both empty"
    return {"id": str(row["id"]), "title": row.get("title"), "body": row.get("body")}, ""


def _chunks(rows: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Consecutive chunks with the position of their first row."""
    iterator = iter(rows)
    start = 0
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield start, chunk
        start += len(chunk)


def _table(rows: list[dict[str, Any]], start: int) -> pa.Table:
    """Rows for the predictor, keyed by position, because a user's ids may repeat; lone surrogates become U+FFFD."""

    def clean(text: str | None) -> str | None:
        return None if text is None else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    return pa.table(
        {
            "id": pa.array([str(start + i) for i in range(len(rows))], pa.string()),
            "title": pa.array([clean(row["title"]) for row in rows], pa.string()),
            "body": pa.array([clean(row["body"]) for row in rows], pa.string()),
        }
    )


def _named(table: pa.Table, rows: list[dict[str, Any]]) -> pa.Table:
    """The user's own ids put back."""
    ids = pa.array([rows[int(key)]["id"] for key in table["id"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("id"), "id", ids)


def _write_failures(path: Path, failures: list[tuple[int, str, bytes]]) -> None:
    """Each row that could not be scored, with its reason; no file when there is none."""
    path.unlink(missing_ok=True)
    if failures:
        lines = [
            json.dumps({"line": number, "error": error, "row": row.decode("utf-8", "replace")})
            for number, error, row in failures
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def query_lake(query: str, lake: str, *, as_csv: bool) -> None:
    """Run a query over the published tables and print its rows.

    Raises:
        Fatal: DuckDB refuses the query; its own words are kept.
    """
    import duckdb

    from tasks.query import connect

    with connect(lake) as connection:
        try:
            result = connection.execute(query)
            names = [column[0] for column in result.description or []]
            rows = result.fetchall()
        except duckdb.Error as error:
            raise Fatal(f"DuckDB refused the query: {error}") from error
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerows([names, *rows])
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    console = Console()
    console.print(table) if console.is_terminal else Console(width=WIDE).print(table)


class _Epochs(logging.Handler):
    """Moves a bar with the records of a training's epochs."""

    def __init__(self, progress: Progress, bar: TaskID) -> None:
        super().__init__()
        self._progress, self._bar = progress, bar

    def emit(self, record: logging.LogRecord) -> None:
        """Show the epoch that a record speaks of."""
        done, total = getattr(record, "epoch", None), getattr(record, "epochs", None)
        self._progress.update(self._bar, completed=done, total=total, description=record.getMessage())


@contextmanager
def epochs_shown(console: Console) -> Iterator[None]:
    """A progress bar over the epochs of a training inside the block."""
    told = logging.getLogger("tasks.cluster.progress")
    with Progress(SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn(), console=console) as progress:
        handler = _Epochs(progress, progress.add_task("starting", total=None))
        told.addHandler(handler)
        told.setLevel(logging.INFO)
        try:
            yield
        finally:
            told.removeHandler(handler)


def finetune_files(
    task: str,
    train: list[Path],
    dev: Path | None,
    output: Path | None,
    *,
    workers: int,
    epochs: int | None,
    learning_rate: float | None,
    seed: int,
    settings: Settings,
    settings_file: str | None,
) -> None:
    """Fine-tune through the registry and its gate, or, with `output`, into a bundle in that directory."""
    from flows.finetune import Task, files_for, finetune, finetune_into
    from flows.forms import LabelledForm, RecipeForm

    recipe = RecipeForm(epochs=epochs, learning_rate=learning_rate, seed=seed)
    form = LabelledForm(train=[str(path) for path in train], dev=[str(dev)]) if dev else None
    console = Console(stderr=True)
    if output is None:
        decisions = finetune(
            task=cast(Task, task),
            sentiment=form if task == "sentiment" else None,
            ner=form if task == "ner" else None,
            recipe=recipe,
            workers=workers,
            settings_file=settings_file,
        )
        for decision in decisions:
            console.print(f"{decision.task}/{decision.version}: {decision.reason}", markup=False)
        return
    with epochs_shown(console):
        figures = finetune_into(
            output,
            files_for(task, {task: form} if form else {}),
            storage=settings.home / "training",
            cluster=settings.cluster,
            recipe=recipe,
            workers=workers,
            allow_hub=settings.allow_hub,
        )
    for name, found in figures.items():
        console.print(
            f"{name}: {found.average} F1 {found.f1:.4f}, accuracy {found.accuracy:.4f} on {found.n} dev examples -> {output}",
            markup=False,
        )


def write_report(night: dt.date | None, lake_url: str) -> str:
    """Write the report of a published night again; the last one by default.

    Raises:
        Fatal: no such night is published.
    """
    from tasks.lake import Lake
    from tasks.report import report

    nights = Lake.open(lake_url).nights("scored_articles")
    wanted = night or (nights[-1] if nights else None)
    if wanted is None or wanted not in nights:
        raise Fatal(f"given the night {wanted}; published in {lake_url}: {', '.join(map(str, nights)) or 'none'}")
    page: str = report.fn(lake_url, night=wanted, now=dt.datetime.now(dt.UTC))
    return page
