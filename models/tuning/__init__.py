"""Parameter-efficient tuning: a few parameters of a trunk learn, or a few are added, and the rest stays as it was published.

One method a file; the file's name is the recipe's `tuning`, and its `METHOD` is resolved with `pkgutil.resolve_name`. The heads and the
word-shape embedding, which are new, always learn. `prepare` freezes and wraps a network before its optimiser is made, `before_step` and
`after_step` are called around every optimiser step, and `merge` brings back a plain encoder before the bundle is saved, so that a bundle
that was tuned so is one like any other and needs no `peft` to score. `peft` is imported when a method that needs it is used, and by
nothing else.

    lora, adalora, ia3       matrices beside the trunk's own; merged into them
    prompt                   learnt tokens before every text; merged into the embeddings and the tokenizer
    prefix                   learnt keys and values in every layer; kept beside the heads, models.prefix
    bitfit, top_layers       a choice among the trunk's own parameters; nothing to merge

Does not cover: several adapters at once, quantised trunks under adapters (QLoRA).
"""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.encoder import Encoder
from models.network import Network
from models.recipe import Recipe, RecipeRefused

FULL = "full"
METHODS = ("adalora", "bitfit", "ia3", "lora", "prefix", "prompt", "top_layers")
MERGED = ("adalora", "ia3", "lora")  # into the trunk's own weights


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How many numbers of a network learn, of how many."""

    learn: int
    total: int


class Method:
    """What every method starts from: the trunk is frozen, and steps are taken as they come."""

    def prepare(self, network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
        """Freeze and wrap; return the encoder (tokenizer) to go on with."""
        raise AssertionError("a method of tuning says what it prepares")

    def before_step(self, network: Network, recipe: Recipe) -> None:
        """Between the backward pass and the clipping of gradients."""

    def after_step(self, network: Network, recipe: Recipe, *, step: int, total: int) -> None:
        """After optimiser step `step` (from 1) of `total`, with the gradients still there."""


def method_for(tuning: str) -> Method | None:
    """The method of that name; None for "full"."""
    if tuning == FULL:
        return None
    if tuning not in METHODS:
        raise RecipeRefused(f"tuning is {tuning!r}; allowed are {FULL}, {', '.join(METHODS)}")
    found: Method = pkgutil.resolve_name(f"models.tuning.{tuning}:METHOD")
    return found


def prepare(network: Network, encoder: Encoder, recipe: Recipe) -> Encoder:
    """Freeze and wrap the trunk as `recipe.tuning` says; return the encoder to go on with, which is another one for prompt tuning."""
    method = method_for(recipe.tuning)
    if method is None:
        return encoder
    if recipe.freeze_layers:
        raise RecipeRefused(
            f"freeze_layers is {recipe.freeze_layers} and tuning {recipe.tuning!r}, which freezes the trunk itself; allowed with it: 0"
        )
    sparsity = getattr(network.trunk.encoder.config, "sparsity", 0.0)
    if sparsity and recipe.tuning in MERGED:
        raise RecipeRefused(
            f"tuning is {recipe.tuning!r}, and the trunk was pruned (sparsity {sparsity}): merging would fill its zeros; allowed for it: "
            f"{', '.join(name for name in (FULL, *METHODS) if name not in MERGED)}"
        )
    if recipe.tuning_rank < 1:
        raise RecipeRefused(f"tuning_rank is {recipe.tuning_rank}; allowed: 1 or more")
    network.trunk.encoder.requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[network.device] if network.device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        return method.prepare(network, encoder, recipe)


def before_step(network: Network, recipe: Recipe) -> None:
    """Between the backward pass and the clipping of gradients of every step."""
    method = method_for(recipe.tuning)
    if method is not None:
        method.before_step(network, recipe)


def after_step(network: Network, recipe: Recipe, *, step: int, total: int) -> None:
    """After optimiser step `step` (from 1) of `total`, before the gradients are dropped."""
    method = method_for(recipe.tuning)
    if method is not None:
        method.after_step(network, recipe, step=step, total=total)


def merge(network: Network) -> None:
    """Bring back a plain encoder: what adapters have learnt goes into its own weights, and nothing of `peft` is left."""
    wrapped: Any = network.trunk.encoder
    if hasattr(wrapped, "merge_and_unload"):
        network.trunk.encoder = wrapped.merge_and_unload(safe_merge=True)
    if hasattr(network, "tuning_memory"):
        del network.tuning_memory


def trainable(network: nn.Module) -> Learning:
    """How many numbers learn."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return Learning(learn=sum(size for size, learns in sizes if learns), total=sum(size for size, _ in sizes))


def wrap(network: Network, make: Callable[[], Any]) -> None:
    """Wrap the trunk's encoder by `peft` with the configuration that `make` gives; RecipeRefused where it does not fit the trunk."""
    from peft import get_peft_model

    encoder: Any = network.trunk.encoder
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that goes in transformers 6
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            network.trunk.encoder = get_peft_model(encoder, make())
    except ValueError as error:
        raise RecipeRefused(f"{type(encoder).__name__} cannot be tuned so: {error}") from error
