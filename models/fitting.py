"""One training under way on one rank: what models.training.fit drives epoch by epoch."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from torch import nn

from models import bundle as bundles
from models import checkpoint as checkpoints
from models.batching import collate
from models.contamination import text_hashes
from models.encoder import Encoder, load_trunk, locate
from models.evaluation import Evaluation, Judged, judge
from models.heads import IGNORED
from models.items import Item, make_items
from models.manifest import Manifest, package_versions
from models.network import Network, Trunk
from models.optimiser import freeze, make_optimiser
from models.recipe import Recipe, RecipeRefused, TaskData
from models.schedule import Step, epoch_steps, learning_rate_factor, share

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
    optimiser: torch.optim.Optimizer
    epochs_done: int = 0
    step: int = 0
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
    ) -> Fitting:
        """A training before its first step; every rank starts from the same weights."""
        directory = locate(trunk, allow_hub=allow_hub)
        encoder = Encoder.from_directory(directory)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            body = Trunk(load_trunk(directory, dropout=recipe.dropout), word_shapes=recipe.word_shapes)
            network = Network(body, tuple(data), dropout=recipe.dropout, pooling=recipe.pooling)
        freeze(network, recipe.freeze_layers)
        network.to(_device())
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
            items={task: make_items(network.head(task), encoder, parts, recipe) for task, parts in data.items()},
            optimiser=make_optimiser(network, recipe),
        )

    def epoch(self) -> dict[str, float]:
        """Learn from every item once, measure on dev; the figures are named TASK.FIGURE, losses are means over the epoch."""
        losses: dict[str, list[float]] = {task: [] for task in self.data}
        devices = [self.network.device] if self.network.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(
                int(np.random.SeedSequence([self.recipe.seed, self.epochs_done, self.rank]).generate_state(1)[0])
            )
            self.wrapped.train()
            for step in self._steps():
                losses[step.task].append(self._learn(step))
        self.epochs_done += 1
        metrics = {f"{task}.loss": float(np.mean(values)) for task, values in losses.items()}
        metrics.update(self._measure())
        self._choose(metrics["dev"])
        return metrics

    def _steps(self) -> list[Step]:
        lengths = {task: [len(item.window.ids) for item in items] for task, items in self.items.items()}
        return epoch_steps(lengths, batch_size=self.recipe.batch_size, seed=self.recipe.seed, epoch=self.epochs_done)

    def _learn(self, step: Step) -> float:
        steps = sum(-(-len(items) // self.recipe.batch_size) for items in self.items.values())
        total = steps * self.recipe.epochs
        factor = learning_rate_factor(self.step, total=total, warmup=max(1, round(self.recipe.warmup_share * total)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        parts = share(step.items, rank=self.rank, world=self.world, accumulate=self.recipe.accumulate)
        count = sum(len(part) for part in parts)
        loss = 0.0
        for part in parts:
            partial = self._loss(step.task, [self.items[step.task][index] for index in part]) * (len(part) / count)
            partial.backward()  # type: ignore[no-untyped-call]
            loss += partial.item()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.max_gradient_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return loss

    def _loss(self, task: str, items: list[Item]) -> torch.Tensor:
        device = self.network.device
        batch = collate([item.window for item in items], pad_id=self.encoder.pad_id, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits = self.wrapped(task, batch.ids, batch.mask, batch.shapes)
        width = 1 if self.network.head(task).level == "text" else batch.ids.shape[1]
        targets = np.full((len(items), width), IGNORED, dtype=np.int64)
        for row, item in enumerate(items):
            targets[row, : len(item.target)] = item.target
        gold = torch.from_numpy(targets).to(device).reshape(-1)
        summed = nn.functional.cross_entropy(
            logits.float().reshape(len(gold), -1),
            gold,
            ignore_index=IGNORED,
            label_smoothing=self.recipe.label_smoothing,
            reduction="sum",
        )
        return summed / (gold != IGNORED).sum().clamp(min=1) * self.recipe.loss_weights.get(task, 1.0)

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
        judged = self._judge(task)
        return judged.evaluate(judged.temperature() if calibrated else 1.0)

    def _judge(self, task: str) -> Judged:
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
            step=self.step,
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
            optimiser=self.optimiser,
        )

    def resume(self, directory: Path) -> None:
        """Go on from a checkpoint of the same recipe; epochs and patience may differ."""
        state, weights, best = checkpoints.read(directory)
        now = dataclasses.asdict(self.recipe)
        changed = sorted(name for name in now if now[name] != state.recipe.get(name) and name not in _RESUMABLE)
        if changed:
            raise RecipeRefused(
                f"{directory} was written under another recipe ({', '.join(changed)} differ); allowed to differ: epochs, patience"
            )
        self.network.load_state_dict(weights)
        checkpoints.restore_optimiser(directory, self.optimiser)
        self.epochs_done, self.step, self.best_weights = state.epoch, state.step, best
        self.best, self.best_epoch = state.best, state.best_epoch
        stopped_early = state.finished and all(now[name] == state.recipe.get(name) for name in _RESUMABLE)
        self.finished = state.epoch >= self.recipe.epochs or stopped_early

    def save(self) -> None:
        """Bring back the best weights, calibrate and measure them on dev, write the bundle, drop the checkpoint."""
        self.network.load_state_dict(dict(self.best_weights))
        judged = {task: self._judge(task) for task in self.data}
        temperatures = {task: one.temperature() for task, one in judged.items()}
        metrics = {task: one.evaluate(temperatures[task]).metrics() for task, one in judged.items()}
        recipe = self.recipe
        manifest = Manifest(
            trunk=self.name,
            labels={task: self.network.head(task).labels for task in self.data},
            temperatures=temperatures,
            max_length=recipe.max_length,
            overlap=recipe.overlap,
            reading=recipe.reading,
            pooling=recipe.pooling,
            word_shapes=recipe.word_shapes,
            vocabulary=self.encoder.tokenizer.get_vocab_size(),
            examples={task: len(parts.train) for task, parts in self.data.items()},
            metrics=metrics,
            recipe=dataclasses.asdict(recipe),
            packages=package_versions(),
        )
        texts = {
            task: text_hashes(self.network.head(task).text(example) for example in parts.train)
            for task, parts in self.data.items()
        }
        bundles.save(self.output, network=self.network, encoder=self.encoder, manifest=manifest, training_texts=texts)
        shutil.rmtree(self._checkpoint_directory(), ignore_errors=True)


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
