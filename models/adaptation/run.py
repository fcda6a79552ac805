"""One adaptation under way on one rank: what models.adapting.adapt drives from checkpoint to checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn

from models.adaptation import checkpoint as checkpoints
from models.adaptation import output as outputs
from models.adaptation.drawing import Course, Drawing
from models.adaptation.figures import Evaluation, evaluate
from models.adaptation.network import ObjectiveNetwork
from models.adaptation.preparing import drawing, make_optimiser, refuse_useless
from models.adaptation.recipe import AdaptRecipe
from models.adaptation.texts import Texts
from models.batching import plan
from models.checkpoint import remove
from models.encoder import Encoder, load_trunk, locate
from models.manifest import package_versions
from models.objectives import Batch
from models.pieces import Frame
from models.recipe import RecipeRefused
from models.schedule import learning_rate_factor, share


@dataclass(kw_only=True)
class Adaptation:
    """A network, its texts and its optimiser, with the steps done and the evaluations so far."""

    name: str
    parent: Path
    recipe: AdaptRecipe
    data: str
    documents: dict[str, int]
    output: Path
    rank: int
    world: int
    encoder: Encoder
    network: ObjectiveNetwork
    warm_heads: tuple[str, ...]
    wrapped: nn.Module
    train: Drawing
    dev: Drawing
    course: Course
    optimiser: torch.optim.Optimizer
    step: int = 0
    evaluations: list[Evaluation] = dataclasses.field(default_factory=list)
    best_step: int = 0
    best_weights: checkpoints.Weights = dataclasses.field(default_factory=dict)

    @classmethod
    def start(
        cls,
        *,
        trunk: str,
        texts: Texts,
        recipe: AdaptRecipe,
        output: Path,
        rank: int,
        world: int,
        wrap: Callable[[nn.Module], nn.Module],
        allow_hub: bool,
    ) -> Adaptation:
        """An adaptation before its first step; every rank starts from the same weights."""
        parent = locate(trunk, allow_hub=allow_hub)
        encoder = Encoder.from_directory(parent)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            network = ObjectiveNetwork(load_trunk(parent, dropout=recipe.dropout), recipe.objectives)
        warm = network.warm(parent)
        network.to(_device())
        frame = Frame(prefix=encoder.prefix, suffix=encoder.suffix, typed=network.typed)
        train, dev = (drawing(part, encoder, frame, recipe) for part in (texts.train, texts.dev))
        refuse_useless(train, dev, recipe)
        return cls(
            name=trunk,
            parent=parent,
            recipe=recipe,
            data=texts.digest(),
            documents={"train": len(texts.train), "dev": len(texts.dev)},
            output=output,
            rank=rank,
            world=world,
            encoder=encoder,
            network=network,
            warm_heads=tuple(warm),
            wrapped=wrap(network),
            train=train,
            dev=dev,
            course=Course(lengths=train.lengths(), recipe=recipe),
            optimiser=make_optimiser(network, recipe),
        )

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.step >= self.course.total

    def measure(self) -> None:
        """Evaluate the present weights on the held-out pieces, on rank 0, and keep them where they are the best since the first step."""
        found: list[Evaluation | None] = [None]
        if self.rank == 0 or not torch.distributed.is_initialized():
            found = [evaluate(self.network, self._held_out(), step=self.step, bf16=self.recipe.precision == "bf16")]
        if torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(found, src=0, device=self.network.device)
        assert found[0] is not None
        after = [one.loss for one in self.evaluations if one.step]
        self.evaluations.append(found[0])
        if self.step and found[0].loss < min(after, default=float("inf")):
            self.best_step = self.step
            self.best_weights = {key: value.detach().cpu().clone() for key, value in self.network.state_dict().items()}

    def advance(self) -> dict[str, float]:
        """Take the steps up to the next checkpoint, and measure; the figures are named OBJECTIVE.train_loss, means over this rank's guesses."""
        sums = torch.zeros(len(self.network.keys))
        counts = torch.zeros(len(self.network.keys))
        stop, epoch, batches = self.course.stop(self.step), -1, list[tuple[int, ...]]()
        while self.step < stop:
            if self.course.epoch(self.step) != epoch:
                epoch = self.course.epoch(self.step)
                batches = self.course.batches(epoch)
            losses, asked = self._learn(batches[self.step - self.course.starts[epoch]], epoch)
            sums, counts = sums + losses, counts + asked
            self.step += 1
        self.measure()
        means = (sums / counts.clamp(min=1)).tolist()
        return {f"{name}.train_loss": mean for name, mean in zip(self.network.keys, means, strict=True)}

    def _learn(self, items: Sequence[int], epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; this rank's losses, summed over its guesses, and how many those were, (objectives,) each."""
        recipe, device = self.recipe, self.network.device
        warmup = max(1, round(recipe.warmup_share * self.course.total))
        factor = learning_rate_factor(self.step, total=self.course.total, warmup=warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        batches = [
            Batch.of([self.train.draw(index, epoch=epoch) for index in part], pad_id=self.encoder.pad_id, device=device)
            for part in share(items, rank=self.rank, world=self.world, accumulate=recipe.accumulate)
        ]
        mine = torch.tensor([self.network.counts(batch) for batch in batches], dtype=torch.float32).sum(dim=0)
        everywhere = mine.to(device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(everywhere)
        losses = torch.zeros_like(mine)
        self.wrapped.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([recipe.seed, self.step, self.rank]).generate_state(1)[0]))
            for batch in batches:
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
                    sums = self.wrapped(batch)
                (sums / everywhere.clamp(min=1)).sum().mul(self.world).backward()
                losses += sums.detach().cpu()
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.max_gradient_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return losses, mine

    def _held_out(self) -> list[Batch]:
        """The held-out pieces that are measured: a fixed choice, with fixed masks."""
        lengths = self.dev.lengths()
        order = np.random.default_rng(self.recipe.seed).permutation(len(lengths)).tolist()
        chosen = sorted(order[: self.recipe.evaluation_pieces])
        budget = max(self.recipe.batch_tokens // self.recipe.accumulate, self.recipe.max_length)
        return [
            Batch.of(
                [self.dev.fixed(chosen[place]) for place in batch],
                pad_id=self.encoder.pad_id,
                device=self.network.device,
            )
            for batch in plan([lengths[index] for index in chosen], token_budget=budget)
        ]

    def _checkpoint_directory(self) -> Path:
        return self.output.with_name(f".{self.output.name}.checkpoint")

    def checkpoint(self) -> Path:
        """Write where the adaptation stands beside its output, replacing the last such."""
        state = checkpoints.Paused(
            step=self.step,
            best_step=self.best_step,
            evaluations=tuple(self.evaluations),
            recipe=_as_json(self.recipe),
            data=self.data,
        )
        return checkpoints.write(
            self._checkpoint_directory(),
            state=state,
            weights=self.network.state_dict(),
            best=self.best_weights,
            optimiser=self.optimiser,
        )

    def resume(self, directory: Path) -> None:
        """Go on from a checkpoint of the same recipe and the same texts."""
        state, weights, best = checkpoints.read(directory, self.optimiser)
        now = _as_json(self.recipe)
        changed = sorted(name for name in now if now[name] != state.recipe.get(name))
        if changed or state.data != self.data:
            what = f"another recipe ({', '.join(changed)} differ)" if changed else "other texts"
            raise RecipeRefused(f"{directory} was written under {what}; allowed: the same recipe and texts")
        self.network.load_state_dict(weights)
        self.step, self.best_step, self.best_weights = state.step, state.best_step, best
        self.evaluations = list(state.evaluations)

    def save(self) -> outputs.AdaptManifest:
        """Bring back the best weights, write the trunk, drop the checkpoint."""
        self.network.load_state_dict(self.best_weights)
        by_step = {one.step: one for one in self.evaluations}
        manifest = outputs.AdaptManifest(
            objectives=self.recipe.objectives,
            recipe=_as_json(self.recipe),
            parent=self.name,
            parent_sha256=outputs.weights_sha256(self.parent),
            warm_heads=self.warm_heads,
            data=self.data,
            documents=self.documents,
            pieces={"train": len(self.train.pieces), "dev": len(self.dev.pieces)},
            tokens={
                part: sum(len(piece.ids) for piece in drawing.pieces)
                for part, drawing in (("train", self.train), ("dev", self.dev))
            },
            steps=self.step,
            best_step=self.best_step,
            before=by_step[0].by_name(),
            after=by_step[self.best_step].by_name(),
            packages=package_versions(),
        )
        done = outputs.save(
            self.output, parent=self.parent, network=self.network, encoder=self.encoder, manifest=manifest
        )
        remove(self._checkpoint_directory())
        return done


def _as_json(recipe: AdaptRecipe) -> dict[str, Any]:
    """A recipe as it comes back from JSON."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return fields


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
