"""PyTorch, which is always there: float32 as the reference, or the trunk in bfloat16, on the GPU where there is one.

In bfloat16 the trunk's weights and states have 8 significant bits; its last hidden states are brought back to float32, so that the heads, a
thousandth of the work, lose nothing more. Does not cover: several GPUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backends import BackendRefused
from models.batching import Batch
from models.bundle import Bundle
from models.network import Network, Trunk


class TorchBackend:
    """A network as it is, with the precision its parameters have."""

    def __init__(self, network: Network, *, name: str = "torch") -> None:
        self.name = name
        self.network = network

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A batch on the CPU -> by task the logits (windows, outputs) or (windows, tokens, outputs); of document heads (windows, hidden)."""
        self.network.eval()
        device = self.network.device
        moved = Batch(*(tensor.to(device) for tensor in (batch.ids, batch.mask, batch.shapes, batch.owners)))
        with torch.inference_mode():
            logits = self.network.all_logits(moved)
        return {task: one.float().cpu().numpy() for task, one in logits.items()}


def in_bfloat16(network: Network) -> Network:
    """The network with its trunks in bfloat16, changed in place: hidden states leave a trunk in float32."""
    for module in network.modules():
        if isinstance(module, Trunk):
            module.to(torch.bfloat16)
            module.register_forward_hook(_as_float)
    return network


def _as_float(_trunk: Any, _given: Any, hidden: torch.Tensor) -> torch.Tensor:
    return hidden.float()


def open_backend(
    name: str, bundle: Bundle, *, threads: int | None, token_budget: int, cache: Path | None
) -> TorchBackend:
    """The bundle's network in PyTorch; `threads` holds for the whole process."""
    if threads is not None:
        torch.set_num_threads(threads)
    network = bundle.network().to("cuda" if torch.cuda.is_available() else "cpu")
    if name == "torch":
        return TorchBackend(network)
    if bundle.manifest.quantization:
        raise BackendRefused(
            f"{bundle.path} has weights of {bundle.manifest.quantization}; {name} computes float32 weights, torch serves it"
        )
    if name == "torch-bf16":
        return TorchBackend(in_bfloat16(network), name=name)
    raise BackendRefused(f"no backend {name!r} in PyTorch; allowed are torch, torch-bf16, torch-compile")
