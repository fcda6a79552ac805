"""A trunk with the heads of its objectives, and where those heads begin: as the trunk's own weights have them, else anew.

A masked language model's head is taken from weights that carry one (BERT's, RoBERTa's and DistilBERT's names are known), or from the
`objectives.safetensors` of an earlier adaptation; sentence encoders such as the default trunk have lost theirs, so it is new. Its decoder is
always the trunk's own word embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from models.objectives import Batch, ObjectiveHead, Sizes, objective

HEADS = "objectives.safetensors"
_MASKED = "masking.tokens."
_KNOWN = {  # what a published masked language model calls the parts of its head
    "cls.predictions.transform.dense.weight": "dense.weight",
    "cls.predictions.transform.dense.bias": "dense.bias",
    "cls.predictions.transform.LayerNorm.weight": "norm.weight",
    "cls.predictions.transform.LayerNorm.gamma": "norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "norm.bias",
    "cls.predictions.transform.LayerNorm.beta": "norm.bias",
    "cls.predictions.bias": "bias",
    "lm_head.dense.weight": "dense.weight",
    "lm_head.dense.bias": "dense.bias",
    "lm_head.layer_norm.weight": "norm.weight",
    "lm_head.layer_norm.bias": "norm.bias",
    "lm_head.bias": "bias",
    "vocab_transform.weight": "dense.weight",
    "vocab_transform.bias": "dense.bias",
    "vocab_layer_norm.weight": "norm.weight",
    "vocab_layer_norm.bias": "norm.bias",
    "vocab_projector.bias": "bias",
}


class ObjectiveNetwork(nn.Module):
    """A trunk and a head for each objective, by name; a head lies under its kind, a pairing's under its name."""

    def __init__(self, encoder: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        config: Any = encoder.config
        self.typed = int(getattr(config, "type_vocab_size", 0) or 0) >= 2
        entries, width = self.embeddings().shape
        eps = float(getattr(config, "layer_norm_eps", None) or 1e-12)
        sizes = Sizes(hidden=int(config.hidden_size), width=width, entries=entries, norm_eps=eps)
        self.keys = {name: _key(name) for name in names}
        self.heads = nn.ModuleDict({key: objective(name).head(sizes) for name, key in self.keys.items()})

    def embeddings(self) -> torch.Tensor:
        """The trunk's word embeddings, (entries, width)."""
        encoder: Any = self.encoder
        weight: torch.Tensor = encoder.get_input_embeddings().weight
        return weight

    @property
    def device(self) -> torch.device:
        """Where its parameters lie."""
        return next(self.parameters()).device

    def head(self, name: str) -> ObjectiveHead:
        """The head of an objective."""
        head = self.heads[self.keys[name]]
        assert isinstance(head, ObjectiveHead)
        return head

    def counts(self, batch: Batch) -> list[int]:
        """How many guesses a batch asks of each objective."""
        return [self.head(name).count(batch) for name in self.keys]

    def guesses(self, batch: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each objective its logits (guesses, classes) and targets (guesses,)."""
        given = {"token_type_ids": batch.types} if self.typed else {}
        encoder: Any = self.encoder
        hidden = encoder(input_ids=batch.ids, attention_mask=batch.mask, **given).last_hidden_state
        return [self.head(name)(hidden, batch, self.embeddings()) for name in self.keys]

    def forward(self, batch: Batch) -> torch.Tensor:
        """The cross-entropy of each objective, summed over its guesses: (objectives,), float32."""
        return torch.stack(
            [
                nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
                for logits, targets in self.guesses(batch)
            ]
        )

    def warm(self, directory: Path) -> list[str]:
        """Let the heads begin as the weights in a trunk's directory have them; returns the names of those parts, sorted."""
        stored = {
            name: value
            for name, value in _stored_heads(directory).items()
            if name in dict(self.heads.named_parameters())
        }
        fitting = {name: value for name, value in stored.items() if value.shape == self.heads.get_parameter(name).shape}
        self.heads.load_state_dict(fitting, strict=False)
        return sorted(fitting)

    def parts(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The weights of the trunk, and those of the heads."""
        return _plain(self.encoder.state_dict()), _plain(self.heads.state_dict())


def _key(name: str) -> str:
    kind = objective(name).kind
    return name if kind == "pairing" else kind


def _stored_heads(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(directory.glob("*.safetensors"), key=lambda path: path.name == HEADS):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                ours = name if path.name == HEADS else _MASKED + _KNOWN[name] if name in _KNOWN else None
                if ours is not None:
                    found[ours] = file.get_tensor(name).float()
    return found


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
