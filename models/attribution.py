"""Integrated gradients of one window: what each of its tokens adds to a number that the network makes of it.

Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", by captum, over the token embeddings (of an ensemble, those of
every member) and the word-shape embeddings. The path goes from the same window with every token of the text replaced by [PAD], special
tokens and positions kept and word shapes taken away, to the window itself, in Gauss-Legendre steps. Completeness: the attributions sum to the
number less that of the baseline; the steps are doubled while more than a hundredth is missing. A network with weights of eight bits is followed
with its weights brought back to floats, since integers have no gradients. Not covered: interactions between words (Janizek et al. 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batching import Batch, collate
from models.encoder import OFFSET_POSITIONS
from models.int8 import Int8Linear
from models.network import Trunk
from models.windows import Window

TOLERANCE = 1e-2
_STEPS, _MOST_STEPS = 32, 512
_TOKENS_AT_ONCE = 4096  # of all steps together

Target: TypeAlias = Callable[[Batch], torch.Tensor]  # a batch of windows -> one number a window (windows,)


def attribute(network: nn.Module, window: Window, target: Target, *, pad_id: int) -> tuple[NDArray[np.float64], float]:
    """What each token of the text in a window adds to `target` (tokens,), and how much of completeness is missing."""
    from captum.attr import LayerIntegratedGradients

    batch = collate([window], pad_id=pad_id)
    held = slice(window.offset, window.offset + window.stop - window.start)
    blank_ids, blank_shapes = batch.ids.clone(), batch.shapes.clone()
    blank_ids[:, held], blank_shapes[:, held] = pad_id, 0

    def forward(ids: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        return target(Batch(ids, torch.ones_like(ids), shapes, torch.arange(len(ids))))

    with warnings.catch_warnings():  # of several layers, one may not feed another: these do not
        warnings.simplefilter("ignore", UserWarning)
        method = LayerIntegratedGradients(forward, _embeddings(network))
    steps = _STEPS
    with _kept_positions(network):
        while True:
            found, delta = method.attribute(
                (batch.ids, batch.shapes),
                (blank_ids, blank_shapes),
                n_steps=steps,
                internal_batch_size=max(1, _TOKENS_AT_ONCE // batch.ids.shape[1]),
                return_convergence_delta=True,
            )
            error = float(delta.abs().max())
            if error < TOLERANCE or steps >= _MOST_STEPS:
                break
            steps *= 2
    summed = torch.stack([_of_tokens(part) for part in found]).sum(dim=0)
    return summed[held].double().cpu().numpy(), error


def differentiable(module: nn.Module) -> None:
    """Bring the weights of every linear layer of eight bits inside a module back to floats."""
    for name, child in list(module.named_children()):
        if isinstance(child, Int8Linear):
            linear = nn.Linear(child.weight.shape[1], child.weight.shape[0])
            with torch.no_grad():
                linear.weight.copy_(child.weight.float() * child.scale[:, None])
                linear.bias.copy_(child.bias)
            setattr(module, name, linear)
        else:
            differentiable(child)


def _embeddings(network: nn.Module) -> list[nn.Module]:
    """The token embeddings, and the shapes' where there are any, of every trunk in a network."""
    found: list[nn.Module] = []
    for trunk in network.modules():
        if isinstance(trunk, Trunk):
            encoder: Any = trunk.encoder
            found += [encoder.get_input_embeddings(), *([] if trunk.shapes is None else [trunk.shapes])]
    return found


@contextmanager
def _kept_positions(network: nn.Module) -> Iterator[None]:
    """Within, trunks like RoBERTa, which else give every [PAD] the padding's position, count positions as they do in a whole text."""
    hooks = [
        trunk.encoder.register_forward_pre_hook(_with_positions, with_kwargs=True)
        for trunk in network.modules()
        if isinstance(trunk, Trunk) and getattr(trunk.encoder.config, "model_type", "") in OFFSET_POSITIONS
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _with_positions(
    encoder: Any, args: tuple[Any, ...], given: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    ids = given.get("input_ids")
    if ids is None or "position_ids" in given:
        return None
    first = int(encoder.config.pad_token_id or 0) + 1
    positions = torch.arange(first, first + ids.shape[1], device=ids.device)
    return args, {**given, "position_ids": positions.expand(len(ids), -1)}


def _of_tokens(part: Any) -> torch.Tensor:
    """Attributions (1, tokens, width) -> (tokens,)."""
    tensor: torch.Tensor = part[0] if isinstance(part, tuple) else part
    return tensor.detach().sum(dim=-1)[0]
