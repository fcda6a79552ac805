"""Bundles that have the same trunk, as one: what several heads learnt over a frozen trunk, or a joint bundle that was narrowed to single tasks.

One pass of the trunk then serves the heads of all. Bundles share where files and windows say that nothing before the heads differs: weights, word
shapes, a learnt prefix, tokenizer, lengths, reading. An ensemble shares with none. Does not cover: trunks that are equal in part.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open
from torch import nn

from models.bundle import Bundle
from models.network import Network

_BEFORE_HEADS = ("trunk/config.json", "trunk/model.safetensors", "tokenizer.json")


@dataclass(frozen=True)
class Together(Bundle):
    """Bundles of different tasks with the same trunk, which lie where they did; `path` is the first one's."""

    parts: tuple[Bundle, ...] = ()

    def network(self) -> Network:
        """The first one's network with the heads of all."""
        networks = [part.network() for part in self.parts]
        heads = {task: network.head(task) for network in networks for task in network.tasks}
        networks[0].heads = nn.ModuleDict(dict(sorted(heads.items())))
        return networks[0].eval()

    def training_texts(self, task: str) -> frozenset[str]:
        """Hashes of the texts a task learnt from."""
        return frozenset().union(*(part.training_texts(task) for part in self.parts))


def together(bundles: Sequence[Bundle]) -> list[Bundle]:
    """The bundles, those that share a trunk as one, in the order of their first."""
    groups: dict[str, list[Bundle]] = {}
    for number, bundle in enumerate(bundles):
        groups.setdefault(_before_heads(bundle) or str(number), []).append(bundle)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups.values()]


def _joined(bundles: Sequence[Bundle]) -> Bundle:
    first = bundles[0]
    by_task: dict[str, Any] = {
        name: {task: value for one in bundles for task, value in getattr(one.manifest, name).items()}
        for name in ("labels", "temperatures", "examples", "metrics", "ece_before")
    }
    digest = hashlib.sha256("\n".join(sorted(one.digest for one in bundles)).encode()).hexdigest()
    manifest = dataclasses.replace(first.manifest, **by_task, digest=digest)
    return Together(first.path, manifest, tuple(bundles))


def _before_heads(bundle: Bundle) -> str | None:
    """A hash of everything that tells its windows and hidden states from another's; None of an ensemble."""
    manifest = bundle.manifest
    if manifest.members:
        return None
    read = (manifest.word_shapes, manifest.max_length, manifest.overlap, manifest.reading, manifest.quantization)
    digest = hashlib.sha256(repr((read, [manifest.files[name] for name in _BEFORE_HEADS])).encode())
    with safe_open(bundle.path / "heads.safetensors", framework="numpy") as stored:
        for name in sorted(name for name in stored.keys() if name.startswith("trunk.")):  # noqa: SIM118 - no mapping
            digest.update(name.encode() + stored.get_tensor(name).tobytes())
    return digest.hexdigest()
