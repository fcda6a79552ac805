"""Structured pruning: whole attention heads and feed-forward neurons go, those that the loss would miss least, and the matrices get smaller.

Michel et al. 2019, "Are sixteen heads really better than one?", and for neurons the same first-order estimate (Molchanov et al. 2017): each head and
neuron gets a gate of 1, and its importance is the mean over batches of |d loss / d gate|, on labelled examples. Importances are brought to
length 1 within a layer, and the given share of all heads, and of all neurons, is cut where they are least, whichever layer that is in; each layer
keeps one head and eight neurons at least. What a layer keeps stands in config.json (models.narrow). `fit(trunk=pruned, ...)` is the fine-tune after.

Does not cover: narrower hidden states, whole layers (models.starting has layers:N), pruning by and by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.batching import collate
from models.bundle import Bundle, load, save
from models.calibrating import calibrated
from models.compress.pruning import refuse_unprunable
from models.contamination import text_hashes
from models.heads import Example
from models.items import Item, make_items, padded_targets
from models.narrow import bert_layers, keep
from models.network import Network
from models.recipe import Recipe, TaskData

_LEAST_HEADS, _LEAST_NEURONS = 1, 8
_BATCH = 16
_EXAMPLES = 1024  # of each task at most, evenly spread


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much the loss would miss each head (heads,) and neuron (neurons,) of each layer; 0 or more."""

    heads: list[torch.Tensor]
    neurons: list[torch.Tensor]


def prune_structured(
    path: Path | str,
    output: Path,
    train: Mapping[str, Sequence[Example]],
    dev: Mapping[str, Sequence[Example]],
    *,
    share: float,
) -> Path:
    """Write the bundle at `path` without `share` (0 to 1) of its heads and neurons, before any fine-tune; returns `output`.

    `train` holds labelled examples by task to weigh importances on, `dev` those to calibrate and measure on.
    """
    bundle = load(path)
    refuse_unprunable(bundle, share)
    network = bundle.network()
    found = importance(network, bundle, train)
    keep(
        network.trunk.encoder,
        kept(found.heads, share=share, least=_LEAST_HEADS),
        kept(found.neurons, share=share, least=_LEAST_NEURONS),
    )
    seen = text_hashes(network.head(task).text(example) for task, some in train.items() for example in some)
    manifest = calibrated(bundle.manifest, network.eval(), bundle.encoder(), dev, learnt=bundle.learnt() | seen)
    texts = {task: bundle.training_texts(task) | seen for task in bundle.heads}
    return save(output, network=network, encoder=bundle.encoder(), manifest=manifest, training_texts=texts).path


def importance(network: Network, bundle: Bundle, train: Mapping[str, Sequence[Example]]) -> Importance:
    """First-order importances of every head and neuron, on labelled examples by task."""
    layers = bert_layers(network.trunk.encoder)
    heads = [torch.ones(layer.attention.self.num_attention_heads, requires_grad=True) for layer in layers]
    neurons = [torch.ones(layer.output.dense.in_features, requires_grad=True) for layer in layers]
    hooks = []
    for layer, head_gate, neuron_gate in zip(layers, heads, neurons, strict=True):
        width = layer.attention.self.attention_head_size
        hooks.append(layer.attention.output.dense.register_forward_pre_hook(_gated(head_gate, repeat=width)))
        hooks.append(layer.output.dense.register_forward_pre_hook(_gated(neuron_gate, repeat=1)))
    gates = [*heads, *neurons]
    sums = [torch.zeros_like(gate) for gate in gates]
    network.eval()
    for task, items in _items(network, bundle, train).items():
        for begin in range(0, len(items), _BATCH):
            loss = _loss(network, bundle, task, items[begin : begin + _BATCH])
            for total, gradient in zip(sums, torch.autograd.grad(loss, gates), strict=True):
                total += gradient.abs()
    for hook in hooks:
        hook.remove()
    return Importance(heads=sums[: len(layers)], neurons=sums[len(layers) :])


def _gated(gate: torch.Tensor, *, repeat: int) -> Any:
    def hook(_module: nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (given[0] * gate.repeat_interleave(repeat),)

    return hook


def _items(network: Network, bundle: Bundle, train: Mapping[str, Sequence[Example]]) -> dict[str, list[Item]]:
    manifest = bundle.manifest
    recipe = Recipe(max_length=manifest.max_length, overlap=manifest.overlap)
    found = {}
    for task in bundle.heads:
        examples = train.get(task, ())
        some = examples[:: math.ceil(len(examples) / _EXAMPLES)] if examples else ()
        if some:
            found[task] = make_items(network.head(task), bundle.encoder(), TaskData(some, some), recipe)
    return found


def _loss(network: Network, bundle: Bundle, task: str, items: Sequence[Item]) -> torch.Tensor:
    windows = [window for item in items for window in item.windows]
    owners = [number for number, item in enumerate(items) for _ in item.windows]
    batch = collate(windows, pad_id=bundle.encoder().pad_id, owners=owners)
    head = network.head(task)
    targets = padded_targets(items, width=batch.ids.shape[1] if head.level == "word" else 1)
    return head.loss(network(task, batch), torch.from_numpy(targets))


def kept(importances: Sequence[torch.Tensor], *, share: float, least: int) -> list[list[int]]:
    """The numbers, in order, that each layer keeps when `share` of all are cut where they matter least, `least` staying in each."""
    scaled = [one / one.norm().clamp(min=1e-12) for one in importances]
    ranked = sorted(
        (float(value), layer, number) for layer, one in enumerate(scaled) for number, value in enumerate(one)
    )
    left = [set(range(len(one))) for one in scaled]
    to_cut = round(share * len(ranked))
    for _, layer, number in ranked:
        if to_cut and len(left[layer]) > least:
            left[layer].remove(number)
            to_cut -= 1
    return [sorted(one) for one in left]
