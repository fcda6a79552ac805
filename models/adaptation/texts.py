"""Documents without labels, in two parts, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """Unlabelled documents: to learn from, and held out to measure by."""

    train: Sequence[str]
    dev: Sequence[str]

    def digest(self) -> str:
        """The sha256 of all documents in order and of which part each is of."""
        digest = hashlib.sha256()
        for part in (self.train, self.dev):
            digest.update(f"{len(part)}\n".encode())
            for text in part:
                digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()
