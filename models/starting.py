"""What a training starts from, by name: a published trunk, a part of one, a BiLSTM beside one, or a bundle that has learnt already.

    minilm, a directory, a hub name     that trunk
    layers:3, layers:3@TRUNK            the default trunk (or TRUNK, any name of this list) cut to so many layers; of a bundle, its word shapes too
    bilstm, bilstm@TRUNK                a BiLSTM with its tokenizer and word embeddings
    a bundle's directory                its trunk, its word shapes, and the heads of the tasks that are trained again

Who goes on with a bundle's trunk, or layers of it, reads as it has learnt to: with word shapes or without, and with the same pooling.
A bundle that was pruned keeps its zeros while it learns: where a weight matrix of such a trunk is 0, its gradient is put to 0, so AdamW, whose
moments then stay 0 and whose decay is a factor, never moves it (models.compress.magnitude). Does not cover: going on from an ensemble or from
weights of eight bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.bilstm import KIND as BILSTM
from models.bilstm import bilstm_after
from models.bundle import MANIFEST, Bundle, load
from models.encoder import DEFAULT_TRUNK, Encoder, TrunkRefused, file_sha256, load_trunk, locate
from models.heads import HeadOptions
from models.narrow import with_layers
from models.network import Network, Trunk

_SHAPES = "trunk.shapes.weight"
_NAMED = re.compile(rf"(?P<kind>{BILSTM}|layers):?(?P<count>\d*)(@(?P<base>.+))?")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A tokenizer and a network, float32, before its first step, and the hashes of the texts it has learnt from before."""

    encoder: Encoder
    network: Network
    learnt: frozenset[str]


def begin(
    name: str, tasks: Sequence[str], options: HeadOptions, *, word_shapes: bool, allow_hub: bool = False
) -> Beginning:
    """What a training called for by `name` starts with; dropout is that of `options`."""
    bundle, part = _origin(name)
    if bundle is not None and part != BILSTM:
        _agrees(bundle, options, word_shapes=word_shapes)
    encoder, trunk = _trunk(name, dropout=options.dropout, allow_hub=allow_hub)
    network = Network(Trunk(trunk, word_shapes=word_shapes), tasks, options)
    if bundle is not None and part != BILSTM:
        _take_over(network, bundle, heads=not part)
    _keep_zeros(trunk)
    return Beginning(encoder=encoder, network=network, learnt=frozenset() if bundle is None else bundle.learnt())


def fingerprint(name: str) -> str:
    """What a name stands for now, as text: itself, and of a directory (or what is made of one) the hashes of the weights that lie there."""
    named = _NAMED.fullmatch(name)
    directory = Path((named and named["base"]) or name)
    weights = sorted(directory.rglob("*.safetensors")) if directory.is_dir() else []
    return "\n".join([name, *map(file_sha256, weights)])


def _bundle(name: str) -> Bundle | None:
    if not (Path(name) / MANIFEST).is_file():
        return None
    bundle = load(name)
    if bundle.manifest.members or bundle.manifest.quantization:
        kind = "an ensemble" if bundle.manifest.members else f"of {bundle.manifest.quantization}"
        raise TrunkRefused(f"{name} is {kind}; allowed to train on from: one bundle of floating-point weights")
    return bundle


def _trunk(name: str, *, dropout: float, allow_hub: bool) -> tuple[Encoder, nn.Module]:
    found = None if Path(name).is_dir() else _NAMED.fullmatch(name)
    if found is not None and (found["kind"] == BILSTM) != bool(found["count"]):
        encoder, trunk = _trunk(found["base"] or DEFAULT_TRUNK, dropout=dropout, allow_hub=allow_hub)
        if found["kind"] == BILSTM:
            return encoder, bilstm_after(trunk, dropout=dropout)
        with_layers(trunk, int(found["count"]))
        return encoder, trunk
    bundle = _bundle(name)
    if bundle is not None:
        return bundle.encoder(), load_trunk(bundle.path / "trunk", dropout=dropout)
    directory = locate(name, allow_hub=allow_hub)
    return Encoder.from_directory(directory), load_trunk(directory, dropout=dropout)


def _origin(name: str) -> tuple[Bundle | None, str]:
    """The bundle that a name goes back to, if any, and what is taken of it: BILSTM (its word embeddings), "layers", or "" for the whole."""
    bundle = _bundle(name)
    found = None if bundle is not None or Path(name).is_dir() else _NAMED.fullmatch(name)
    if found is None or not found["base"]:
        return bundle, ""
    bundle, part = _origin(found["base"])
    return bundle, BILSTM if BILSTM in (part, found["kind"]) else "layers"


def _agrees(bundle: Bundle, options: HeadOptions, *, word_shapes: bool) -> None:
    """Refuse to read with a bundle's trunk otherwise than it has learnt to."""
    manifest = bundle.manifest
    asked = {"word_shapes": (word_shapes, manifest.word_shapes), "pooling": (options.pooling, manifest.pooling)}
    for field, (ours, theirs) in asked.items():
        if ours != theirs:
            raise TrunkRefused(
                f"the recipe has {field} {ours!r}, and the trunk of {bundle.path} has learnt with {theirs!r}; allowed to train on from it: "
                f"{theirs!r}"
            )


def _take_over(network: Network, bundle: Bundle, *, heads: bool) -> None:
    """What of a bundle stands beside its trunk and fits the new network: word shapes, and with `heads` the same tasks' heads."""
    learnt, wanted = bundle.network(), network.state_dict()
    if learnt.trunk.prefix is not None:
        raise TrunkRefused(f"{bundle.path} has a learnt prefix; allowed to train on from: a bundle without one")
    known = {
        name: value
        for name, value in learnt.state_dict().items()
        if name in wanted and wanted[name].shape == value.shape and _taken(network, bundle, name, heads=heads)
    }
    network.load_state_dict(known, strict=False)


def _taken(network: Network, bundle: Bundle, name: str, *, heads: bool) -> bool:
    if not name.startswith("heads."):
        return name == _SHAPES
    task = name.split(".")[1]
    return heads and network.head(task).labels == bundle.labels[task]


def _keep_zeros(trunk: nn.Module) -> None:
    config: Any = trunk.config
    if not getattr(config, "sparsity", 0.0):
        return
    for module in trunk.modules():
        if isinstance(module, nn.Linear):
            module.weight.register_hook(_masked(module.weight.detach() != 0))  # type: ignore[no-untyped-call]


def _masked(mask: torch.Tensor) -> Any:
    def hook(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * mask.to(gradient.device)

    return hook
