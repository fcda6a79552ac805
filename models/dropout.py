"""Dropout that draws its mask faster on a CPU, and attention that is spelt out: for training, never for use.

torch draws a Bernoulli number an element from a serial generator: 3.3 ms for a batch's hidden states where 1.5 ms will do (docs/log.md). `Dropout`
draws 64 random bits for four elements and compares each 16 of them with the probability, exact to 1/65,536 (Srivastava et al. 2014 for
the method). Its draws are others than torch's, so a training gives another figure than before, as another seed would; the recipe's
`quick_dropout` asks for it. On a GPU torch's own is used.

While a trunk of `transformers` learns on a CPU its attention is computed by two matrix products and a softmax ("eager"): with dropout torch's
fused attention does the same there, more slowly, and without dropout its backward pass in bf16 is slower still. The draws are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from models.network import Network
from models.recipe import Recipe

_SPELT_OUT = "spelt_out"


class Dropout(nn.Dropout):
    """nn.Dropout with a mask from whole random bits."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Input of any shape -> the same, elements put to 0 with probability p and the others divided by 1 - p."""
        if not self.training or not 0 < self.p < 1 or input.device.type != "cpu":
            return super().forward(input)
        return masked(input, self.p)


def masked(values: torch.Tensor, share: float) -> torch.Tensor:
    """Values with a random `share` of them, in (0, 1), put to 0 and the rest divided by 1 - share; drawn from torch's generator."""
    count = values.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:count].view(values.shape) >= round(share * 65536) - 32768
    return values * kept.to(values.dtype).mul_(1.0 / (1.0 - share))


def quicken(network: Network, recipe: Recipe) -> None:
    """Have a network on a CPU, in place, spell out its attention, and if the recipe says so draw its dropout by random bits."""
    if network.device.type != "cpu":
        return
    foreign: Any = network.trunk.encoder
    if getattr(foreign.config, "_attn_implementation", None) == "sdpa":
        if recipe.quick_dropout:
            AttentionInterface.register(_SPELT_OUT, spelt_out)
            AttentionMaskInterface.register(_SPELT_OUT, eager_mask)
        foreign.set_attn_implementation(_SPELT_OUT if recipe.quick_dropout else "eager")
    if recipe.quick_dropout:
        for module in list(network.modules()):
            for name, inner in module.named_children():
                if type(inner) is nn.Dropout and not hasattr(module, "num_attention_heads"):
                    setattr(module, name, Dropout(inner.p))


def spelt_out(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float = 1.0,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of query, key and value (batch, heads, tokens, size) as transformers asks for it: (batch, tokens, heads, size), weights."""
    weights = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = weights.softmax(dim=-1)
    if module.training and 0 < dropout < 1:
        weights = masked(weights, dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights
