"""What the lake remembers of the models behind its scores, so that a score or an alert can be explained when the model is long gone.

One small state document a model digest, written when the digest first scores a night: the manifests of its bundles without their file
lists. It does not keep weights; the registry does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.bundle import MANIFEST
from tasks.lake import Lake

SHOWN = (
    "digest",
    "trunk",
    "labels",
    "metrics",
    "temperatures",
    "examples",
    "max_length",
    "overlap",
    "reading",
    "pooling",
    "recipe",
    "packages",
    "created",
)


def remember(lake: Lake, digest: str, bundles: Sequence[str]) -> None:
    """Keep what the manifests of `bundles` say, under the digest that stands in the rows they scored."""
    if lake.read_state(_name(digest)) is None:
        manifests = [json.loads((Path(bundle) / MANIFEST).read_text(encoding="utf-8")) for bundle in bundles]
        kept = [{name: manifest[name] for name in SHOWN if name in manifest} for manifest in manifests]
        lake.write_state(_name(digest), json.dumps(kept, ensure_ascii=False))


def recall(lake: Lake, digest: str) -> list[Mapping[str, Any]]:
    """What was remembered of a digest, a mapping a bundle; empty when nothing was."""
    text = lake.read_state(_name(digest))
    found: list[Mapping[str, Any]] = json.loads(text) if text else []
    return found


def _name(digest: str) -> str:
    return f"model-{digest}"
