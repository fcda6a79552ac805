"""How a training tells where it stands: a line an epoch in the run's `progress.jsonl`, and the same to whoever follows the log.

The file outlives the worker that wrote it and is read from another process, so it is the one way news of an epoch travels. A log record
carries `epoch` and `epochs`, so that a command line can draw a bar from it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.training import Progress

logger = logging.getLogger(__name__)

PROGRESS = "progress.jsonl"
LOOK_EVERY_SECONDS = 1.0


def note(folder: Path, progress: Progress, *, started_at_epoch: int) -> None:
    """Add a line about an epoch to the run's `progress.jsonl`."""
    line = {
        **dataclasses.asdict(progress),
        "metrics": dict(progress.metrics),
        "started_at_epoch": started_at_epoch,
        "pid": os.getpid(),
    }
    with (folder / PROGRESS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")


def follow(training: Future[Any], folder: Path, *, epochs: int) -> None:
    """Log each epoch of a training as its line appears in `folder`, until the training has ended; what it raised is not raised here."""
    seen = len(_lines(folder))
    ended = False
    while not ended:
        ended = bool(wait([training], timeout=LOOK_EVERY_SECONDS).done)
        for line in _lines(folder)[seen:]:
            seen += 1
            say(json.loads(line), epochs=epochs)


def say(line: dict[str, Any], *, epochs: int) -> None:
    """Log one epoch of at most `epochs`."""
    figures = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(line["metrics"].items()) if name.endswith(("_f1", "loss"))
    )
    extra = {"epoch": line["epoch"], "epochs": epochs}
    logger.info("epoch %d of at most %d: %s", line["epoch"], epochs, figures, extra=extra)


def _lines(folder: Path) -> list[str]:
    """The whole lines written so far."""
    path = folder / PROGRESS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()
