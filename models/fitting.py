"""One training under way on one rank: what models.training.fit drives epoch by epoch."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from torch import nn

from models import checkpoint as checkpoints
from models import tuning
from models.averaging import Averaged
from models.calibrating import fresh
from models.compress.distil import Distillation, Lesson
from models.dropout import quicken
from models.encoder import Encoder
from models.epochs import Epochs
from models.evaluation import Evaluation, Judged, judge
from models.items import Item, head_options, make_items
from models.losses import Diverged
from models.network import Network
from models.optimiser import freeze, make_optimiser
from models.outcome import conclude
from models.recipe import Recipe, RecipeRefused, TaskData
from models.rows import learn_rows
from models.starting import begin
from models.stepping import take
from models.throughput import Throughput

_START = 0  # draws the heads' first weights, the same for every seed of a recipe, so that trainings can be averaged
_RESUMABLE = frozenset({"epochs", "patience"})  # what a resumed training may change in its recipe

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Fitting:
    """A network, its data and its optimiser, with the counters of the epochs done."""

    name: str
    recipe: Recipe
    data: Mapping[str, TaskData]
    output: Path
    rank: int
    world: int
    encoder: Encoder
    network: Network
    wrapped: nn.Module
    items: Mapping[str, list[Item]]
    epochs: Epochs
    optimiser: torch.optim.Optimizer
    averaged: Averaged
    lesson: Lesson | None = None
    learnt: frozenset[str] = frozenset()  # hashes of texts it has learnt from otherwise: before, or through teachers
    pause: Callable[[Fitting], None] = lambda _: None
    epochs_done: int = 0
    epoch_step: int = 0  # steps done of the epoch under way
    step: int = 0
    losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # of the epoch under way, by task
    throughput: Throughput = dataclasses.field(
        default_factory=Throughput
    )  # of the steps that this process took of the last epoch
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: Mapping[str, torch.Tensor] = dataclasses.field(default_factory=dict)
    finished: bool = False

    @classmethod
    def start(
        cls,
        *,
        trunk: str,
        data: Mapping[str, TaskData],
        recipe: Recipe,
        output: Path,
        rank: int,
        world: int,
        wrap: Callable[[nn.Module], nn.Module],
        allow_hub: bool,
        distillation: Distillation | None = None,
    ) -> Fitting:
        """A training before its first step; every rank starts from the same weights."""
        with torch.random.fork_rng():
            torch.manual_seed(_START)
            options = head_options(data, recipe)
            start = begin(trunk, tuple(data), options, word_shapes=recipe.word_shapes, allow_hub=allow_hub)
        encoder, network = start.encoder, start.network
        freeze(network, recipe.freeze_layers)
        network.to(_device())
        quicken(network, recipe)
        encoder = tuning.prepare(network, encoder, recipe)
        items = {task: make_items(network.head(task), encoder, parts, recipe) for task, parts in data.items()}
        lesson = None if distillation is None else Lesson(distillation, network, encoder)
        learnt = start.learnt | (frozenset() if lesson is None else lesson.learnt())
        data = {
            task: dataclasses.replace(parts, dev=fresh(network.head(task), parts.dev, learnt))
            for task, parts in data.items()
        }
        if lesson is not None:
            for task, some in items.items():
                some.extend(lesson.unlabelled(network.head(task), encoder, recipe, like=some[0]))
        if network.device.type == "cpu":
            learn_rows(
                network.trunk.encoder, (one.ids for some in items.values() for item in some for one in item.windows)
            )
        return cls(
            name=trunk,
            recipe=recipe,
            data=data,
            output=output,
            rank=rank,
            world=world,
            encoder=encoder,
            network=network,
            wrapped=wrap(network),
            items=items,
            epochs=Epochs(items=items, data=data, network=network, encoder=encoder, recipe=recipe),
            optimiser=make_optimiser(network, recipe),
            averaged=Averaged(network, kind=recipe.averaging, ema_decay=recipe.ema_decay),
            lesson=lesson,
            learnt=learnt,
        )

    def epoch(self) -> dict[str, float]:
        """Learn from every item once, measure on dev; the figures are named TASK.FIGURE, losses are means over the epoch.

        Every `checkpoint_steps` steps `pause` is called, and random choices begin anew from what the step is called, not from what was drawn
        before it: so an epoch can be gone on with from there.
        """
        self.throughput = Throughput()
        steps, items = self.epochs.steps(self.epochs_done), self.epochs.items(self.epochs_done)
        devices = [self.network.device] if self.network.device.type == "cuda" else []
        every = self.recipe.checkpoint_steps or len(steps)
        with torch.random.fork_rng(devices=devices):
            self.wrapped.train()
            while self.epoch_step < len(steps):
                if self.epoch_step % every == 0:
                    torch.manual_seed(self._seed())
                self.throughput += take(self, steps[self.epoch_step : (self.epoch_step // every + 1) * every], items)
                if self.epoch_step < len(steps):
                    self.pause(self)
        self.epochs_done, self.epoch_step = self.epochs_done + 1, 0
        shared = self.recipe.auxiliary_epochs if any(parts.auxiliary for parts in self.data.values()) else 0
        first = shared or (self.recipe.epochs + 1) // 2
        self.averaged.end_epoch(epoch=self.epochs_done, first=first)
        metrics = {f"{task}.loss": float(np.mean(values)) for task, values in self.losses.items()}
        self.losses = {}
        with self.averaged.applied():
            try:
                metrics.update(self._measure())
            except FloatingPointError as error:
                raise self._diverged(metrics) from error
            self._choose(metrics["dev"])
        if self.finished and not self.best_weights:
            raise self._diverged(metrics)
        return metrics

    def _diverged(self, metrics: Mapping[str, float]) -> Diverged:
        losses = ", ".join(f"{name} {value:g}" for name, value in sorted(metrics.items()) if name.endswith(".loss"))
        return Diverged(
            f"after epoch {self.epochs_done} of the training for {self.output} there is no figure on dev ({losses}); allowed: a recipe whose "
            f"loss stays a number, such as a learning_rate below {self.recipe.learning_rate:g}"
        )

    def _seed(self) -> int:
        """A seed for the steps from here on: of (seed, epoch, rank), and within an epoch of the step."""
        place = [self.recipe.seed, self.epochs_done, self.rank, *([self.epoch_step] if self.epoch_step else [])]
        return int(np.random.SeedSequence(place).generate_state(1)[0])

    def _measure(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        if self.rank == 0 or not torch.distributed.is_initialized():
            figures = {task: self.evaluation(task) for task in self.data}
            metrics = {
                f"{task}.{name}": value for task, one in figures.items() for name, value in one.metrics().items()
            }
            metrics["dev"] = float(np.mean([one.f1 for one in figures.values()]))
        if torch.distributed.is_initialized():
            shared = [metrics]
            torch.distributed.broadcast_object_list(shared, src=0, device=self.network.device)
            metrics = shared[0]
        return metrics

    def evaluation(self, task: str, *, calibrated: bool = False) -> Evaluation:
        """The figures of the present weights on the task's dev part."""
        judged = self.judge(task)
        return judged.evaluate(judged.temperature() if calibrated else 1.0)

    def judge(self, task: str) -> Judged:
        """What the present weights say of the task's dev part."""
        recipe = self.recipe
        return judge(
            self.network,
            self.encoder,
            task,
            self.data[task].dev,
            max_length=recipe.max_length,
            overlap=recipe.overlap,
            reading=recipe.reading,
        )

    def _choose(self, figure: float) -> None:
        if figure > self.best:
            self.best, self.best_epoch = figure, self.epochs_done
            self.best_weights = {
                name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()
            }
        waited = self.epochs_done - self.best_epoch
        patient = not self.recipe.patience or waited < self.recipe.patience
        self.finished = self.epochs_done >= self.recipe.epochs or not patient

    def _checkpoint_directory(self) -> Path:
        return self.output.with_name(f".{self.output.name}.checkpoint")

    def checkpoint(self) -> Path:
        """Write where the training stands beside its output, replacing the last such."""
        state = checkpoints.State(
            epoch=self.epochs_done,
            epoch_step=self.epoch_step,
            step=self.step,
            losses=self.losses,
            averaged=self.averaged.count,
            best=self.best,
            best_epoch=self.best_epoch,
            finished=self.finished,
            recipe=dataclasses.asdict(self.recipe),
        )
        return checkpoints.write(
            self._checkpoint_directory(),
            state=state,
            weights=self.network.state_dict(),
            best=self.best_weights,
            average=self.averaged.weights,
            optimiser=self.optimiser,
        )

    def resume(self, directory: Path) -> None:
        """Go on from a checkpoint of the same recipe; epochs and patience may differ."""
        state, weights, best, average = checkpoints.read(directory)
        now = json.loads(json.dumps(dataclasses.asdict(self.recipe)))  # as the checkpoint holds it
        changed = sorted(name for name in now if now[name] != state.recipe.get(name) and name not in _RESUMABLE)
        if changed:
            raise RecipeRefused(
                f"{directory} was written under another recipe ({', '.join(changed)} differ); allowed to differ: epochs, patience"
            )
        self.network.load_state_dict(weights)
        checkpoints.restore_optimiser(directory, self.optimiser)
        self.averaged.restore(average, state.averaged)
        self.epochs_done, self.step, self.best_weights = state.epoch, state.step, best
        self.epoch_step, self.losses = state.epoch_step, {task: list(some) for task, some in state.losses.items()}
        self.best, self.best_epoch = state.best, state.best_epoch
        stopped_early = state.finished and all(now[name] == state.recipe.get(name) for name in _RESUMABLE)
        self.finished = state.epoch >= self.recipe.epochs or stopped_early

    def save(self) -> None:
        """Bring back the best weights, write the bundle, drop the checkpoint."""
        self.network.load_state_dict(dict(self.best_weights))
        conclude(self)
        checkpoints.remove(self._checkpoint_directory())


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
