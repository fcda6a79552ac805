"""An adapted trunk on disk: a directory that `--trunk` takes like any other, with a manifest of how it came to be.

    config.json, tokenizer.json and its kin   the parent's, unchanged
    model.safetensors                         the trunk's weights
    objectives.safetensors                    the objectives' heads, for a later adaptation to go on from
    adapt.json                                the manifest, written last

The directory is written beside its place and renamed. Does not cover: hashes of the texts learnt from, since a masked language model learns no
labels; who measures on sentences that stand among the texts, excepts them (tasks.unlabelled).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from data_contracts.errors import Fatal
from models.adaptation.network import HEADS, ObjectiveNetwork
from models.bundle import replace_directory
from models.encoder import Encoder, file_sha256

MANIFEST = "adapt.json"
_WEIGHTS, _CONFIG, _TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
_KIN = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_PARTS = (_CONFIG, _TOKENIZER, _WEIGHTS, HEADS)


class AdaptedRefused(Fatal):
    """The directory holds no adapted trunk, or not the one that its manifest speaks of."""


@dataclass(frozen=True, kw_only=True)
class AdaptManifest:
    """How a trunk was adapted. Figures are named OBJECTIVE.FIGURE (models.adaptation.figures) and are those of the held-out documents.

    Attributes:
        objectives: what it learnt.
        recipe: the whole recipe.
        parent: the trunk it began with, as it was named.
        parent_sha256: of that trunk's weights.
        warm_heads: parts of the objectives' heads that the parent's weights had; all others began anew.
        data: digest of all documents, in order, and of which are held out.
        documents, pieces, tokens: counts of the parts "train" and "dev"; pieces of a few tokens are in neither.
        steps: optimiser steps taken; best_step: the step whose weights these are, the one with the least held-out loss.
        before, after: the figures of the parent, and of these weights.
        files: sha256 by name.
    """

    objectives: tuple[str, ...]
    recipe: Mapping[str, Any]
    parent: str
    parent_sha256: str
    warm_heads: tuple[str, ...]
    data: str
    documents: Mapping[str, int]
    pieces: Mapping[str, int]
    tokens: Mapping[str, int]
    steps: int
    best_step: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    packages: Mapping[str, str]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created: str = ""


def weights_sha256(directory: Path) -> str:
    """What identifies a trunk's weights: the sha256 of its file, or of its files' where it has several."""
    files = sorted(path for path in directory.glob("*.safetensors") if path.name != HEADS)
    hashes = [file_sha256(path) for path in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def save(
    path: Path, *, parent: Path, network: ObjectiveNetwork, encoder: Encoder, manifest: AdaptManifest
) -> AdaptManifest:
    """Write an adapted trunk to `path`, replacing what is there, whole or not at all; `parent` is its parent's directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        draft.mkdir()
        for name in (_CONFIG, _TOKENIZER, *_KIN):
            if (parent / name).is_file():
                shutil.copyfile(parent / name, draft / name)
        if not (draft / _TOKENIZER).is_file():
            encoder.tokenizer.save(str(draft / _TOKENIZER))
        trunk, heads = network.parts()
        save_file(trunk, draft / _WEIGHTS, metadata={"format": "pt"})
        save_file(heads, draft / HEADS, metadata={"format": "pt"})
        done = dataclasses.replace(
            manifest,
            files={name: file_sha256(draft / name) for name in _PARTS},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        (draft / MANIFEST).write_text(
            json.dumps(dataclasses.asdict(done), indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        replace_directory(path, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return done


def read_manifest(directory: Path) -> AdaptManifest:
    """The manifest of an adapted trunk whose files are those that it names; AdaptedRefused with the reason where they are not."""
    try:
        fields = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        for name in ("objectives", "warm_heads"):
            fields[name] = tuple(fields[name])
        manifest = AdaptManifest(**fields)
        changed = [name for name, stated in manifest.files.items() if file_sha256(directory / name) != stated]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdaptedRefused(f"{directory} holds no adapted trunk: {error}") from error
    if changed:
        raise AdaptedRefused(f"{directory}: {', '.join(changed)} changed since {MANIFEST} was written")
    return manifest
