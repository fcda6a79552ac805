"""Windows gathered into batches by the number of tokens, longest first, so that little padding is computed and memory stays bounded.

Sorting by length makes the windows of a batch nearly equal; the budget bounds (longest window) x (windows of the batch). Every result is
put back by the caller at the index it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.windows import Window

CPU_TOKENS = 2_048  # a batch
GPU_TOKENS = 65_536  # a batch; BERT-base computes it in some 15 ms on an H200, by its peak

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one batch, int64, (windows, tokens of the longest) each; mask is 1 for what is not padding.

    `owners` (windows,) numbers the text each window belongs to, which only heads that read a text's windows together look at.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    shapes: torch.Tensor
    owners: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, start: int, stop: int) -> Batch:
        """Some of its windows, as wide as they are."""
        held = slice(start, stop)
        return Batch(self.ids[held], self.mask[held], self.shapes[held], self.owners[held])


def default_budget() -> int:
    """Tokens of a batch, padding included, where nobody says how many: GPU_TOKENS where this process has a GPU, else CPU_TOKENS."""
    return GPU_TOKENS if torch.cuda.is_available() else CPU_TOKENS


def plan(lengths: Sequence[int] | NDArray[np.int64], *, token_budget: int) -> list[list[int]]:
    """Indices into `lengths`, longest first, cut where one more would pass the budget; a window longer than the budget stands alone."""
    each = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-each, kind="stable")
    batches: list[list[int]] = []
    begin = 0
    while begin < len(order):
        stop = begin + max(1, token_budget // max(1, int(each[order[begin]])))
        batches.append(order[begin:stop].tolist())
        begin = stop
    return batches


def collate(
    windows: Sequence[Window],
    *,
    pad_id: int,
    owners: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> Batch:
    """One batch from windows, padded at the right to the longest; without `owners` every window is a text of its own."""
    longest = max(len(window.ids) for window in windows)
    ids = np.full((len(windows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), longest), dtype=np.int64)
    shapes = np.zeros((len(windows), longest), dtype=np.int64)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length], mask[row, :length], shapes[row, :length] = window.ids, 1, window.shapes
    owned = np.asarray(range(len(windows)) if owners is None else owners, dtype=np.int64)
    return Batch(*(there(torch.from_numpy(array), device) for array in (ids, mask, shapes, owned)))


def there(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A tensor of the CPU on a device; to a GPU by way of pinned memory, so that the caller goes on while it is copied."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def drawn(given: Sequence[_T], most: int) -> Sequence[_T]:
    """At most so many of what is given, evenly drawn."""
    return [given[place * len(given) // most] for place in range(most)] if len(given) > most else given
