"""A trained model on disk: one directory, complete or not there at all, that says what it is and refuses to be loaded when it is not.

    trunk/config.json, trunk/model.safetensors   the encoder
    tokenizer.json                               the tokenizer it was trained with
    heads.safetensors                            the heads and, where used, the word-shape embedding
    training_texts.txt                           "task hash" of every text it has learnt from, see models.contamination
    manifest.json                                everything else, and the sha256 of the files above; written last

A bundle is written beside its place under a temporary name and renamed. Its digest is the sha256 of the manifest without `digest` and
`created`, so two trainings that gave the same model under the same circumstances have the same digest.

Does not cover: signing; a digest shows damage and mistakes, not malice.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from data_contracts.errors import Fatal
from models.encoder import Encoder, empty_trunk, file_sha256
from models.heads import UnknownHead, head_class
from models.manifest import FORMAT_VERSION, Manifest
from models.network import Network, Trunk

MANIFEST = "manifest.json"
_CONFIG, _WEIGHTS, _TOKENIZER = "trunk/config.json", "trunk/model.safetensors", "tokenizer.json"
_HEADS, _TEXTS = "heads.safetensors", "training_texts.txt"
_FILES = (_CONFIG, _WEIGHTS, _TOKENIZER, _HEADS, _TEXTS)


class BundleRefused(Fatal):
    """The directory is no bundle, is damaged, or was made for other labels or another format."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have been checked. `network` and `encoder` read them."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """What identifies the model."""
        return self.manifest.digest

    @property
    def heads(self) -> tuple[str, ...]:
        """Its tasks, sorted."""
        return tuple(sorted(self.manifest.labels))

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """The label order of each task."""
        return self.manifest.labels

    @property
    def max_length(self) -> int:
        """Tokens of a window, special tokens included."""
        return self.manifest.max_length

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Figures on the dev part it was chosen by, by task."""
        return self.manifest.metrics

    def encoder(self) -> Encoder:
        """Its tokenizer."""
        return Encoder.from_directory(self.path / "trunk", tokenizer_directory=self.path)

    def network(self) -> Network:
        """Its network, float32, on the CPU, ready to score."""
        try:
            trunk = Trunk(empty_trunk(self.path / "trunk"), word_shapes=self.manifest.word_shapes)
            network = Network(trunk, self.heads, dropout=0.0, pooling=self.manifest.pooling)
            trunk.encoder.load_state_dict(load_file(self.path / _WEIGHTS))
            rest = network.load_state_dict(load_file(self.path / _HEADS), strict=False)
        except (RuntimeError, SafetensorError, ValueError) as error:
            raise BundleRefused(f"the weights in {self.path} do not fit its configuration: {error}") from error
        missing = [name for name in rest.missing_keys if not name.startswith("trunk.encoder.")]
        if missing or rest.unexpected_keys:
            raise BundleRefused(f"{self.path / _HEADS}: missing {missing}, not expected {rest.unexpected_keys}")
        return network.eval()

    def training_texts(self, task: str) -> frozenset[str]:
        """Hashes of the texts a task learnt from."""
        lines = (self.path / _TEXTS).read_text(encoding="ascii").splitlines()
        return frozenset(line.split(" ", 1)[1] for line in lines if line.startswith(task + " "))


def load(path: str | Path) -> Bundle:
    """The bundle at `path`; BundleRefused, with the reason, where it is incomplete, damaged or made for something else."""
    path = Path(path)
    try:
        manifest = Manifest.from_json((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleRefused(f"{path} is no bundle: it has no {MANIFEST}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleRefused(f"{path / MANIFEST} is not a manifest of format {FORMAT_VERSION}: {error}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BundleRefused(f"{path} has the format {manifest.format_version}; this code reads {FORMAT_VERSION}")
    if manifest.digest != manifest.computed_digest():
        raise BundleRefused(
            f"{path / MANIFEST} was changed: its digest is {manifest.computed_digest()}, it states {manifest.digest}"
        )
    bundle = Bundle(path, manifest)
    _check_labels(bundle)
    _check_files(bundle)
    _check_vocabulary(bundle)
    return bundle


def _check_labels(bundle: Bundle) -> None:
    for task, labels in bundle.labels.items():
        try:
            ours = head_class(task).labels
        except UnknownHead as error:
            raise BundleRefused(f"{bundle.path} serves the task {task!r}: {error}") from error
        if labels != ours:
            raise BundleRefused(
                f"{bundle.path} has the {task} labels {', '.join(labels)}; allowed, in this order: {', '.join(ours)}"
            )


def _check_files(bundle: Bundle) -> None:
    for name in _FILES:
        stated, file = bundle.manifest.files.get(name), bundle.path / name
        if not file.is_file():
            raise BundleRefused(f"{bundle.path} lacks {name}")
        found = file_sha256(file)
        if found != stated:
            raise BundleRefused(f"{file} has the sha256 {found}; the manifest states {stated}")


def _check_vocabulary(bundle: Bundle) -> None:
    size = bundle.encoder().tokenizer.get_vocab_size()
    rows = int(json.loads((bundle.path / _CONFIG).read_text(encoding="utf-8")).get("vocab_size", 0))
    if size != bundle.manifest.vocabulary or size > rows:
        stated = f"the manifest states {bundle.manifest.vocabulary}, and the trunk has embeddings for {rows}"
        raise BundleRefused(f"the tokenizer in {bundle.path} has {size} entries; {stated}")


def save(
    path: str | Path,
    *,
    network: Network,
    encoder: Encoder,
    manifest: Manifest,
    training_texts: Mapping[str, frozenset[str]],
) -> Bundle:
    """Write a bundle to `path`, replacing what is there, atomically; `manifest` comes without files, created and digest."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        _write_files(draft, network, encoder, training_texts)
        files = {name: file_sha256(draft / name) for name in _FILES}
        manifest = dataclasses.replace(manifest, files=files, created=datetime.now(UTC).isoformat(timespec="seconds"))
        manifest = dataclasses.replace(manifest, digest=manifest.computed_digest())
        (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        replace_directory(path, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Bundle(path, manifest)


def _write_files(draft: Path, network: Network, encoder: Encoder, training_texts: Mapping[str, frozenset[str]]) -> None:
    (draft / "trunk").mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    inner = "trunk.encoder."
    trunk = {name.removeprefix(inner): tensor for name, tensor in weights.items() if name.startswith(inner)}
    heads: dict[str, torch.Tensor] = {name: tensor for name, tensor in weights.items() if not name.startswith(inner)}
    save_file(trunk, draft / _WEIGHTS, metadata={"format": "pt"})
    save_file(heads, draft / _HEADS, metadata={"format": "pt"})
    config: Any = network.trunk.encoder.config
    config.to_json_file(draft / _CONFIG, use_diff=False)
    encoder.tokenizer.save(str(draft / _TOKENIZER))
    lines = sorted(f"{task} {text}\n" for task, texts in training_texts.items() for text in texts)
    (draft / _TEXTS).write_text("".join(lines), encoding="ascii")


def _flush(directory: Path) -> None:
    for file in (*directory.rglob("*"), directory):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_directory(path: Path, draft: Path) -> None:
    """Put the directory `draft`, which lies beside `path`, in its place; what was there is deleted last, so a kill never loses both."""
    _flush(draft)
    old = draft.with_name(draft.name + ".old")
    if path.exists():
        path.rename(old)
    draft.rename(path)
    shutil.rmtree(old, ignore_errors=True)
