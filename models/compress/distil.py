"""A student learns from a teacher, or from several that answer together, beside the gold labels and from texts that nobody labelled.

Hinton, Vinyals and Dean 2015: loss = alpha * gold + (1 - alpha) * T^2 * KL(teacher at T || student at T), both softened by a temperature T.
The student is any trunk of models.starting: fewer layers (Sanh et al. 2019, DistilBERT) or a BiLSTM (Tang et al. 2019). Texts without
labels count in the second term alone. For word heads every word is taught by its logits, for CRF heads by its emissions, the gold path teaching
the steps. With `hidden`, the mean squared distance of the last hidden states is added, weighed by it (the simplest term of TinyBERT, Jiao et al.
2020); teacher and student must then be equally wide, and the teacher be one.

Teachers read the student's own windows, so they must share its tokenizer. What they say of a window is kept, so that each is asked once. Does not
cover: teachers of another tokenizer, attention maps, layers in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts.errors import Fatal
from models.batching import Batch, collate
from models.bundle import Bundle, load
from models.contamination import text_hash, text_hashes
from models.encoder import Encoder
from models.heads import IGNORED, Head
from models.jury import Jury, grouped
from models.network import Network
from models.tokens import Encoded
from models.windows import Window, cut

if TYPE_CHECKING:
    from models.items import Item
    from models.recipe import Recipe

_TOKENS = 4096  # of one pass of the teacher


class DistillationRefused(Fatal):
    """The teachers do not fit the student, or the numbers are out of range."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Who teaches, and how much it counts. `unlabelled` are texts; `teachers` are directories of bundles, in any order."""

    teachers: tuple[str, ...]
    alpha: float = 0.5  # share of the gold labels in the loss
    temperature: float = 2.0
    hidden: float = 0.0  # weight of the distance between last hidden states
    unlabelled: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.teachers or not 0 <= self.alpha <= 1 or self.temperature <= 0 or self.hidden < 0:
            raise DistillationRefused(
                f"{self}: allowed is one teacher at least, 0 <= alpha <= 1, temperature > 0 and hidden >= 0"
            )

    def fingerprint(self) -> str:
        """What decides a training through it, as text: teachers by digest, numbers, and the hashes of the texts in their order."""
        digests = sorted(load(path).digest for path in self.teachers)
        return "\n".join([*digests, repr(self.stated()), *map(text_hash, self.unlabelled)])

    def stated(self) -> dict[str, float]:
        """What a bundle keeps of it: numbers only."""
        return {
            "alpha": self.alpha,
            "temperature": self.temperature,
            "hidden": self.hidden,
            "unlabelled": len(self.unlabelled),
        }


