"""Labelled files in, a trained bundle out.

Every line is held to the labelled-data contract first: what is no example, or breaks a rule, is left out and written to a file with its
reason; above a limit nothing is trained. A training example whose text also stands in the dev part is left out too, since a model is not to be
chosen by what it has learnt by heart. Training runs under Ray Train with any number of workers, or in this process with none;
run again, it resumes at the last finished epoch, and a finished training is found and not repeated.

Not covered: weighting of data sets, and cleaning of labels.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import ContractBroken, Fatal
from data_contracts.labelled import Example, Labelled, NerExample, Rejected, read_labelled
from tasks.cluster import ClusterConfig, TrainingRun, train_on_ray
from tasks.cluster.progress import note, say
from tasks.step import step

if TYPE_CHECKING:
    from models.training import Progress, Recipe, TaskData

logger = logging.getLogger(__name__)

MAX_REJECTED_SHARE = 0.05
CHECKPOINT = "latest-checkpoint"


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """A task's labelled JSONL files: for fitting, and for choosing."""

    train: tuple[str, ...]
    dev: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Read:
    """Examples of several files of one part, and how many lines were left out."""

    examples: tuple[Example, ...]
    rejected: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training: its bundle's directory, and counts by task."""

    bundle: str
    tasks: tuple[str, ...]
    examples: Mapping[str, int]
    rejected: Mapping[str, int]
    in_dev_too: Mapping[str, int]


@step("train")
def train(
    files: Mapping[str, LabelledFiles],
    *,
    trunk: str,
    recipe: Recipe,
    storage: str,
    cluster: ClusterConfig,
    workers: int = 1,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    allow_hub: bool = False,
) -> Trained:
    """Train one trunk with a head for each task of `files`.

    Args:
        files: labelled files by task ("sentiment", "ner").
        trunk: "minilm", a directory, or a hub name.
        recipe: how to train.
        storage: a directory for checkpoints and finished trainings, shared by all machines of a cluster.
        cluster: how Ray is started.
        workers: of Ray Train; 0 trains in this process.
        max_rejected_share: of a file's lines, 0 to 1.
        allow_hub: let the trunk be fetched from a hub.

    Raises:
        ContractBroken: more than `max_rejected_share` of a file is no labelled example.
        TrainingFailed: Ray lost its workers too often; run it again.
    """
    data: dict[str, TaskData] = {}
    rejected, leaked = {}, {}
    for task, parts in sorted(files.items()):
        read = {
            part: read_part(paths, task, rejects=Path(storage) / "rejected", max_rejected_share=max_rejected_share)
            for part, paths in (("train", parts.train), ("dev", parts.dev))
        }
        data[task], leaked[task] = _apart(read["train"].examples, read["dev"].examples)
        rejected[task] = read["train"].rejected + read["dev"].rejected
    run = TrainingRun(
        trunk=trunk, data=data, recipe=recipe, storage=Path(storage), workers=max(workers, 1), allow_hub=allow_hub
    )
    bundle = train_on_ray(run, cluster=cluster) if workers else _train_here(run)
    return Trained(
        bundle=str(bundle),
        tasks=tuple(sorted(data)),
        examples={task: len(parts.train) for task, parts in data.items()},
        rejected=rejected,
        in_dev_too=leaked,
    )


def read_part(
    paths: Sequence[str], task: str, *, rejects: Path, max_rejected_share: float = MAX_REJECTED_SHARE
) -> Read:
    """The examples of some files of a task; lines left out go to a file under `rejects` with their reasons.

    Raises:
        ContractBroken: too many of a file's lines are no example.
        Fatal: there is no such file, or no example in any.
    """
    examples: list[Example] = []
    left_out = 0
    for path in paths:
        kept, rejected = held_to_contract(_read(path, task))
        if rejected:
            left_out += len(rejected)
            where = _write_rejects(rejected, path, task, rejects)
            share = len(rejected) / (len(rejected) + len(kept))
            said = f"{path}: {len(rejected)} of {len(rejected) + len(kept)} lines are no {task} example; they are in {where}"
            if share > max_rejected_share:
                first = rejected[0]
                raise ContractBroken(
                    f"{said}; allowed is a share of {max_rejected_share:.0%}. Line {first.line}: {first.reason}"
                )
            logger.warning("%s; left out", said)
        examples.extend(kept)
    if not examples:
        raise Fatal(
            f"no {task} example in {', '.join(paths) or 'no file'}; at least one is needed for training and one for dev"
        )
    return Read(examples=tuple(examples), rejected=left_out)


