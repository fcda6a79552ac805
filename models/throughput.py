"""How fast a training goes: real tokens a second, and what share of the machine's matrix product that is.

A throughput counts the tokens that are learnt from, special ones included and padding not, and the floating-point operations that a model needs
for them, whatever was computed besides. Following Chowdhery et al. 2022 (PaLM, appendix B), a token of a window of n costs

    6 N + 12 L H n

with N the parameters that are multiplied (a looked-up embedding is not), L layers and H the width of a layer's queries: twice for the multiplication
and addition, three times for the forward pass and the two products of the backward pass. Weights that are frozen count their forward
pass alone, 2 N, which is the least they can cost. The share of what the machine can do, model FLOPs utilisation, is that over the seconds and over
the fastest square linear layer measured on this machine, at the same precision and with as many threads, times the number of ranks.

R-Drop passes twice over each token, which counts twice. Does not cover: operations that are no matrix product; ranks on unlike machines;
teachers' passes; the BiLSTM's steps in time, which are counted as matrix products and never run as fast.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

_SIDES = {"cpu": (192, 1536), "cuda": (1024, 8192)}  # of the measured product, in rows: the first and the largest
_SECONDS = 0.5  # that measuring takes
_TRIES = 3  # that are to fit into what is left of them before a side is doubled
_PRODUCTS = {"cpu": 1, "cuda": 10}  # in a try: on a GPU several, so that waiting for them counts for nothing
_QUERIES = frozenset({"query", "q_lin", "q"})  # what encoders of transformers call the product that makes queries


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Some steps of a training: what they learnt from, how long they took, and what the machine could have multiplied meanwhile."""

    tokens: int = 0  # over all ranks, without padding
    flops: float = 0.0  # that a model needs for them
    seconds: float = 0.0  # on the clock, steps alone
    possible: float = 0.0  # FLOPs that all ranks could have done in that time, by the measured peak

    def __add__(self, other: Throughput) -> Throughput:
        return Throughput(
            tokens=self.tokens + other.tokens,
            flops=self.flops + other.flops,
            seconds=self.seconds + other.seconds,
            possible=self.possible + other.possible,
        )

    def figures(self) -> dict[str, float]:
        """By name: tokens_per_second, and flops_utilisation in [0, 1]; empty where no step was taken."""
        if not self.seconds:
            return {}
        return {
            "tokens_per_second": self.tokens / self.seconds,
            "flops_utilisation": self.flops / self.possible,
        }


@dataclass(frozen=True)
class Cost:
    """What a network needs in FLOPs to learn from windows: `per_token`, and `per_pair` for each pair of tokens of a window."""

    per_token: float
    per_pair: float

    @classmethod
    def of(cls, network: nn.Module, *, passes: int = 1) -> Cost:
        """Of a network as it is now, some of its parameters frozen or not; `passes` of each token."""
        looked_up = {
            id(parameter)
            for module in network.modules()
            if isinstance(module, nn.Embedding) or hasattr(module, "embedding_dim")
            for parameter in module.parameters(recurse=False)
        }
        multiplied = [one for one in network.parameters() if one.ndim > 1 and id(one) not in looked_up]
        per_token = sum((6.0 if one.requires_grad else 2.0) * one.numel() for one in multiplied)
        return cls(passes * per_token, passes * sum(12.0 * width for width in _attention(network)))

    def flops(self, lengths: Sequence[int]) -> float:
        """For windows of so many tokens each."""
        each = np.asarray(lengths, dtype=np.float64)
        return float(self.per_token * each.sum() + self.per_pair * (each**2).sum())


def _attention(network: nn.Module) -> list[int]:
    """The width of the queries of each layer that attends."""
    queries: list[Any] = [one for name, one in network.named_modules() if name.rpartition(".")[2] in _QUERIES]
    return [int(one.out_features) for one in queries]


@cache
def matrix_peak(device: str, dtype: torch.dtype, threads: int) -> float:
    """FLOPs a second of the fastest of some square linear layers on random numbers; measured once a process, in half a second.

    A linear layer is what training computes; `@` of the same matrices has no fast kernel on some CPUs. Sides grow while time is left, so that a
    machine without fast arithmetic of that kind tells how slow it is just as soon. `device` is a type, "cpu" or "cuda"; `threads`, of a CPU, are
    those that torch has now: they only tell one measurement from another.
    """
    side, largest = _SIDES[device]
    given, weight = _matrices(side, device, dtype)
    _seconds(given, weight, 1)  # starts threads and libraries
    best, end = 0.0, time.perf_counter() + _SECONDS
    while True:
        took = _seconds(given, weight, _PRODUCTS[device])
        best = max(best, 2.0 * side**3 * _PRODUCTS[device] / took)
        left = end - time.perf_counter()
        if left < took:
            return best
        if side < largest and _TRIES * 8 * took < left:
            side *= 2
            given, weight = _matrices(side, device, dtype)


def _matrices(side: int, device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Two random ones (side, side)."""
    generator = torch.Generator(device).manual_seed(0)
    return [torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2)]


def _seconds(given: torch.Tensor, weight: torch.Tensor, products: int) -> float:
    """How long so many products take."""
    begin = time.perf_counter()
    for _ in range(products):
        made = nn.functional.linear(given, weight)
    made[0, 0].item()  # waits for a GPU
    return time.perf_counter() - begin