class Lesson:
    """The teachers at work beside one training."""

    def __init__(self, plan: Distillation, student: Network, encoder: Encoder) -> None:
        bundles = sorted((load(path) for path in plan.teachers), key=lambda bundle: bundle.digest)
        for bundle in bundles:
            _fits(bundle, student, encoder)
        self.plan = plan
        self.bundles = bundles
        self.digests = tuple(bundle.digest for bundle in bundles)
        self.pad_id = encoder.pad_id
        self.teacher = Jury(
            [bundle.network() for bundle in bundles], [bundle.manifest.temperatures for bundle in bundles]
        )
        self.teacher.to(student.device).eval().requires_grad_(requires_grad=False)
        self._said: dict[tuple[str, bytes], torch.Tensor] = {}
        self._words: dict[bytes, NDArray[np.bool_]] = {}
        self._hidden: torch.Tensor | None = None
        if plan.hidden:
            _same_width(self.teacher, student)
            student.trunk.register_forward_hook(self._see)

    def _see(self, _module: nn.Module, _given: object, hidden: torch.Tensor) -> None:
        self._hidden = hidden

    def unlabelled(self, head: Head, encoder: Encoder, recipe: Recipe, *, like: Item) -> list[Item]:
        """The texts without labels as items whose targets, shaped as those of `like`, are all IGNORED."""
        if self.plan.unlabelled and head.level == "document":
            raise DistillationRefused(f"{head.task} learns nothing from texts without labels; allowed: none")
        made: list[Item] = []
        for text in encoder.encode(self.plan.unlabelled):
            for window in cut(
                text, encoder, max_length=recipe.max_length, overlap=recipe.overlap, reading=head.reading
            ):
                self._words[window.key] = _first_tokens(text, window)
                length = len(window.ids) if head.level == "word" else len(like.targets[0])
                nothing = np.full((length, *like.targets[0].shape[1:]), IGNORED, dtype=np.int64)
                made.append(type(like)((window,), (nothing,)))
        return made

    def learnt(self) -> frozenset[str]:
        """Hashes of the texts that reach the student through its teachers, and of those without labels."""
        return text_hashes(self.plan.unlabelled).union(*(bundle.learnt() for bundle in self.bundles))

    def blend(
        self, head: Head, items: Sequence[Item], batch: Batch, logits: torch.Tensor, gold: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch from its loss on gold labels and the student's logits (windows, outputs) or (windows, tokens, outputs)."""
        plan = self.plan
        with torch.no_grad():
            taught = self._teach(head, items, batch)
        counts = self._counted(head, items, batch).to(logits.device)
        apart = divergence(head, logits.float(), taught.to(logits.device), plan.temperature)
        soft = (apart * counts).sum() / counts.sum().clamp(min=1.0) * plan.temperature**2
        loss = plan.alpha * gold + (1.0 - plan.alpha) * soft
        if plan.hidden:
            loss = loss + plan.hidden * self._distance(batch)
        return loss

    def _teach(self, head: Head, items: Sequence[Item], batch: Batch) -> torch.Tensor:
        """The teachers' logits, shaped as the student's; those of a document are not kept."""
        if head.level == "document":
            together: torch.Tensor = self.teacher(head.task, batch)
            return together
        windows = [window for item in items for window in item.windows]
        missing = {window.key: window for window in windows if (head.task, window.key) not in self._said}
        new = list(missing.values())
        step = max(1, _TOKENS // batch.ids.shape[1])
        for begin in range(0, len(new), step):
            part = new[begin : begin + step]
            answers = self.teacher(head.task, collate(part, pad_id=self.pad_id, device=batch.ids.device))
            for window, answer in zip(part, answers, strict=True):
                kept = answer[: len(window.ids)] if head.level == "word" else answer
                self._said[head.task, window.key] = kept.float().cpu().clone()
        said = [self._said[head.task, window.key] for window in windows]
        return nn.utils.rnn.pad_sequence(said, batch_first=True) if head.level == "word" else torch.stack(said)

    def _counted(self, head: Head, items: Sequence[Item], batch: Batch) -> torch.Tensor:
        """1 for each row of the logits that is taught: all windows, or the first tokens of words."""
        if head.level != "word":
            return torch.ones(len(batch.ids))
        counts = torch.zeros(batch.ids.shape)
        rows = [pair for item in items for pair in zip(item.windows, item.targets, strict=True)]
        for row, (window, target) in enumerate(rows):
            words = (target if target.ndim == 1 else target[:, 0]) != IGNORED
            if not words.any():
                words = self._words.get(window.key, words)
            counts[row, : len(words)] = torch.from_numpy(words).float()
        return counts

    def _distance(self, batch: Batch) -> torch.Tensor:
        assert self._hidden is not None
        member = self.teacher.members[0]
        assert isinstance(member, Network)
        with torch.no_grad():
            theirs = member.trunk(batch.ids, batch.mask, batch.shapes)
        mask = batch.mask.unsqueeze(-1)
        apart: torch.Tensor = ((self._hidden.float() - theirs.float()) ** 2 * mask).sum() / theirs.shape[-1]
        return apart / mask.sum().clamp(min=1)


def divergence(head: Head, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) in nats of each row (...), of logits (..., outputs) both divided by a temperature > 0; groups are added."""
    pairs = zip(grouped(head, student / temperature), grouped(head, teacher / temperature), strict=True)
    found = []
    for ours, theirs in pairs:
        wanted = theirs.log_softmax(dim=-1)
        found.append((wanted.exp() * (wanted - ours.log_softmax(dim=-1))).sum(dim=-1))
    return torch.stack(found).sum(dim=0)


def _first_tokens(text: Encoded, window: Window) -> NDArray[np.bool_]:
    """(len(window.ids),) whether a word begins at a token."""
    found = np.zeros(len(window.ids), dtype=bool)
    held = text.first[(text.first >= window.start) & (text.first < window.stop)]
    found[held - window.start + window.offset] = True
    return found


def _fits(bundle: Bundle, student: Network, encoder: Encoder) -> None:
    wrong: Mapping[str, bool] = {
        "another tokenizer": bundle.encoder().tokenizer.get_vocab() != encoder.tokenizer.get_vocab(),
        "not all of its tasks and labels": any(
            bundle.labels.get(task) != student.head(task).labels for task in student.tasks
        ),
    }
    for what, there in wrong.items():
        if there:
            raise DistillationRefused(
                f"the teacher {Path(bundle.path)} has {what}; the student has {', '.join(student.tasks)} and its trunk's tokenizer"
            )


def _same_width(teacher: Jury, student: Network) -> None:
    members = [member for member in teacher.members if isinstance(member, Network)]
    if len(members) != 1 or isinstance(members[0], Jury) or members[0].trunk.hidden_size != student.trunk.hidden_size:
        raise DistillationRefused(
            f"hidden states can be taught by one teacher as wide as the student ({student.trunk.hidden_size}); allowed else: hidden 0"
        )
