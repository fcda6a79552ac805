"""A model made smaller: weights of eight bits, small weights left out, or whole heads and neurons, with a fine-tune after.

The methods stand in models.compress, one a file. What was saved and what it cost is weighed beside the original in the same run, on the dev part.
A pruned model learns again from the training files with its own recipe, as long as the plan says, by tasks.train: resumable, and with the
original as its teacher where that is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from data_contracts.errors import Fatal
from tasks.cluster import ClusterConfig
from tasks.narrow import narrowed
from tasks.step import step
from tasks.train import MAX_REJECTED_SHARE, LabelledFiles, Trained, read_files, read_part, train

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.compress.report import CompressionReport
    from models.plans import Plan
    from models.recipe import TaskData

Method: TypeAlias = Literal["int8", "magnitude", "structured"]
METHODS = ("int8", "magnitude", "structured")


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How a model is made smaller.

    Attributes:
        method: "int8", "magnitude" or "structured".
        share: of the weights (magnitude) or of heads and neurons (structured) to leave out, 0 to 1.
        taught: whether the original teaches beside the labels while a pruned model learns again.
    """

    method: Method
    share: float = 0.3
    taught: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise Fatal(f"compress by {self.method!r}; allowed: {', '.join(METHODS)}")


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """The smaller model's directory, what it weighs beside the original, and the plan by which it learnt again (None: it did not)."""

    bundle: str
    plan: Plan | None
    report: CompressionReport

    @property
    def said(self) -> str:
        """What was saved and what it cost, in a line."""
        return self.report.sentence()


@step("compress")
def compress(
    model: str,
    files: Mapping[str, LabelledFiles],
    *,
    compression: Compression,
    plan: Plan,
    storage: str,
    cluster: ClusterConfig,
    workers: int = 1,
    max_rejected_share: float = MAX_REJECTED_SHARE,
) -> Compressed:
    """Make a model smaller and weigh it.

    Args:
        model: its bundle's directory; only the heads of the tasks of `files` are taken.
        files: labelled files by task: to learn again from, and to calibrate and measure on.
        compression: the method, and how much.
        plan: how a pruned model learns again; what belongs to the model itself (windows, features) stays as it is.
        storage: a directory for checkpoints and what comes out, shared by all machines of a cluster.
        cluster: how Ray is started.
        workers: of Ray Train; 0 trains in this process.
        max_rejected_share: of a file's lines, 0 to 1.
    """
    from models.bundle import load
    from models.compress.report import compare

    bundle = load(narrowed(Path(model), tuple(files), Path(storage) / "narrowed"))
    data = (
        _dev_alone(files, storage=storage, max_rejected_share=max_rejected_share)
        if compression.method == "int8"
        else read_files(files, storage=storage, max_rejected_share=max_rejected_share).data
    )
    output = _made(bundle, data, compression, Path(storage) / "compressed")
    followed = None
    if compression.method != "int8":
        done = _learnt_again(
            output,
            bundle,
            files,
            compression,
            plan=plan,
            storage=storage,
            cluster=cluster,
            workers=workers,
            max_rejected_share=max_rejected_share,
        )
        output, followed = Path(done.bundle), done.plan
    report = compare(bundle.path, output, {task: parts.dev for task, parts in data.items()})
    return Compressed(bundle=str(output), plan=followed, report=report)


def _dev_alone(files: Mapping[str, LabelledFiles], *, storage: str, max_rejected_share: float) -> dict[str, TaskData]:
    """What a method that learns nothing looks at."""
    from models.recipe import TaskData

    rejects = Path(storage) / "rejected"
    return {
        task: TaskData((), read_part(parts.dev, task, rejects=rejects, max_rejected_share=max_rejected_share).examples)
        for task, parts in files.items()
    }


def _made(bundle: Bundle, data: Mapping[str, TaskData], compression: Compression, folder: Path) -> Path:
    """The compressed model before any fine-tune; one made before of the same model and dev examples is found again."""
    from models.compress.magnitude import prune_magnitude
    from models.compress.quantize import quantize
    from models.compress.structured import prune_structured
    from models.evaluation import data_hash

    dev = {task: parts.dev for task, parts in data.items()}
    train = {task: parts.train for task, parts in data.items()}
    seen = data_hash(
        [*(one for some in dev.values() for one in some), *(one for some in train.values() for one in some)]
    )
    share = "" if compression.method == "int8" else f"-{compression.share:g}"
    output = folder / f"{compression.method}{share}-{bundle.digest[:16]}-{seen}"
    if (output / "manifest.json").is_file():
        return output
    if compression.method == "int8":
        return quantize(bundle.path, output, dev)
    if compression.method == "magnitude":
        return prune_magnitude(bundle.path, output, dev, share=compression.share)
    return prune_structured(bundle.path, output, train, dev, share=compression.share)


def _learnt_again(
    pruned: Path,
    bundle: Bundle,
    files: Mapping[str, LabelledFiles],
    compression: Compression,
    *,
    plan: Plan,
    storage: str,
    cluster: ClusterConfig,
    workers: int,
    max_rejected_share: float,
) -> Trained:
    from models.compress.distil import Distillation

    manifest = bundle.manifest
    recipe = dataclasses.replace(
        plan.recipe,
        max_length=manifest.max_length,
        overlap=manifest.overlap,
        reading=manifest.reading,
        pooling=manifest.pooling,
        word_shapes=manifest.word_shapes,
        crf=manifest.crf,
        label_features=manifest.label_features,
    )
    return train.fn(
        files,
        trunk=str(pruned),
        plan=dataclasses.replace(plan, recipe=recipe),
        storage=storage,
        cluster=cluster,
        workers=workers,
        max_rejected_share=max_rejected_share,
        distillation=Distillation(teachers=(str(bundle.path),)) if compression.taught else None,
    )
