"""An adaptation paused between two steps, on disk: weights, the best weights so far, optimiser, steps, evaluations. No pickle.

Learning rate, batches, masks and dropout are functions of seed and step, so none of them needs a place here, and what is resumed takes the
very steps that an undisturbed run takes. `models.checkpoint.standing` finds the last complete one after a kill.
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

from models.adaptation.figures import Evaluation, Figure
from models.checkpoint import CheckpointRefused

STATE = "state.json"
_WEIGHTS, _BEST, _OPTIMISER = "weights.safetensors", "best.safetensors", "optimiser.safetensors"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Paused:
    """Where an adaptation stands. `data` is the digest of its texts, `recipe` the recipe as JSON has it."""

    step: int
    best_step: int
    evaluations: tuple[Evaluation, ...]
    recipe: Mapping[str, Any]
    data: str

    @classmethod
    def from_json(cls, text: str) -> Paused:
        """The inverse of dataclasses.asdict and json.dumps; ValueError, TypeError or KeyError where it is none."""
        fields = json.loads(text)
        fields["evaluations"] = tuple(
            Evaluation(step=one["step"], figures=tuple(Figure(**figure) for figure in one["figures"]))
            for one in fields["evaluations"]
        )
        return cls(**fields)


def write(
    directory: Path,
    *,
    state: Paused,
    weights: Mapping[str, torch.Tensor],
    best: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> Path:
    """Write a checkpoint, replacing the one in `directory`, which goes last; it is complete when state.json is there, which comes last."""
    draft, old = directory.with_name(directory.name + ".new"), directory.with_name(directory.name + ".old")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    moments = optimiser.state_dict()["state"]
    flat = {f"{index}.{name}": value for index, held in moments.items() for name, value in held.items()}
    for name, tensors in ((_WEIGHTS, weights), (_BEST, best), (_OPTIMISER, flat)):
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}, draft / name)
    (draft / STATE).write_text(json.dumps(dataclasses.asdict(state), indent=2), encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    draft.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
    return directory


def read(directory: Path, optimiser: torch.optim.Optimizer) -> tuple[Paused, Weights, Weights]:
    """A checkpoint's state, weights and best weights; the optimiser, made anew for the same parameters, gets its moments."""
    try:
        state = Paused.from_json((directory / STATE).read_text(encoding="utf-8"))
        weights, best, flat = (load_file(directory / name) for name in (_WEIGHTS, _BEST, _OPTIMISER))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise CheckpointRefused(f"{directory} holds no complete checkpoint of an adaptation: {error}") from error
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return state, weights, best
