"""Averaged weights: a mean over the steps of a training, which is what is measured and saved while the training itself goes on beside it.

"ema" is an exponential moving average (Polyak and Juditsky 1992; Tarvainen and Valpola 2017 for its use with a network): after update n, from
0, mean <- d mean + (1 - d) weights with d = min(decay, (1 + n) / (10 + n)). The ramp, TensorFlow's, is the warm start: without it a training of
some hundred steps would be averaged with the weights it began with. "swa" is stochastic weight averaging (Izmailov et al. 2018): the plain mean
over the last quarter of the steps; before them the weights are measured as they are. Left out of it: the high constant learning rate of
the paper, since the schedule here falls to 0, and the renewal of batch statistics, of which a BERT has none. "epochs" is the plain mean of the
weights at the ends of epochs, from the last auxiliary one on (without any, from the middle one): so what was learnt from other sources
stays in the mean (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

Does not cover: averages over several trainings, see models.ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

AVERAGINGS = ("none", "ema", "swa", "epochs")
SWA_SHARE = 0.25  # of the planned steps, the last so many


class Averaged:
    """The mean of a network's learning parameters by one of AVERAGINGS; `weights` is empty as long as there is none."""

    def __init__(self, network: nn.Module, *, kind: str, ema_decay: float) -> None:
        self._kind = kind
        self._decay = ema_decay
        self._live = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self.count = 0  # updates so far
        self.weights: dict[str, torch.Tensor] = {}
        if kind == "ema":
            self.weights = self._copy()

    def update(self, *, step: int, total: int) -> None:
        """Take in the weights after optimiser step `step`, counted from 1, of `total` planned."""
        if self._kind == "ema":
            decay = min(self._decay, (1 + self.count) / (10 + self.count))
            self._move(1.0 - decay)
        elif self._kind == "swa" and step > (1.0 - SWA_SHARE) * total:
            if not self.count:
                self.weights = self._copy()
            self._move(1.0 / (self.count + 1))
        else:
            return
        self.count += 1

    def end_epoch(self, *, epoch: int, first: int) -> None:
        """Take in the weights after epoch `epoch`, counted from 1; the mean begins at epoch `first`."""
        if self._kind != "epochs" or epoch < first:
            return
        if not self.count:
            self.weights = self._copy()
        self._move(1.0 / (self.count + 1))
        self.count += 1

    def restore(self, weights: Mapping[str, torch.Tensor], count: int) -> None:
        """Go on from what a checkpoint holds."""
        self.weights = {name: value.to(self._live[name].device) for name, value in weights.items()}
        self.count = count

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network holds the mean, where there is one; it must not learn there."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: one.detach().clone() for name, one in self._live.items()}

    def _move(self, share: float) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.weights.values()), [self._live[name].detach() for name in self.weights], share
            )

    def _swap(self) -> None:
        for name, mean in self.weights.items():
            live = self._live[name]
            live.data, self.weights[name] = mean, live.data
