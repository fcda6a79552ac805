"""Labelled files in, a trained bundle out.

Every line is held to the labelled-data contract first: what is no example, or breaks a rule, is left out and written to a file with its
reason; above a limit nothing is trained. A training example whose text also stands in the dev part of any task is left out too, since a model
is not to be chosen by what its trunk has learnt by heart. Training runs under Ray Train with any number of workers, or in this process with
none; run again, it resumes at its last checkpoint, and a finished training is found and not repeated.

Not covered: weighting of data sets, and cleaning of labels.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import ContractBroken, Fatal
from data_contracts.labelled import Example, Labelled, NerExample, Rejected, read_labelled
from tasks.cluster import ClusterConfig, TrainingRun, train_on_ray
from tasks.cluster.progress import Epoch, epochs
from tasks.here import train_here
from tasks.step import step

if TYPE_CHECKING:
    from models.compress.distil import Distillation
    from models.plans import Plan
    from models.training import Recipe, TaskData

logger = logging.getLogger(__name__)

MAX_REJECTED_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """A task's labelled JSONL files: for fitting, for choosing, and those that join in the first epochs only."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    auxiliary: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Read:
    """Examples of several files of one part, and how many lines were left out."""

    examples: tuple[Example, ...]
    rejected: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training: its bundle's directory, the plan as it was followed, counts by task, and the epochs of all seeds in turn."""

    bundle: str
    plan: Plan
    tasks: tuple[str, ...]
    examples: Mapping[str, int]
    rejected: Mapping[str, int]
    in_dev_too: Mapping[str, int]
    epochs: tuple[Epoch, ...] = ()

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{len(self.epochs)} epochs over " + ", ".join(
            f"{n} {task} examples" for task, n in self.examples.items()
        )


@dataclass(frozen=True, kw_only=True)
class ReadFiles:
    """The examples of every task, those of dev apart; and by task, how many lines were left out, and how many training texts stood in dev."""

    data: Mapping[str, TaskData]
    rejected: Mapping[str, int]
    in_dev_too: Mapping[str, int]


def read_files(
    files: Mapping[str, LabelledFiles], *, storage: str, max_rejected_share: float = MAX_REJECTED_SHARE
) -> ReadFiles:
    """Labelled files by task as what a training takes; lines left out go to files under `storage`/rejected.

    Raises:
        ContractBroken: more than `max_rejected_share` of a file is no labelled example.
        Fatal: a task's training texts all stand in dev parts.
    """
    from models.contamination import text_hashes

    found: dict[str, dict[str, Read]] = {}
    for task, parts in sorted(files.items()):
        found[task] = {
            part: read_part(
                paths,
                task,
                rejects=Path(storage) / "rejected",
                max_rejected_share=max_rejected_share,
                entity_rows=part != "dev",
            )
            for part, paths in (("train", parts.train), ("dev", parts.dev), ("auxiliary", parts.auxiliary))
            if paths or part != "auxiliary"
        }
    known = text_hashes(example_text(example) for read in found.values() for example in read["dev"].examples)
    apart = {task: _apart(task, read, known) for task, read in found.items()}
    return ReadFiles(
        data={task: data for task, (data, _) in apart.items()},
        rejected={task: sum(one.rejected for one in read.values()) for task, read in found.items()},
        in_dev_too={task: leaked for task, (_, leaked) in apart.items()},
    )


def refuse_unread(data: Mapping[str, TaskData], recipe: Recipe) -> None:
    """Raise Fatal where auxiliary examples are given that no epoch of the recipe would read."""
    if any(parts.auxiliary for parts in data.values()) and not recipe.auxiliary_epochs:
        raise Fatal("auxiliary files are given, but the recipe's auxiliary_epochs is 0; allowed with them: 1 or more")


