"""A learnt prefix of keys and values that every layer of a trunk attends to: what prefix tuning leaves in a bundle.

After Li and Liang 2021, "Prefix-Tuning", in the form of Liu et al. 2022, "P-Tuning v2", which give encoders one too: each layer's
attention sees `tokens` further keys and values, the same for every text. No weight of the trunk can stand for that, so a bundle keeps the
prefix beside its heads and the trunk applies it (models.network.Trunk): training and scoring run the very same code, and scoring needs no
`peft`. Positions are those of the text alone, so that a window may be as long as without a prefix.

Does not cover: the paper's reparameterisation by a small network, which P-Tuning v2 found to help some tasks and hurt others; trunks
whose layers take no keys and values from outside (DistilBERT, MPNet, DeBERTa, a BiLSTM).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.encoder import OFFSET_POSITIONS, TrunkRefused

_STORED = "trunk.prefix.values"  # the name of its only tensor among a network's


class Prefix(nn.Module):
    """`values` (layers, 2, tokens, hidden): keys and values a layer, small and random at first."""

    def __init__(self, config: Any, *, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.heads = int(config.num_attention_heads)
        self.first_position = int(config.pad_token_id or 0) + 1 if config.model_type in OFFSET_POSITIONS else 0
        self.values = nn.Parameter(torch.empty(int(config.num_hidden_layers), 2, tokens, int(config.hidden_size)))
        nn.init.normal_(self.values, std=0.02)

    def arguments(self, mask: torch.Tensor) -> dict[str, Any]:
        """What a trunk is called with beside its tokens, for their mask (batch, tokens)."""
        from transformers.cache_utils import DynamicCache

        batch, length = mask.shape
        values = self.values.view(*self.values.shape[:-1], self.heads, -1).transpose(
            2, 3
        )  # (layers, 2, heads, prefix, width)
        seen = [(keys.expand(batch, -1, -1, -1), given.expand(batch, -1, -1, -1)) for keys, given in values.unbind(0)]
        positions = torch.arange(self.first_position, self.first_position + length, device=mask.device)
        return {
            "attention_mask": torch.cat([mask.new_ones(batch, self.tokens), mask], dim=1),
            "past_key_values": DynamicCache(seen),
            "position_ids": positions.expand(batch, -1),
        }


def takes_prefix(encoder: nn.Module) -> bool:
    """True where a trunk's layers can be given keys and values from outside."""
    return "past_key_values" in inspect.signature(encoder.forward).parameters


def make_prefix(encoder: nn.Module, *, tokens: int) -> Prefix:
    """A prefix for a trunk; TrunkRefused where it cannot take one."""
    if not takes_prefix(encoder):
        raise TrunkRefused(
            f"{type(encoder).__name__} takes no keys and values from outside, which a prefix needs; allowed are trunks "
            "like BERT, RoBERTa and ELECTRA, or another tuning"
        )
    return Prefix(encoder.config, tokens=tokens)


def stored_prefix(encoder: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Prefix | None:
    """The prefix, its values still to be loaded, that a network of these tensors by name has; None where it has none."""
    values = tensors.get(_STORED)
    return None if values is None else make_prefix(encoder, tokens=values.shape[2])
