"""Texts without labels in, a trunk that has read them out.

The texts are gathered from the lake and from files (tasks.unlabelled), written down once (tasks.corpus), and learnt from under Ray Train with
any number of workers, or in this process with none; run again, it resumes at the last checkpoint, and a finished adaptation is found and
not repeated.

Not covered: mixing in general texts against forgetting, or weighting of sources.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import output as outputs
from tasks.cluster import AdaptRun, ClusterConfig, adapt_on_ray
from tasks.cluster.progress import note, say_step
from tasks.corpus import Corpus
from tasks.step import step
from tasks.unlabelled import Unlabelled, gather

if TYPE_CHECKING:
    from models.adapting import AdaptProgress, AdaptRecipe

logger = logging.getLogger(__name__)

CHECKPOINT = "latest-checkpoint"


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A finished adaptation: its trunk's directory, counts of documents, and the held-out figures, named OBJECTIVE.FIGURE."""

    trunk: str
    learnt: int
    held_out: int
    repeated: int
    unreadable: int
    excepted: int
    steps: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{self.steps} steps over {self.learnt} documents, {self.held_out} held out"


@step("adapt")
def adapt(
    source: Unlabelled,
    *,
    trunk: str,
    recipe: AdaptRecipe,
    storage: str,
    cluster: ClusterConfig,
    workers: int = 1,
    allow_hub: bool = False,
) -> Adapted:
    """Let a trunk learn from texts.

    Args:
        source: where the texts come from.
        trunk: "minilm", a directory, or a hub name.
        recipe: what is learnt, and how.
        storage: a directory for texts, checkpoints and finished adaptations, shared by all machines of a cluster.
        cluster: how Ray is started.
        workers: of Ray Train; 0 adapts in this process.
        allow_hub: let the trunk be fetched from a hub.

    Raises:
        Fatal: a file is not there, there are too few texts, or they do not suit the objectives.
        TrainingFailed: Ray lost its workers too often; run it again.
    """
    from models.adapting import read_manifest

    gathered = gather(source)
    texts = gathered.texts
    logger.info("%d documents to learn from, %d held out", len(texts.train), len(texts.dev))
    run = AdaptRun(
        trunk=trunk,
        corpus=Corpus.write(texts, Path(storage) / "texts"),
        recipe=recipe,
        storage=Path(storage),
        workers=max(workers, 1),
        allow_hub=allow_hub,
    )
    adapted = adapt_on_ray(run, cluster=cluster) if workers else _adapt_here(run)
    manifest = read_manifest(adapted)
    return Adapted(
        trunk=str(adapted),
        learnt=len(texts.train),
        held_out=len(texts.dev),
        repeated=gathered.repeated,
        unreadable=gathered.unreadable,
        excepted=gathered.excepted,
        steps=manifest.steps,
        before=manifest.before,
        after=manifest.after,
    )


def _adapt_here(run: AdaptRun) -> Path:
    """`adapt` in this process, resuming at the last checkpoint; a finished run returns at once."""
    from models.adapting import adapt as learn
    from models.checkpoint import standing

    if run.finished():
        return run.adapted
    run.folder.mkdir(parents=True, exist_ok=True)
    pointer = run.folder / CHECKPOINT

    def on_checkpoint(progress: AdaptProgress, checkpoint: Path | None) -> None:
        pointer.write_text(str(checkpoint), encoding="utf-8")
        note(run.folder, progress)
        say_step(asdict(progress))

    return learn(
        trunk=run.trunk,
        texts=run.corpus.read(),
        recipe=run.recipe,
        output=run.adapted,
        on_checkpoint=on_checkpoint,
        resume_from=standing(Path(pointer.read_text(encoding="utf-8"))) if pointer.is_file() else None,
        allow_hub=run.allow_hub,
    )


def refuse_to_overwrite(output: Path) -> None:
    """Raise where `output` holds something that is no adapted trunk."""
    outputs.refuse_to_overwrite(output, mark="adapt.json", what="adapted trunk")


def copy_trunk(trunk: Path, output: Path) -> None:
    """Put a copy of an adapted trunk at `output`; what is no adapted trunk there is never replaced."""
    outputs.copy_result(trunk, output, mark="adapt.json", what="adapted trunk")
