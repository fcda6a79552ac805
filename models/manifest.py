"""What a bundle says of itself: labels, temperatures, windows, figures, how it was made, and the digest that names it.

Does not cover: reading a bundle's files or checking them; models.bundle does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from models.heads import HeadOptions
from models.windows import Reading

FORMAT_VERSION = 3
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says of itself. Lengths are tokens; metrics are those of the dev part, by task."""

    format_version: int = FORMAT_VERSION
    trunk: str
    labels: Mapping[str, tuple[str, ...]]
    temperatures: Mapping[str, float]
    max_length: int
    overlap: int
    reading: Reading  # how a text becomes windows, and what they weigh: models.windows
    pooling: str
    word_shapes: bool
    crf: bool = False
    label_features: tuple[str, ...] = ()
    trunk_kind: str = "bert"  # or "bilstm"
    quantization: str = ""  # or "int8"
    members: tuple[str, ...] = ()  # of an ensemble: the folders of its bundles
    teachers: tuple[str, ...] = ()  # digests of what it was distilled from
    vocabulary: int
    examples: Mapping[str, int]
    metrics: Mapping[str, Mapping[str, float]]
    ece_before: Mapping[str, float] = dataclasses.field(default_factory=dict)  # by task, before the temperature
    recipe: Mapping[str, Any]
    packages: Mapping[str, str]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created: str = ""
    digest: str = ""

    def computed_digest(self) -> str:
        """The sha256 of everything but `digest` and `created`, as canonical JSON."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name not in {"digest", "created"}}
        return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest of a JSON text; ValueError, TypeError or KeyError where it is none."""
        fields = json.loads(text)
        fields["labels"] = {task: tuple(labels) for task, labels in fields["labels"].items()}
        for name in ("label_features", "members", "teachers"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def head_options(self) -> HeadOptions:
        """How the heads are built, for use."""
        return HeadOptions(
            pooling=self.pooling, dropout=0.0, crf=self.crf, label_features=self.label_features, labels=self.labels
        )


def package_versions() -> dict[str, str]:
    """The versions of the packages a model depends on; without build tags, "absent" for what is not installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
