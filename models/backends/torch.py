"""PyTorch, which is always there: float32 as the reference, or the trunk in bfloat16, or compiled; on the GPU where there is one.

In bfloat16 the trunk's weights and states have 8 significant bits; its last hidden states are brought back to float32, so that the heads, a
thousandth of the work, lose nothing more. Compiled, the trunk goes through TorchInductor with sizes left open, in bfloat16 where the CPU multiplies
it and on any GPU, else in float32; it needs a C++ compiler and about a minute, in every process, when it is opened.

On a GPU two threads take batches in turn, each on a CUDA stream of its own, from pinned memory and back into it: while one batch is computed the
next is copied and launched, and the one before goes back. In bfloat16 the trunk computes no padding (models.backends.unpadded). Batches should be
large there (models.batching.GPU_TOKENS): one then computes for longer than its some 200 kernels take to launch, and CUDA graphs, whose fixed
shapes would have to be padded to, have nothing to save. Awaiting a GPU: this has been read and not run there.
Does not cover: several GPUs, eight-bit floats.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backends import BackendRefused
from models.backends.exports import example
from models.backends.unpadded import Counted, unpad
from models.batching import Batch, there
from models.bundle import Bundle
from models.network import Network, Trunk


class TorchBackend:
    """A network as it is, with the precision its parameters have; `counted` is told how many tokens each batch holds."""

    def __init__(self, network: Network, *, name: str = "torch", counted: Counted | None = None) -> None:
        self.name = name
        self.network = network.eval()
        self.counted = counted or Counted()
        self.streams = 2 if network.device.type == "cuda" else 1
        self.own = local()

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """A batch on the CPU -> by task the logits (windows, outputs) or (windows, tokens, outputs); of document heads (windows, hidden)."""
        self.counted.tokens = int(batch.mask.sum())
        if self.network.device.type == "cuda":
            return self._on_gpu(batch)
        with torch.inference_mode():
            return {task: one.float().numpy() for task, one in self.network.all_logits(batch).items()}

    def _on_gpu(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """On this thread's stream; the thread waits for it alone, and holds no other one up."""
        if not hasattr(self.own, "stream"):
            self.own.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self.own.stream.wait_stream(torch.cuda.default_stream())  # which has brought the weights
        with torch.inference_mode(), torch.cuda.stream(self.own.stream):
            given = (batch.ids, batch.mask, batch.shapes, batch.owners)
            copied = Batch(*(there(one, self.network.device) for one in given))
            found = {task: _returning(one.float()) for task, one in self.network.all_logits(copied).items()}
            self.own.stream.synchronize()
        return {task: one.numpy() for task, one in found.items()}


def _returning(logits: torch.Tensor) -> torch.Tensor:
    """A copy in pinned memory, there once the stream has come so far."""
    return torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True).copy_(logits, non_blocking=True)


def in_bfloat16(network: Network) -> Network:
    """The network with its trunks in bfloat16, changed in place: hidden states leave a trunk in float32."""
    for trunk in _trunks(network):
        trunk.to(torch.bfloat16)
        trunk.register_forward_hook(_as_float)
    return network


def compiled(network: Network) -> Network:
    """The network with its trunks' encoders compiled, changed in place; compiling begins with the first batch."""
    for trunk in _trunks(network):
        trunk.encoder.compile(dynamic=True)
    return network


def open_backend(
    name: str, bundle: Bundle, *, threads: int | None, token_budget: int, cache: Path | None, texts: Sequence[str]
) -> TorchBackend:
    """The bundle's network in PyTorch; `threads` holds for the whole process."""
    if threads is not None:
        torch.set_num_threads(threads)
    network = bundle.network().to("cuda" if torch.cuda.is_available() else "cpu")
    if name == "torch":
        return TorchBackend(network)
    if any(one.manifest.quantization for one in (bundle, *bundle.members())):
        raise BackendRefused(
            f"{bundle.path} has weights of eight bits, which {name} cannot compute; the backend that can is torch"
        )
    if name not in ("torch-bf16", "torch-compile"):
        raise BackendRefused(f"no backend {name!r} in PyTorch; allowed are torch, torch-bf16, torch-compile")
    counted = Counted()
    for trunk in _trunks(network) if torch.cuda.is_available() else ():
        unpad(trunk, counted=counted)
    if name == "torch-bf16":
        return TorchBackend(in_bfloat16(network), name=name, counted=counted)
    backend = TorchBackend(
        compiled(in_bfloat16(network) if _multiplies_bfloat16() else network), name=name, counted=counted
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own parts that are to go
            backend.run(example(bundle))
    except Exception as error:  # no compiler, or a trunk that it cannot take
        raise BackendRefused(
            f"PyTorch cannot compile {bundle.path} here ({type(error).__name__}: {str(error)[:300]}); torch-bf16 needs no compiler"
        ) from error
    return backend


def _trunks(network: Network) -> list[Trunk]:
    return [module for module in network.modules() if isinstance(module, Trunk)]


def _as_float(_trunk: Any, _given: Any, hidden: torch.Tensor) -> torch.Tensor:
    return hidden.float()


def _multiplies_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here, and not only possible."""
    return torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
