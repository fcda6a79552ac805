"""Which parameters learn, how fast, and with how much weight decay.

AdamW (Loshchilov and Hutter 2019). With a `layer_decay` below 1 the top layer of the trunk learns at the full rate and each layer below it so many
times as fast as the one above, the embeddings slowest: what is general lies low and is to be kept (Howard and Ruder 2018; Sun et al. 2019,
who found 0.95 best for BERT). Heads and word shapes, which are new, have their own factors. Does not cover: unfreezing a layer at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.network import Network
from models.recipe import Recipe, RecipeRefused


def freeze(network: Network, layers: int) -> None:
    """Let the embeddings and the lowest `layers` of the trunk learn no more; 0 freezes nothing."""
    if not layers:
        return
    stack = network.trunk.layers()
    if layers > len(stack):
        raise RecipeRefused(f"freeze_layers is {layers}; the trunk has {len(stack)}")
    embeddings: Any = network.trunk.encoder.get_submodule("embeddings")
    for module in (embeddings, *list(stack)[:layers]):
        module.requires_grad_(requires_grad=False)


def make_optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; no weight decay for biases, norms and the shape embedding; heads and shapes at their own rates, layers by their height."""
    heights = _heights(network) if recipe.layer_decay < 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = recipe.learning_rate * recipe.layer_decay ** heights.get(parameter, 0)
        if name.startswith("heads."):
            rate *= recipe.head_rate_factor
        elif name.startswith("trunk.shapes."):
            rate *= recipe.shape_rate_factor
        decay = recipe.weight_decay if parameter.ndim > 1 and not name.startswith("trunk.shapes.") else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "full_rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def _heights(network: Network) -> dict[nn.Parameter, int]:
    """How many layers lie above each parameter of the encoder; above the embeddings, and whatever else stands outside the layers, all."""
    stack = list(network.trunk.layers())
    heights = dict.fromkeys(network.trunk.encoder.parameters(), len(stack))
    for number, layer in enumerate(stack):
        heights.update(dict.fromkeys(layer.parameters(), len(stack) - 1 - number))
    return heights