def _read(path: str, task: str) -> Labelled:
    if not Path(path).is_file():
        raise Fatal(f"no labelled file {path!r} for {task}; a JSONL file is needed")
    return read_labelled(path, task)


def held_to_contract(labelled: Labelled) -> tuple[list[Example], list[Rejected]]:
    """The examples that keep every rule of the contract, and the lines that do not, in the file's order."""
    from data_contracts.labelled_check import check_labelled

    rejected = list(labelled.rejected)
    if not labelled.examples:
        return [], rejected
    verdict = check_labelled(labelled)
    broken = dict(
        zip(verdict.failed["line"].to_pylist(), zip(verdict.reasons, verdict.details, strict=True), strict=True)
    )
    kept = []
    for example, line in zip(labelled.examples, labelled.lines, strict=True):
        if line in broken:
            rejected.append(Rejected(line=line, reason=": ".join(broken[line]), text=repr(example)[:2_000]))
        else:
            kept.append(example)
    return kept, sorted(rejected, key=lambda one: one.line)


def _write_rejects(rejected: Sequence[Rejected], path: str, task: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(
        json.dumps({"file": path, "line": one.line, "reason": one.reason, "text": one.text}, ensure_ascii=False) + "\n"
        for one in rejected
    )
    name = f"{task}-{Path(path).stem}-{hashlib.sha256(str(Path(path).absolute()).encode()).hexdigest()[:8]}.jsonl"
    (folder / name).write_text(lines, encoding="utf-8", errors="replace")
    return folder / name


def _apart(train_part: Sequence[Example], dev_part: Sequence[Example]) -> tuple[TaskData, int]:
    """Train without the texts of dev, dev, and how many were left out."""
    from models.contamination import text_hash
    from models.training import TaskData

    known = {text_hash(_text(example)) for example in dev_part}
    apart = [example for example in train_part if text_hash(_text(example)) not in known]
    leaked = len(train_part) - len(apart)
    if leaked:
        logger.warning("%d of %d training texts stand in the dev part too; left out", leaked, len(train_part))
    return TaskData(apart, dev_part), leaked


def _text(example: Example) -> str:
    return " ".join(example.tokens) if isinstance(example, NerExample) else example.text


def _train_here(run: TrainingRun) -> Path:
    """`fit` in this process, resuming at the last finished epoch; a finished run returns at once."""
    from models.training import fit

    if run.finished():
        return run.bundle
    run.folder.mkdir(parents=True, exist_ok=True)
    pointer = run.folder / CHECKPOINT
    started: list[int] = []

    def on_epoch(progress: Progress, checkpoint: Path | None) -> None:
        started.append(progress.epoch - 1)
        pointer.write_text(str(checkpoint), encoding="utf-8")
        note(run.folder, progress, started_at_epoch=started[0])
        say({"epoch": progress.epoch, "metrics": progress.metrics}, epochs=run.recipe.epochs)

    last = Path(pointer.read_text(encoding="utf-8")) if pointer.is_file() else None
    resume_from = last if last is not None and (last / "state.json").is_file() else None
    return fit(
        trunk=run.trunk,
        data=run.data,
        recipe=run.recipe,
        output=run.bundle,
        on_epoch=on_epoch,
        resume_from=resume_from,
        allow_hub=run.allow_hub,
    )
