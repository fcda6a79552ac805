"""How a training tells where it stands: a line an epoch in the run's `progress.jsonl`, and the same to whoever follows the log.

The file outlives the worker that wrote it and is read from another process, so it is the one way news of an epoch travels. A log record
carries `epoch` and `epochs`, so that a command line can draw a bar from it; an adaptation, which has checkpoints within epochs, puts its
steps there.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.adapting import AdaptProgress
    from models.training import Progress

logger = logging.getLogger(__name__)

PROGRESS = "progress.jsonl"
LOOK_EVERY_SECONDS = 1.0


def note(folder: Path, progress: Progress | AdaptProgress, **started: int) -> None:
    """Add a line to the run's `progress.jsonl`; `started` says where this process began, if `progress` does not."""
    line = {
        **dataclasses.asdict(progress),
        "metrics": dict(progress.metrics),
        **started,
        "pid": os.getpid(),
    }
    with (folder / PROGRESS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")


def follow(training: Future[Any], folder: Path, *, say: Callable[[dict[str, Any]], None]) -> None:
    """Say each line of a training as it appears in `folder`, until the training has ended; what it raised is not raised here."""
    seen = len(_lines(folder))
    ended = False
    while not ended:
        ended = bool(wait([training], timeout=LOOK_EVERY_SECONDS).done)
        for line in _lines(folder)[seen:]:
            seen += 1
            say(json.loads(line))


def say(line: dict[str, Any], *, epochs: int) -> None:
    """Log one epoch of at most `epochs`, or a checkpoint within one."""
    extra = {"epoch": line["epoch"], "epochs": epochs}
    if line.get("epoch_step"):
        logger.info("epoch %d, step %d of it: a checkpoint", line["epoch"] + 1, line["epoch_step"], extra=extra)
        return
    figures = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(line["metrics"].items()) if name.endswith(("_f1", "loss"))
    )
    logger.info("epoch %d of at most %d: %s", line["epoch"], epochs, figures, extra=extra)


def say_step(line: dict[str, Any]) -> None:
    """Log one checkpoint of an adaptation."""
    figures = ", ".join(f"{name} {value:.3f}" for name, value in sorted(line["metrics"].items()) if "loss" in name)
    extra = {"epoch": line["step"], "epochs": line["steps"]}
    logger.info("step %d of %d: %s", line["step"], line["steps"], figures, extra=extra)


def _lines(folder: Path) -> list[str]:
    """The whole lines written so far."""
    path = folder / PROGRESS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()
