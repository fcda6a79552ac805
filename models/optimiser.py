"""Which parameters learn, how fast, and with how much weight decay."""

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
    """AdamW; no weight decay for biases, norms and the shape embedding; heads and shapes at their own rates."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = recipe.learning_rate
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
