"""R-Drop (Liang et al. 2021): the same examples pass twice under different dropout, and the two answers must agree.

    loss = (loss of pass 1 + loss of pass 2) / 2 + weight (KL(1 || 2) + KL(2 || 1)) / 2

as in the authors' code. Both passes are one batch, the examples one after the other and then again. The divergence is a mean over rows (texts, or
words that have a target), and within a row a sum over a head's groups of outputs: one softmax, several, or a sigmoid each (Head.groups). For a
CRF it is that of the emissions, the paper's being over independent answers. Does not cover: more than two passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def divergence(logits: torch.Tensor, counted: torch.Tensor, *, groups: Sequence[int]) -> torch.Tensor:
    """Half the symmetric divergence of logits (2 n, ..., outputs), a mean over the rows (n, ...) where `counted` is true."""
    first, second = logits.float().chunk(2)
    total = torch.zeros(counted.shape, device=logits.device)
    begin = 0
    for width in groups:
        one, other = first[..., begin : begin + width], second[..., begin : begin + width]
        begin += width
        if width == 1:  # a sigmoid is a softmax against a logit of 0
            one, other = (torch.cat([torch.zeros_like(part), part], dim=-1) for part in (one, other))
        one, other = one.log_softmax(dim=-1), other.log_softmax(dim=-1)
        total = total + 0.5 * ((one.exp() - other.exp()) * (one - other)).sum(dim=-1)
    return (total * counted).sum() / counted.sum().clamp(min=1)
