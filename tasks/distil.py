"""A smaller model that learns from a larger one, or from several, beside the labels: labelled files, teachers and texts in, a bundle out.

The training is that of tasks.train with the same contract, the same resuming and the same launcher; what is learnt from teachers, and how, is said in
models.compress.distil. Texts without labels are held to nothing but being readable; those that stand in the dev part are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.labelled import Example
from tasks.cluster import ClusterConfig
from tasks.narrow import narrowed
from tasks.step import step
from tasks.train import MAX_REJECTED_SHARE, LabelledFiles, Trained, example_text, read_part, train
from tasks.unlabelled import texts_of

if TYPE_CHECKING:
    from models.plans import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Who teaches, and how much it counts.

    Attributes:
        teachers: bundles' directories; several answer together.
        unlabelled: files of texts without labels, as tasks.unlabelled reads them.
        column: of CSV files among them, the text's column.
        alpha: share of the gold labels in the loss, 0 to 1.
        temperature: by which both distributions are softened, above 0.
        hidden: weight of the distance between last hidden states, 0 or more; above 0 needs one teacher as wide as the student.
    """

    teachers: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    column: str | None = None
    alpha: float = 0.5
    temperature: float = 2.0
    hidden: float = 0.0


@step("distil")
def distil(
    files: Mapping[str, LabelledFiles],
    *,
    teaching: Teaching,
    student: str,
    plan: Plan,
    storage: str,
    cluster: ClusterConfig,
    workers: int = 1,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    allow_hub: bool = False,
) -> Trained:
    """Train a student for the tasks of `files`.

    Args:
        files: labelled files by task.
        teaching: the teachers, their texts and their weight.
        student: a name of models.starting, such as "bilstm" or "layers:3".
        plan: how to train, and with how many seeds.
        storage: a directory for checkpoints and finished trainings, shared by all machines of a cluster.
        cluster: how Ray is started.
        workers: of Ray Train; 0 trains in this process.
        max_rejected_share: of a file's lines, 0 to 1.
        allow_hub: let the student's trunk be fetched from a hub.

    Raises:
        ContractBroken: more than `max_rejected_share` of a file is no labelled example.
        DistillationRefused: a teacher does not fit the student.
    """
    from models.compress.distil import Distillation

    plain = Distillation(
        teachers=tuple(str(narrowed(Path(one), tuple(files), Path(storage) / "narrowed")) for one in teaching.teachers),
        alpha=teaching.alpha,
        temperature=teaching.temperature,
        hidden=teaching.hidden,
        unlabelled=_texts(teaching, files, storage=storage, max_rejected_share=max_rejected_share),
    )
    return train.fn(
        files,
        trunk=student,
        plan=plan,
        storage=storage,
        cluster=cluster,
        workers=workers,
        max_rejected_share=max_rejected_share,
        allow_hub=allow_hub,
        distillation=plain,
    )


def _texts(
    teaching: Teaching, files: Mapping[str, LabelledFiles], *, storage: str, max_rejected_share: float
) -> tuple[str, ...]:
    """The texts without labels that stand in no dev part."""
    if not teaching.unlabelled:
        return ()
    from models.contamination import text_hash

    found = texts_of(teaching.unlabelled, teaching.column)
    known = {
        text_hash(example_text(example))
        for task, parts in files.items()
        for example in _dev(parts.dev, task, storage, max_rejected_share)
    }
    apart = tuple(text for text in found if text_hash(text) not in known)
    if len(apart) < len(found):
        logger.warning("%d of %d texts stand in the dev part; left out", len(found) - len(apart), len(found))
    return apart


def _dev(paths: Sequence[str], task: str, storage: str, max_rejected_share: float) -> tuple[Example, ...]:
    return read_part(paths, task, rejects=Path(storage) / "rejected", max_rejected_share=max_rejected_share).examples
