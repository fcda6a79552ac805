"""Word embeddings of which only the rows that the training texts hold learn: the same training, at less cost.

Of a vocabulary of 30,000 a labelled set uses a part. The other rows have no gradient, ever, yet a full table has them zeroed, measured for clipping
and moved by AdamW at every step: a tenth of a step on a CPU, more where sentences are short. `LearntRows` keeps the rows that can learn as
its parameter and the table as a buffer, and writes the one into the other whenever the table is looked at. Under the name of the
embedding it replaces it saves and loads one whole table, so bundles and checkpoints do not know of it.

One thing differs: rows that never occur are not pulled towards 0 by weight decay either, which in a training of 300 steps at 1e-4 is a
factor of 0.9998. Does not cover: tables that are tied to an output layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class LearntRows(nn.Module):
    """An embedding table (vocabulary, hidden) with some rows that learn."""

    def __init__(self, table: nn.Embedding, used: NDArray[np.int64]) -> None:
        super().__init__()
        # none is a buffer: what joins ranks would send buffers round at every step
        self.weight = table.weight.detach()
        self.used = torch.from_numpy(used).to(self.weight.device)
        self.place = torch.full((len(self.weight),), -1, dtype=torch.int64, device=self.weight.device)
        self.place[self.used] = torch.arange(len(used), device=self.weight.device)
        self.embedding_dim = table.embedding_dim
        padding = -1 if table.padding_idx is None else int(self.place[table.padding_idx])
        self.padding = padding if padding >= 0 else None
        self.rows = nn.Parameter(self.weight[self.used].clone())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (...) -> embeddings (..., hidden); a row that does not learn gives its value and takes no gradient."""
        if not self.training:
            self.flush()
            return nn.functional.embedding(ids, self.weight)
        places = self.place[ids]
        found = nn.functional.embedding(places.clamp(min=0), self.rows, padding_idx=self.padding)
        return torch.where((places >= 0).unsqueeze(-1), found, nn.functional.embedding(ids, self.weight))

    def flush(self) -> None:
        """Write what was learnt into the table."""
        with torch.no_grad():
            self.weight.index_copy_(0, self.used, self.rows.detach())

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: FBT001
        self.flush()
        destination[prefix + "weight"] = self.weight

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: Any, missing: list[str], *_: Any
    ) -> None:
        if prefix + "weight" not in state_dict:
            missing.append(prefix + "weight")
            return
        with torch.no_grad():
            self.weight.copy_(state_dict[prefix + "weight"])
            self.rows.copy_(self.weight[self.used])


def learn_rows(encoder: nn.Module, ids: Iterable[NDArray[np.int64]]) -> None:
    """Let only the rows of `ids` learn in an encoder whose word embeddings learn and are tied to nothing; else change nothing."""
    foreign: Any = encoder
    table = foreign.get_input_embeddings() if hasattr(encoder, "get_input_embeddings") else None
    if type(table) is not nn.Embedding or not table.weight.requires_grad or table.weight._backward_hooks:
        return
    holders = [name for name, one in encoder.named_parameters(remove_duplicate=False) if one is table.weight]
    if len(holders) == 1:
        foreign.set_input_embeddings(LearntRows(table, np.unique(np.concatenate(list(ids)))))
