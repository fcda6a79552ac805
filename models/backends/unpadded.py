"""A trunk that computes the tokens of a batch and none of its padding: all windows in one row, each attending to itself alone.

What attends is given as a function of packed queries, keys and values (tokens, heads, width) and of where windows begin, so that it can be
PyTorch's variable-length flash attention on a GPU (`torch.nn.attention.varlen`, the method of Dao et al. 2022) and a plain loop in a test. A
padded batch goes in and padded hidden states come out, 0 at the padding, so heads see nothing of it. Windows are padded at the right alone. How
many tokens a batch holds is told from the host (`Counted`): every place then follows from the windows' lengths, and nothing waits for the GPU.

Awaiting a GPU: on the CPU it has been held against the padded pass; the flash kernel has been read and not run. Covers encoders of
`transformers` whose attention is chosen by name and whose layers hand on what they are given (BERT, RoBERTa, ELECTRA), without a learnt prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local
from typing import Any, TypeAlias

import torch

from models.encoder import OFFSET_POSITIONS
from models.network import Trunk

_NAME = "unpadded"
# query, key and value (tokens, heads, width), borders (windows + 1,) int32, tokens of the longest window -> (tokens, heads, width)
Attend: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]


class Counted(local):
    """How many tokens, without padding, the batch holds that this thread is at work on; 0 where nobody has counted."""

    tokens = 0


def flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, longest: int
) -> torch.Tensor:
    """PyTorch's kernel, which scales by 1 / sqrt(width); half precision, on CUDA."""
    from torch.nn.attention.varlen import varlen_attn

    found: Any = varlen_attn(query, key, value, borders, borders, longest, longest)
    return found  # type: ignore[no-any-return]


def can_unpad(trunk: Trunk) -> bool:
    """Whether a trunk is of those that are covered."""
    config: Any = trunk.encoder.config
    return trunk.prefix is None and config.model_type in {"bert", "roberta", "xlm-roberta", "camembert", "electra"}


def unpad(trunk: Trunk, attend: Attend = flash, *, counted: Counted | None = None) -> None:
    """Change a trunk in place; one that is not covered is left as it is. `counted` is set before each batch by whoever knows."""
    if not can_unpad(trunk):
        return
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    encoder: Any = trunk.encoder
    encoder.config._attn_implementation = _NAME
    pad_id = int(encoder.config.pad_token_id or 0)
    first = pad_id + 1 if encoder.config.model_type in OFFSET_POSITIONS else 0

    def forward(ids: torch.Tensor, mask: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        lengths = mask.sum(dim=1)
        borders = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        tokens = (counted.tokens if counted else 0) or int(borders[-1])
        window = torch.arange(len(ids), device=ids.device).repeat_interleave(lengths, output_size=tokens)
        column = torch.arange(tokens, device=ids.device) - borders[window]
        held = window * ids.shape[1] + column  # places (tokens,) in a batch laid out flat
        words: Any = encoder.get_input_embeddings()
        embedded = words(ids.flatten()[held])
        if trunk.shapes is not None:
            embedded = embedded + trunk.shapes(shapes.flatten()[held])
        packed = encoder(
            inputs_embeds=embedded.unsqueeze(0),
            position_ids=(first + column).unsqueeze(0),
            attend=attend,
            borders=borders.to(torch.int32),
            longest=ids.shape[1],
        ).last_hidden_state[0]
        hidden: torch.Tensor = packed.new_zeros(ids.numel(), packed.shape[-1])
        return hidden.index_copy_(0, held, packed).view(*ids.shape, -1)

    trunk.forward = forward  # type: ignore[method-assign]


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    attend: Attend,
    borders: torch.Tensor,
    longest: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As `transformers` asks for attention: query, key and value (1, heads, tokens, width) -> (1, tokens, heads, width)."""
    rows, keys, values = (one[0].transpose(0, 1) for one in (query, key, value))
    return attend(rows, keys, values, borders, longest).unsqueeze(0), None
