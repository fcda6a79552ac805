"""Linear layers and word embeddings with weights of eight bits: what a quantised bundle is built of.

Each row of a weight matrix is stored as integers from -127 to 127 and one scale (Jacob et al. 2018, symmetric, a scale an output). In use each
token's vector is brought to integers by a scale of its own, the product is computed in integers, and the result scaled back (dynamic
quantisation a token, as in Yao et al. 2022, "ZeroQuant"). PyTorch's own dynamic quantisation takes one scale for the whole batch, which is
a little faster and makes a text's score depend on its neighbours; here it does not.

On a CPU without integer instructions for it (VNNI), and on a GPU, the weights are brought back to floats for each product: the same model
up to the rounding of its inputs, small on disk, and no faster. Does not cover: LSTM layers, four bits, quantisation-aware training.
"""

from __future__ import annotations

import torch
from torch import nn

_HIGHEST = 127


def quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix (rows, columns) as int8 (rows, columns) and scales float32 (rows,): weight = integers * scale."""
    scale = weight.abs().amax(dim=1).clamp(min=1e-12) / _HIGHEST
    return (weight / scale[:, None]).round().clamp(-_HIGHEST, _HIGHEST).to(torch.int8), scale.float()


def in_integers(device: torch.device) -> bool:
    """True where products of integers are computed fast."""
    return device.type == "cpu" and bool(torch.backends.mkldnn.enabled) and torch.cpu._is_vnni_supported()


class Int8Linear(nn.Module):
    """A linear layer; `weight` int8 (outputs, inputs), `scale` (outputs,), `bias` (outputs,)."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantise_rows(linear.weight.detach())
        bias = torch.zeros(len(scale)) if linear.bias is None else linear.bias.detach().clone()
        for name, tensor in (("weight", weight), ("scale", scale), ("bias", bias)):
            self.register_buffer(name, tensor)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., inputs) float32 -> (..., outputs) float32; what a row gives does not depend on the others."""
        if not in_integers(inputs.device):
            return nn.functional.linear(inputs, self.weight.float() * self.scale[:, None], self.bias)
        rows = inputs.reshape(-1, inputs.shape[-1])
        scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _HIGHEST
        product = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight.t())
        result = product.float().mul_(scale).mul_(self.scale).add_(self.bias)
        return result.reshape(*inputs.shape[:-1], len(self.scale))


class Int8Embedding(nn.Module):
    """An embedding table; `weight` int8 (entries, width), `scale` (entries,)."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        weight, scale = quantise_rows(table.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (...) -> vectors (..., width) float32."""
        return self.weight[ids].float() * self.scale[ids].unsqueeze(-1)


def to_int8(module: nn.Module) -> int:
    """Replace every linear layer and embedding table inside a module; returns how many. Tables of positions and types are small and stay."""
    replaced = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        elif isinstance(child, nn.Embedding) and name == "word_embeddings":
            setattr(module, name, Int8Embedding(child))
        else:
            replaced += to_int8(child)
            continue
        replaced += 1
    return replaced
