"""BERT layers with fewer attention heads and fewer feed-forward neurons than their configuration's, each layer as many as are worth keeping.

`transformers` builds every layer equally wide. A narrowed trunk's config.json says in `kept_heads` and `kept_neurons` how many its layers have,
and its matrices are really smaller; a layer's attention works with any number of heads, since it reads it off its matrices. Trunks of
one kind of layer alone can be narrowed: BERT's and those built like it (RoBERTa, ELECTRA, CamemBERT, XLM-RoBERTa).

Also: a trunk cut to fewer layers (`with_layers`). Does not cover: narrower hidden states, and what is worth keeping: models.compress.structured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from models.encoder import TrunkRefused


def bert_layers(trunk: nn.Module) -> list[Any]:
    """The layers of a trunk built like BERT, lowest first; TrunkRefused for any other."""
    found = list(getattr(getattr(trunk, "encoder", None), "layer", ()))
    parts = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
    names = {name for layer in found for name, _ in layer.named_modules()}
    if not found or not set(parts) <= names:
        raise TrunkRefused(
            f"{type(trunk).__name__} is not built like BERT; allowed here are trunks with {', '.join(parts)} in encoder.layer"
        )
    return found


def resize(trunk: nn.Module) -> None:
    """Give a new trunk's layers the numbers of heads and neurons that its configuration says are kept; their weights are still to be loaded."""
    config: Any = trunk.config
    heads, neurons = getattr(config, "kept_heads", None), getattr(config, "kept_neurons", None)
    if heads is None or neurons is None:
        return
    layers = bert_layers(trunk)
    if not len(layers) == len(heads) == len(neurons):
        raise TrunkRefused(
            f"the configuration keeps heads of {len(heads)} and neurons of {len(neurons)} layers; the trunk has {len(layers)}"
        )
    for layer, head_count, neuron_count in zip(layers, heads, neurons, strict=True):
        _select(layer, range(head_count), range(neuron_count))


def keep(trunk: nn.Module, heads: Sequence[Sequence[int]], neurons: Sequence[Sequence[int]]) -> None:
    """Leave each layer the heads and neurons of these numbers alone, and say so in the configuration."""
    for layer, kept_heads, kept_neurons in zip(bert_layers(trunk), heads, neurons, strict=True):
        if not kept_heads or not kept_neurons:
            raise TrunkRefused("a layer without heads or neurons; allowed: one of each at least")
        _select(layer, kept_heads, kept_neurons)
    config: Any = trunk.config
    config.kept_heads = [len(kept) for kept in heads]
    config.kept_neurons = [len(kept) for kept in neurons]


def _select(layer: Any, heads: Sequence[int], neurons: Sequence[int]) -> None:
    attention = layer.attention.self
    width = attention.attention_head_size
    columns = torch.as_tensor([head * width + column for head in heads for column in range(width)])
    for name in ("query", "key", "value"):
        setattr(attention, name, _rows(getattr(attention, name), columns))
    attention.num_attention_heads, attention.all_head_size = len(heads), len(columns)
    layer.attention.output.dense = _columns(layer.attention.output.dense, columns)
    kept = torch.as_tensor(list(neurons))
    layer.intermediate.dense = _rows(layer.intermediate.dense, kept)
    layer.output.dense = _columns(layer.output.dense, kept)


def _rows(linear: nn.Linear, kept: torch.Tensor) -> nn.Linear:
    """Only these outputs of a layer."""
    return _linear(linear.weight[kept], None if linear.bias is None else linear.bias[kept])


def _columns(linear: nn.Linear, kept: torch.Tensor) -> nn.Linear:
    """Only these inputs of a layer."""
    return _linear(linear.weight[:, kept], linear.bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def with_layers(trunk: nn.Module, count: int) -> None:
    """Cut a trunk to `count` of its layers, evenly spread and the highest among them, as DistilBERT begins (Sanh et al. 2019)."""
    config: Any = trunk.config
    layers = bert_layers(trunk)
    if not 1 <= count <= len(layers):
        raise TrunkRefused(f"a trunk of {count} layers from one of {len(layers)}; allowed: 1 to {len(layers)}")
    kept = [(number + 1) * len(layers) // count - 1 for number in range(count)]
    body: Any = trunk
    body.encoder.layer = nn.ModuleList(layers[number] for number in kept)
    config.num_hidden_layers = count
    for name in ("kept_heads", "kept_neurons"):
        if getattr(config, name, None) is not None:
            setattr(config, name, [getattr(config, name)[number] for number in kept])
