"""How a training tells where it stands: a line an epoch in the run's `progress.jsonl`, and the same to whoever follows the log.

The file outlives the worker that wrote it and is read from another process, so it is the one way news of an epoch travels. A log record
carries `done` and `total`, epochs or an adaptation's steps, from which a command line draws a bar and a run's page its progress.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.adapting import AdaptProgress
    from models.throughput import Throughput
    from models.training import Progress

logger = logging.getLogger(__name__)

PROGRESS = "progress.jsonl"
LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch that is done: its figures on dev and its losses, and how fast its steps went."""

    metrics: Mapping[str, float]
    throughput: Throughput


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


def epochs(folder: Path) -> tuple[Epoch, ...]:
    """The epochs of a training, in order; of one that was gone on with, the throughput is of the steps that the last process took."""
    from models.throughput import Throughput

    lines = {line["epoch"]: line for line in map(json.loads, _lines(folder)) if not line["epoch_step"]}
    return tuple(
        Epoch(metrics=lines[epoch]["metrics"], throughput=Throughput(**lines[epoch].get("throughput", {})))
        for epoch in sorted(lines)
    )


def by_epoch(epoch: Epoch) -> dict[str, float]:
    """An epoch's figures by the names that a registry keeps them under."""
    return {f"epoch.{name}": value for name, value in {**epoch.metrics, **epoch.throughput.figures()}.items()}


def over_all(done: Sequence[Epoch]) -> dict[str, float]:
    """How fast all epochs together went, by name; empty where none is known."""
    throughput = sum((one.throughput for one in done[1:]), done[0].throughput) if done else None
    return {} if throughput is None else {f"training.{name}": value for name, value in throughput.figures().items()}


def say(line: dict[str, Any], *, epochs: int) -> None:
    """Log one epoch of at most `epochs`, or a checkpoint within one."""
    extra = {"done": line["epoch"], "total": epochs}
    if line.get("epoch_step"):
        logger.info("epoch %d, step %d of it: a checkpoint", line["epoch"] + 1, line["epoch_step"], extra=extra)
        return
    figures = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(line["metrics"].items()) if name.endswith(("_f1", "loss"))
    )
    tokens, seconds = line["throughput"]["tokens"], line["throughput"]["seconds"]
    speed = f", {tokens / seconds:,.0f} tokens a second" if seconds else ""
    logger.info("epoch %d of at most %d: %s%s", line["epoch"], epochs, figures, speed, extra=extra)


def say_step(line: dict[str, Any]) -> None:
    """Log one checkpoint of an adaptation."""
    figures = ", ".join(f"{name} {value:.3f}" for name, value in sorted(line["metrics"].items()) if "loss" in name)
    extra = {"done": line["step"], "total": line["steps"]}
    logger.info("step %d of %d: %s", line["step"], line["steps"], figures, extra=extra)


def _lines(folder: Path) -> list[str]:
    """The whole lines written so far."""
    path = folder / PROGRESS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()
