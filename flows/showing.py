"""What the command line shows on standard error while it works: bars in a terminal, log lines above them, errors as one sentence.

In a pipe or a file there are no bars, only the lines of the log, and no line is folded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from data_contracts.errors import NightdeskError
from tasks.secrecy import struck_out

WIDE = 10_000  # characters: a table that goes into a file or a pipe is not folded
EPOCHS = "tasks.cluster.progress"


def tell(*parts: str | tuple[str, str]) -> None:
    """A line to the person at the command line, without secrets: neither folded nor read as markup. A part may be (text, style)."""
    safe = [struck_out(part) if isinstance(part, str) else (struck_out(part[0]), part[1]) for part in parts]
    Console(stderr=True, highlight=False).print(Text.assemble(*safe), soft_wrap=True)


def show(table: Table, *, stderr: bool = False) -> None:
    """A table, folded to the width of a terminal and nowhere else."""
    console = Console(stderr=stderr, highlight=False)
    console.print(table) if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE).print(table)


def plain(*cells: object) -> list[Text]:
    """Cells of a table as they are, without secrets: square brackets are no markup."""
    return [Text("" if cell is None else struck_out(str(cell))) for cell in cells]


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars inside the block, in a terminal only; the epochs of a training get one by themselves.

    The log lines of a flow go above the bars, and an error that is a sentence is logged without its traceback.
    """
    console = Console(stderr=True, markup=False, highlight=False)
    logs = [one for one in logging.getLogger().handlers if isinstance(getattr(one, "console", None), Console)]
    before = [vars(one)["console"] for one in logs]
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    for one in logs:
        one.addFilter(_without_traceback)
    with Progress(
        *columns, console=console, disable=not console.is_terminal, redirect_stdout=sys.stdout.isatty()
    ) as progress:
        epochs, told = _Epochs(progress), logging.getLogger(EPOCHS)
        told.addHandler(epochs)
        told.setLevel(logging.INFO)
        if console.is_terminal:
            for one in logs:
                vars(one)["console"] = console
        try:
            yield progress
        finally:
            told.removeHandler(epochs)
            for one, own in zip(logs, before, strict=True):
                one.removeFilter(_without_traceback)
                vars(one)["console"] = own


def _without_traceback(record: logging.LogRecord) -> bool:
    """A filter of log records: what the project raises on purpose says in a sentence what is wrong."""
    if record.exc_info and isinstance(record.exc_info[1], NightdeskError):
        record.exc_info = record.exc_text = None
    return True


class _Epochs(logging.Handler):
    """Moves a bar with the records of a training's epochs."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._bar: TaskID | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show the epoch that a record speaks of."""
        done, total = getattr(record, "done", None), getattr(record, "total", None)
        if self._bar is None:
            self._bar = self._progress.add_task("training", total=total)
        self._progress.update(self._bar, completed=done, total=total, description=record.getMessage())
