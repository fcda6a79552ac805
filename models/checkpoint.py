"""A training paused after an epoch or within one, on disk: weights, optimiser, counters, averaged weights, the best so far. No pickle.

The learning rate is a function of the step, and random choices begin anew at every place where a training can pause, from (seed, epoch, step,
rank); so neither needs a place here, and a training that is resumed takes the very steps that one never interrupted takes.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from data_contracts.errors import Fatal

_STATE, _WEIGHTS, _BEST = "state.json", "weights.safetensors", "best.safetensors"
_AVERAGE, _OPTIMISER = "average.safetensors", "optimiser.safetensors"


class CheckpointRefused(Fatal):
    """The directory holds no checkpoint, or one of another training."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a training stands: epochs and steps done, the best figure on dev and its epoch, and the recipe it follows.

    Of an epoch under way: its steps done, and their losses by task. `averaged` counts the updates of the averaged weights.
    """

    epoch: int
    epoch_step: int
    step: int
    losses: Mapping[str, list[float]]
    averaged: int
    best: float
    best_epoch: int
    finished: bool
    recipe: Mapping[str, Any]


Weights = dict[str, torch.Tensor]


def write(
    directory: Path,
    *,
    state: State,
    weights: Mapping[str, torch.Tensor],
    best: Mapping[str, torch.Tensor],
    average: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> Path:
    """Write a checkpoint, replacing the one in `directory`, which goes last; it is complete when state.json is there, which comes last."""
    draft, old = _beside(directory)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(_plain(weights), draft / _WEIGHTS)
    save_file(_plain(best), draft / _BEST)
    save_file(_plain(average), draft / _AVERAGE)
    moments = optimiser.state_dict()["state"]
    save_file(
        _plain({f"{index}.{name}": value for index, state_of in moments.items() for name, value in state_of.items()}),
        draft / _OPTIMISER,
    )
    (draft / _STATE).write_text(json.dumps(dataclasses.asdict(state), indent=2), encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    draft.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
    return directory


def standing(directory: Path) -> Path | None:
    """Where the last complete checkpoint lies that was written to `directory`: beside it, if the writer was killed while it replaced one."""
    draft, old = _beside(directory)
    return next((one for one in (directory, draft, old) if (one / _STATE).is_file()), None)


def remove(directory: Path) -> None:
    """Delete a checkpoint and whatever a killed writer left beside it."""
    for one in (directory, *_beside(directory)):
        shutil.rmtree(one, ignore_errors=True)


def _beside(directory: Path) -> tuple[Path, Path]:
    return directory.with_name(directory.name + ".new"), directory.with_name(directory.name + ".old")


def _plain(tensors: Mapping[str, torch.Tensor]) -> Weights:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def read(directory: Path) -> tuple[State, Weights, Weights, Weights]:
    """A checkpoint's state, weights, best weights and averaged weights; the last two may be empty."""
    try:
        state = _state(directory)
        weights, best, average = (load_file(directory / name) for name in (_WEIGHTS, _BEST, _AVERAGE))
        return state, weights, best, average
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointRefused(f"{directory} holds no complete checkpoint of a training: {error}") from error


def reached(directory: Path | None) -> tuple[int, int]:
    """The epochs and the steps that a checkpoint has behind it; of none, 0 and 0."""
    if directory is None:
        return 0, 0
    try:
        state = _state(directory)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointRefused(f"{directory} holds no complete checkpoint of a training: {error}") from error
    return state.epoch, state.step


def _state(directory: Path) -> State:
    return State(**json.loads((directory / _STATE).read_text(encoding="utf-8")))


def restore_optimiser(directory: Path, optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser, made anew for the same parameters in the same order, the moments of a checkpoint."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(directory / _OPTIMISER).items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    plain = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": plain["param_groups"]})
