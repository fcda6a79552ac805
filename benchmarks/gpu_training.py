"""The part of benchmarks.gpu that fine-tunes: optimiser steps at 128 tokens, as shares of the measured matrix peak.

    ours                        models.stepping as a training takes them: padded batches by tokens, torch's fused attention
    ours, compiled              the same, the encoder through torch.compile
    ours, un-padded             flash attention over windows end to end, which knows no dropout of attention weights; and the same compiled
    plain loop                  batches of 64 in the order given, autocast, AdamW as it comes, a wait for every copy

What is not "ours" alone is no option of a training yet: it is tried here first. Does not cover: learning rates, evaluation, several GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from benchmarks.figure import rates
from benchmarks.gpu_inputs import AT, PLAIN, Shape, budget, device, padded, peak, standing, texts
from data_contracts.labelled import SentimentExample
from data_contracts.labels import SENTIMENT
from models.backends.torch import compiled
from models.backends.unpadded import unpad
from models.bundle import Bundle
from models.fitting import Fitting
from models.recipe import Recipe, TaskData
from models.stepping import take
from models.throughput import Cost
from models.training import identity


def steps(shape: Shape, made: Bundle, tokens: int, *, runs: int) -> dict[str, list[float]]:
    """Shares of the peak, by contestant; a run learns from half of `tokens`."""
    given = texts(shape, [AT] * max(2, tokens // 2 // AT))
    examples = [SentimentExample(text=text, label=SENTIMENT[n % 3]) for n, text in enumerate(given)]
    recipe = Recipe(epochs=runs + 2, batch_tokens=budget() // 2, max_length=AT, overlap=16)
    share = Cost.of(made.network().requires_grad_()).flops([AT] * len(given)) / peak()
    variants = ["ours"]
    if torch.cuda.is_available():
        variants += ["ours, compiled", "ours, un-padded", "ours, un-padded, compiled"]
    contestants = {name: _stepped(_variant(name, _fitting(made, examples, recipe)), share) for name in variants}
    contestants["plain loop"] = _plain(_fitting(made, examples, recipe), share)
    return rates(standing(contestants), runs=runs)


def _fitting(made: Bundle, examples: Sequence[SentimentExample], recipe: Recipe) -> Fitting:
    return Fitting.start(
        trunk=str(made.path.parent / "trunk"),
        data={"sentiment": TaskData(examples, examples[:2])},
        recipe=recipe,
        output=made.path.parent / "fitted",
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )


def _variant(name: str, fitting: Fitting) -> Fitting:
    if "un-padded" in name:
        unpad(fitting.network.trunk)
    if "compiled" in name:
        compiled(fitting.network)
    return fitting


def _stepped(fitting: Fitting, share: float) -> Callable[[], float]:
    """An epoch of steps a run."""

    def once() -> float:
        fitting.wrapped.train()
        take(fitting, fitting.epochs.steps(fitting.epochs_done), fitting.epochs.items(fitting.epochs_done))
        fitting.epochs_done, fitting.epoch_step = fitting.epochs_done + 1, 0
        return share

    return once


def _plain(fitting: Fitting, share: float) -> Callable[[], float]:
    """What a plain program has."""
    network, items = fitting.network, fitting.items["sentiment"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def once() -> float:
        network.train()
        for begin in range(0, len(items), PLAIN):
            some = items[begin : begin + PLAIN]
            batch = padded([torch.from_numpy(item.windows[0].ids) for item in some])
            labels = torch.tensor([int(item.targets[0][0]) for item in some]).to(device())
            with torch.autocast(device(), dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(network("sentiment", batch).float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        loss.item()
        return share

    return once
