"""Has a model been trained on the texts it is measured with? Hashes of the training texts answer that without keeping the texts.

A text is hashed without its spaces and in lower case, since one corpus tokenises the sentences another quotes. Does not cover paraphrases,
or sentences quoted inside a longer text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def text_hash(text: str) -> str:
    """32 hex digits that stand for a text, whatever its spaces and case."""
    return hashlib.sha256("".join(text.split()).casefold().encode("utf-8", "replace")).hexdigest()[:32]


def text_hashes(texts: Iterable[str]) -> frozenset[str]:
    """The hashes of many texts."""
    return frozenset(text_hash(text) for text in texts)
