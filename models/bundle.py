"""A trained model on disk: one directory, complete or not there at all, that says what it is and refuses to be loaded when it is not.

    trunk/config.json, trunk/model.safetensors   the encoder
    tokenizer.json                               the tokenizer it was trained with
    heads.safetensors                            the heads and, where used, the word-shape embedding and a learnt prefix
    training_texts.txt                           "task hash" of every text it has learnt from, see models.contamination
    manifest.json                                everything else, and the sha256 of the files above; written last

An ensemble has a manifest.json that names its members and their digests, and each member, a whole bundle, in a folder of its own.

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
from collections.abc import Callable, Mapping
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
from models.int8 import to_int8
from models.jury import Jury
from models.manifest import FORMAT_VERSION, Manifest
from models.network import Network, Trunk
from models.prefix import stored_prefix

MANIFEST = "manifest.json"
_CONFIG, _WEIGHTS, _TOKENIZER = "trunk/config.json", "trunk/model.safetensors", "tokenizer.json"
_HEADS, _TEXTS = "heads.safetensors", "training_texts.txt"
_NOT_COPIED = shutil.ignore_patterns("exports")  # models.backends makes them anew
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

    def members(self) -> list[Bundle]:
        """The bundles that an ensemble is made of; none for any other."""
        return [load(self.path / name) for name in self.manifest.members]

    def encoder(self) -> Encoder:
        """Its tokenizer; an ensemble's members have the same."""
        if self.manifest.members:
            return load(self.path / self.manifest.members[0]).encoder()
        return Encoder.from_directory(self.path / "trunk", tokenizer_directory=self.path)

    def network(self) -> Network:
        """Its network, on the CPU, ready to score: float32, or with weights of eight bits where it was quantised."""
        if self.manifest.members:
            members = self.members()
            return Jury(
                [member.network() for member in members], [member.manifest.temperatures for member in members]
            ).eval()
        try:
            trunk = Trunk(empty_trunk(self.path / "trunk"), word_shapes=self.manifest.word_shapes)
            if self.manifest.quantization:
                to_int8(trunk.encoder)
            network = Network(trunk, self.heads, self.manifest.head_options())
            trunk.encoder.load_state_dict(load_file(self.path / _WEIGHTS))
            beside = load_file(self.path / _HEADS)
            trunk.prefix = stored_prefix(trunk.encoder, beside)
            rest = network.load_state_dict(beside, strict=False)
        except (RuntimeError, SafetensorError, ValueError) as error:
            raise BundleRefused(f"the weights in {self.path} do not fit its configuration: {error}") from error
        missing = [name for name in rest.missing_keys if not name.startswith("trunk.encoder.")]
        if missing or rest.unexpected_keys:
            raise BundleRefused(f"{self.path / _HEADS}: missing {missing}, not expected {rest.unexpected_keys}")
        return network.eval()

    def training_texts(self, task: str) -> frozenset[str]:
        """Hashes of the texts a task learnt from."""
        if self.manifest.members:
            return frozenset().union(*(member.training_texts(task) for member in self.members()))
        lines = (self.path / _TEXTS).read_text(encoding="ascii").splitlines()
        return frozenset(line.split(" ", 1)[1] for line in lines if line.startswith(task + " "))

    def learnt(self) -> frozenset[str]:
        """Hashes of the texts that any of its tasks learnt from: a trunk that saw a text for one has seen it for all."""
        return frozenset().union(*(self.training_texts(task) for task in self.heads))


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
    if manifest.members:
        _check_members(bundle)
        return bundle
    if manifest.quantization not in ("", "int8"):
        raise BundleRefused(f"{path} has weights of {manifest.quantization!r}; this code reads '' (float32) and 'int8'")
    _check_files(bundle)
    _check_vocabulary(bundle)
    return bundle


def _check_members(bundle: Bundle) -> None:
    for name in bundle.manifest.members:
        found, stated = load(bundle.path / name).digest, bundle.manifest.files.get(name)
        if found != stated:
            raise BundleRefused(f"{bundle.path / name} is the bundle {found}; the manifest states {stated}")


def _check_labels(bundle: Bundle) -> None:
    for task, labels in bundle.labels.items():
        try:
            ours = head_class(task).labels
        except UnknownHead as error:
            raise BundleRefused(f"{bundle.path} serves the task {task!r}: {error}") from error
        if ours and labels != ours:
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

    def fill(draft: Path) -> Mapping[str, str]:
        _write_files(draft, network, encoder, training_texts)
        return {name: file_sha256(draft / name) for name in _FILES}

    return _publish(Path(path), manifest, fill)


def save_ensemble(path: str | Path, *, members: Mapping[str, Bundle], manifest: Manifest) -> Bundle:
    """Write an ensemble of bundles, by folder name, to `path` as `save` does; `manifest` names the same folders as its members."""

    def fill(draft: Path) -> Mapping[str, str]:
        for name, member in members.items():
            shutil.copytree(member.path, draft / name, ignore=_NOT_COPIED)
        return {name: member.digest for name, member in members.items()}

    return _publish(Path(path), manifest, fill)


def _publish(path: Path, manifest: Manifest, fill: Callable[[Path], Mapping[str, str]]) -> Bundle:
    """A bundle whose files, and what states each of them, are `fill`'s; the manifest comes last, and then the directory's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        files = fill(draft)
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
