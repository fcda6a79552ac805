"""Several networks that answer together: what an ensemble's bundle loads, and what a student learns from.

To everything that scores, measures or explains it is a network like any other: one pass gives each task's logits.

    text heads       the mean of the members' probabilities, each at its own temperature, as logits again (log p, or log p - log(1 - p) of a sigmoid)
    word heads       the same, word by word; what label features add depends on the text, so each member's are added to its own emissions when
                     a text's rows are put together (`joined`)
    with a CRF       the mean of the members' emissions; the parameters that decode (steps between tags, label features) are averaged
                     likewise, so that a path's score is the mean of what the members give it
    document heads   each member reads the windows together by itself; then as text heads

Averaged probabilities as in Lakshminarayanan et al. 2017, "deep ensembles". Members must read the same tokens. Does not cover: weights of the
members, majority votes; the mean over spans (a span's sentiment is read from its words' averaged probabilities); label features of teachers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batching import Batch
from models.heads import Head
from models.network import Network
from models.tokens import Encoded

_LEAST = 1e-12  # a probability below this is taken for it


def grouped(head: Head, logits: torch.Tensor) -> list[torch.Tensor]:
    """Logits (..., outputs) parted into those that share a softmax; a sigmoid of its own stands beside a 0, (..., 2)."""
    parts = torch.split(logits, list(head.groups()), dim=-1)
    return [torch.cat([torch.zeros_like(part), part], dim=-1) if part.shape[-1] == 1 else part for part in parts]


def averaged_probabilities(head: Head, logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Logits (..., outputs) whose probabilities are the mean of those of the members' logits, each (..., outputs)."""
    parts = []
    for group in zip(*(grouped(head, one) for one in logits), strict=True):
        mean = torch.stack([one.float().softmax(dim=-1) for one in group]).mean(dim=0).clamp(min=_LEAST).log()
        parts.append(mean)
    joined = [
        part[..., 1:] - part[..., :1] if size == 1 else part for part, size in zip(parts, head.groups(), strict=True)
    ]
    return torch.cat(joined, dim=-1)


class _Reading:
    """How the document heads of several members read a text's windows: each its own part of the vectors."""

    def __init__(self, heads: Sequence[Head], temperatures: Sequence[float], widths: Sequence[int]) -> None:
        self.heads, self.temperatures, self.widths = heads, temperatures, widths

    def __call__(self, vectors: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Vectors (windows, all widths), owners (windows,) -> logits (windows, outputs)."""
        parts = torch.split(vectors, list(self.widths), dim=-1)
        rows = [
            head.combine(part, owners) / t for head, part, t in zip(self.heads, parts, self.temperatures, strict=True)
        ]
        return averaged_probabilities(self.heads[0], rows)


class _Joining:
    """How the linear word heads of several members, each with its label features, answer for a text's words."""

    def __init__(self, heads: Sequence[Head], temperatures: Sequence[float]) -> None:
        self.heads, self.temperatures = heads, temperatures

    def __call__(self, encoded: Encoded, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows (words, (1 + members) * outputs), the members' logits behind the first outputs -> emissions (words, outputs)."""
        _, *parts = np.split(rows, 1 + len(self.heads), axis=1)
        members = zip(self.heads, parts, self.temperatures, strict=True)
        scaled = [torch.from_numpy(head.emissions(encoded, part) / temperature) for head, part, temperature in members]
        return averaged_probabilities(self.heads[0], scaled).double().numpy()


def _as_given(_encoded: Encoded, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Emissions to which each member's label features are added already."""
    return logits


def _joins(head: Head) -> bool:
    """Whether an ensemble of such heads answers for words only once it sees the text."""
    return head.level == "word" and not head.options.crf and bool(head.options.label_features)


class Jury(Network):
    """Networks of the same tasks and labels, and the temperature of each one's heads, by task."""

    def __init__(self, members: Sequence[Network], temperatures: Sequence[Mapping[str, float]]) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        self.temperatures = [dict(one) for one in temperatures]
        self.heads = nn.ModuleDict({task: self._together(task) for task in members[0].tasks})

    def _networks(self) -> list[Network]:
        return [cast(Network, member) for member in self.members]

    def _together(self, task: str) -> Head:
        """The head that answers: the first member's, with the mean of what all have learnt to decode with."""
        heads = [member.head(task) for member in self._networks()]
        mean = copy.deepcopy(heads[0])
        with torch.no_grad():
            for name, parameter in mean.named_parameters():
                same: list[torch.Tensor] = [dict(head.named_parameters())[name] for head in heads]
                if all(one.shape == parameter.shape for one in same):
                    parameter.copy_(torch.stack(same).double().mean(dim=0))
        answering: Any = mean
        if _joins(mean):
            answering.joined, answering.emissions = _Joining(heads, [one[task] for one in self.temperatures]), _as_given
        if mean.level == "document":
            widths = [member.trunk.hidden_size for member in self._networks()]
            answering.combine = _Reading(heads, [one[task] for one in self.temperatures], widths)
        return mean

    def _mean(self, task: str, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        if self.head(task).level == "word" and self.head(task).options.crf:
            return torch.stack(list(logits)).mean(dim=0)
        scaled = [one / temperature[task] for one, temperature in zip(logits, self.temperatures, strict=True)]
        return averaged_probabilities(self.head(task), scaled)

    def forward(self, task: str, batch: Batch) -> torch.Tensor:
        """One task's logits, (windows, outputs) or (windows, tokens, outputs)."""
        return self._mean(task, [member(task, batch) for member in self._networks()])

    def all_logits(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Every task's logits; of document heads the vectors of all members side by side, and where label features wait for
        the text, all members' logits behind the joint ones.
        """
        found = [member.all_logits(batch) for member in self._networks()]
        return {task: self._side_by_side(task, [one[task] for one in found]) for task in self.tasks}

    def _side_by_side(self, task: str, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        head = self.head(task)
        if head.level == "document":
            return torch.cat(list(logits), dim=-1)
        mean = self._mean(task, logits)
        return torch.cat([mean, *logits], dim=-1) if _joins(head) else mean