@step("train")
def train(
    files: Mapping[str, LabelledFiles],
    *,
    trunk: str,
    plan: Plan,
    storage: str,
    cluster: ClusterConfig,
    workers: int = 1,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    allow_hub: bool = False,
    distillation: Distillation | None = None,
) -> Trained:
    """Train one trunk with a head for each task of `files`.

    Args:
        files: labelled files by task.
        trunk: a name of models.starting: "minilm", "bilstm", "layers:3", a directory, a bundle, or a hub name.
        plan: how to train, and with how many seeds.
        storage: a directory for checkpoints and finished trainings, shared by all machines of a cluster.
        cluster: how Ray is started.
        workers: of Ray Train; 0 trains in this process.
        max_rejected_share: of a file's lines, 0 to 1.
        allow_hub: let the trunk be fetched from a hub.
        distillation: teachers to learn from beside the labels, see tasks.distil.

    Raises:
        ContractBroken: more than `max_rejected_share` of a file is no labelled example.
        TrainingFailed: Ray lost its workers too often; run it again.
    """
    read = read_files(files, storage=storage, max_rejected_share=max_rejected_share)
    data = read.data
    refuse_unread(data, plan.recipe)
    plan = plan.over(max(len(parts.train) for parts in data.values()))
    runs = [
        TrainingRun(
            trunk=trunk,
            data=data,
            recipe=recipe,
            storage=Path(storage),
            workers=max(workers, 1),
            allow_hub=allow_hub,
            distillation=distillation,
        )
        for recipe in plan.recipes()
    ]
    bundles = [train_on_ray(run, cluster=cluster) if workers else train_here(run) for run in runs]
    bundle = bundles[0] if len(bundles) == 1 else _averaged(bundles, data)
    return Trained(
        bundle=str(bundle),
        plan=plan,
        tasks=tuple(sorted(data)),
        examples={task: len(parts.train) for task, parts in data.items()},
        rejected=read.rejected,
        in_dev_too=read.in_dev_too,
        epochs=tuple(epoch for run in runs for epoch in epochs(run.folder)),
    )


def read_part(
    paths: Sequence[str],
    task: str,
    *,
    rejects: Path,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    entity_rows: bool = False,
) -> Read:
    """The examples of some files of a task; lines left out go to a file under `rejects` with their reasons.

    With `entity_rows`, files of sentiment may hold lines of entity_sentiment whose entities all share one label.

    Raises:
        ContractBroken: too many of a file's lines are no example.
        Fatal: there is no such file, or no example in any.
    """
    examples: list[Example] = []
    left_out = 0
    for path in paths:
        kept, rejected = held_to_contract(_read(path, task, entity_rows=entity_rows))
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


def _read(path: str, task: str, *, entity_rows: bool) -> Labelled:
    if not Path(path).is_file():
        raise Fatal(f"no labelled file {path!r} for {task}; a JSONL file is needed")
    return read_labelled(path, task, entity_rows=entity_rows)


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


def _averaged(bundles: Sequence[Path], data: Mapping[str, TaskData]) -> Path:
    """The average of several trainings, beside the first of them; one made before is found again."""
    from models.soup import soup

    output = bundles[0].parent / f"soup-of-{len(bundles)}"
    if not (output / "manifest.json").is_file():
        soup(bundles, output, dev={task: parts.dev for task, parts in data.items()})
    return output


def _apart(task: str, read: Mapping[str, Read], known: Collection[str]) -> tuple[TaskData, int]:
    """Train and auxiliary part without the texts `known` by their hash, those of every task's dev; dev; and how many were left out."""
    from models.contamination import text_hash
    from models.training import TaskData

    apart: dict[str, list[Example]] = {"auxiliary": []}
    leaked = 0
    for part in sorted(set(read) - {"dev"}):
        apart[part] = [example for example in read[part].examples if text_hash(example_text(example)) not in known]
        leaked += len(read[part].examples) - len(apart[part])
    if leaked:
        logger.warning("%s: %d training texts stand in a dev part too; left out", task, leaked)
    if not apart["train"]:
        raise Fatal(
            f"all {len(read['train'].examples)} {task} training texts stand in dev parts; another at least is needed"
        )
    return TaskData(apart["train"], read["dev"].examples, aligned(apart["auxiliary"], apart["train"])), leaked


def aligned(auxiliary: Sequence[Example], home: Sequence[Example]) -> list[Example]:
    """Auxiliary examples, their words of entity types that no home example has tagged O: the home annotators don't mark such things."""
    known = {"O", *(tag for example in home if isinstance(example, NerExample) for tag in example.tags)}
    return [
        replace(one, tags=tuple(tag if tag in known else "O" for tag in one.tags))
        if isinstance(one, NerExample)
        else one
        for one in auxiliary
    ]


def example_text(example: Example) -> str:
    """The text of a labelled example."""
    return " ".join(example.tokens) if isinstance(example, NerExample) else example.text
