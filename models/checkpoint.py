"""A training paused between two epochs, on disk: weights, optimiser, counters, the best weights so far. No pickle.

The learning rate is a function of the step and every random choice is drawn from (seed, epoch, rank), so neither needs a place here, and a
training that is resumed takes the very steps that one never interrupted takes.
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

_STATE, _WEIGHTS, _BEST, _OPTIMISER = "state.json", "weights.safetensors", "best.safetensors", "optimiser.safetensors"


class CheckpointRefused(Fatal):
    """The directory holds no checkpoint, or one of another training."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a training stands: epochs and steps done, the best figure on dev and epochs since, and the recipe it follows."""

    epoch: int
    step: int
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
    optimiser: torch.optim.Optimizer,
) -> Path:
    """Write a checkpoint, replacing the one in `directory`; it is complete when state.json is there, which comes last."""
    draft = directory.with_name(directory.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(_plain(weights), draft / _WEIGHTS)
    save_file(_plain(best), draft / _BEST)
    moments = optimiser.state_dict()["state"]
    save_file(
        _plain({f"{index}.{name}": value for index, state_of in moments.items() for name, value in state_of.items()}),
        draft / _OPTIMISER,
    )
    (draft / _STATE).write_text(json.dumps(dataclasses.asdict(state), indent=2), encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    draft.rename(directory)
    return directory


def _plain(tensors: Mapping[str, torch.Tensor]) -> Weights:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def read(directory: Path) -> tuple[State, Weights, Weights]:
    """A checkpoint's state, weights and best weights."""
    try:
        state = State(**json.loads((directory / _STATE).read_text(encoding="utf-8")))
        return state, load_file(directory / _WEIGHTS), load_file(directory / _BEST)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointRefused(f"{directory} holds no complete checkpoint of a training: {error}") from error


def restore_optimiser(directory: Path, optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser, made anew for the same parameters in the same order, the moments of a checkpoint."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(directory / _OPTIMISER).items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    plain = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": plain["param_groups"]})
