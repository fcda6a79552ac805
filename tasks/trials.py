"""The trials of a search: how many, where each lives, and what came of it. Knows files, not Ray.

A search is a directory `storage/name`; its name carries a hash of everything that decides the outcome. Under it each trial has a
directory of its number, with its parameters, a line an epoch, the training's own checkpoint while it runs, and at the end a mark and,
where it went to its last epoch, a bundle. That is all a search needs to go on after a kill: parameters are drawn from the seed, so a
number always stands for the same recipe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import Fatal
from tasks.cluster.progress import PROGRESS
from tasks.space import Space, Value, applied, check

if TYPE_CHECKING:
    from models.training import Recipe, TaskData

BUNDLE, RESULT = "bundle", "result.json"
_PARAMETERS, _ENDED, _REFUSED, _POINTER = "parameters.json", "ended.json", "refused.txt", "latest-checkpoint"


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How far a search goes: `trials` recipes, each given at most `max_epochs`, `concurrent` of them at a time, on a CPU each.

    After `grace_epochs`, and again at `reduction` times as many, and so on, only the best 1/`reduction` go on.
    """

    trials: int = 16
    max_epochs: int = 6
    grace_epochs: int = 1
    reduction: float = 3.0
    concurrent: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "trials, concurrent >= 1": min(self.trials, self.concurrent) >= 1,
            "1 <= grace_epochs <= max_epochs": 1 <= self.grace_epochs <= self.max_epochs,
            "reduction > 1": self.reduction > 1,
            "seed >= 0": self.seed >= 0,
        }
        broken = [rule for rule, holds in allowed.items() if not holds]
        if broken:
            raise Fatal(f"a search by {self}: allowed is {'; '.join(broken)}")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recipe tried: its parameters, its best figure on dev after each epoch, and its bundle where it is the search's best."""

    name: str
    parameters: Mapping[str, Value]
    figures: tuple[float, ...]  # mean F1 over the tasks on dev, 0 to 1, the best so far after each epoch
    state: str  # "finished", "stopped" (the search had better ones) or "failed"
    reason: str = ""  # why it failed
    bundle: str | None = None

    @property
    def best(self) -> float:
        """Its best figure on dev, 0 to 1; below 0 where it has none."""
        return max(self.figures, default=-1.0)


@dataclass(frozen=True, kw_only=True)
class TrialFolder:
    """A trial's directory."""

    path: Path

    @property
    def bundle(self) -> Path:
        """Where its model goes."""
        return self.path / BUNDLE

    def begin(self, parameters: Mapping[str, Value]) -> None:
        """Write its parameters; what another recipe has left there goes, and so does the mark of a failure, which is tried again."""
        text = json.dumps(dict(parameters), sort_keys=True)
        noted = self.path / _PARAMETERS
        if self.path.is_dir() and not (noted.is_file() and noted.read_text(encoding="utf-8") == text):
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        _write(noted, text)
        if self.ended() and self.outcome().state == "failed":
            for name in (_ENDED, _REFUSED):
                (self.path / name).unlink(missing_ok=True)

    def figures(self) -> tuple[float, ...]:
        """The best figure on dev after each epoch done."""
        path = self.path / PROGRESS
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines = {
            line["epoch"]: float(line["best"]) for line in map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        }
        return tuple(lines[epoch] for epoch in sorted(lines))

    def checkpoint(self) -> Path | None:
        """The training's last checkpoint, if it is there."""
        pointer = self.path / _POINTER
        last = Path(pointer.read_text(encoding="utf-8")) if pointer.is_file() else None
        return last if last is not None and (last / "state.json").is_file() else None

    def point(self, checkpoint: Path) -> None:
        """Remember where the last checkpoint is."""
        _write(self.path / _POINTER, str(checkpoint))

    def refuse(self, error: Exception) -> None:
        """Note that the recipe cannot be followed."""
        _write(self.path / _REFUSED, f"{type(error).__name__}: {error}")

    def end(self, reason: str) -> None:
        """Mark it as ended, with why where it broke, and drop its checkpoint where it will not go on."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / _ENDED, json.dumps({"reason": reason[-2_000:]}))
        if self.outcome().state != "failed" and (last := self.checkpoint()) is not None:
            shutil.rmtree(last, ignore_errors=True)

    def ended(self) -> bool:
        """True where it was marked as ended."""
        return (self.path / _ENDED).is_file()

    def outcome(self) -> Trial:
        """What came of it."""
        reason = str(json.loads((self.path / _ENDED).read_text(encoding="utf-8"))["reason"])
        if (self.path / _REFUSED).is_file():
            reason = (self.path / _REFUSED).read_text(encoding="utf-8")
        finished = (self.bundle / "manifest.json").is_file()
        noted = self.path / _PARAMETERS
        return Trial(
            name=self.path.name,
            parameters=json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else {},
            figures=self.figures(),
            state="finished" if finished else "failed" if reason else "stopped",
            reason="" if finished else reason,
            bundle=str(self.bundle) if finished else None,
        )


@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """One search: what every trial starts from, what may change, and where it lives (`storage/name`, absolute)."""

    trunk: str
    data: Mapping[str, TaskData]
    recipe: Recipe
    space: Space
    plan: SearchPlan
    storage: Path
    allow_hub: bool = False

    def __post_init__(self) -> None:
        check(self.space, self.recipe)

    @property
    def name(self) -> str:
        """The tasks, and a hash of trunk (of a directory its weights), recipe, space, plan and every example."""
        from models.starting import fingerprint

        digest = hashlib.sha256()
        decided = [dataclasses.asdict(one) for one in (self.recipe, self.plan, *self.space.values())]
        digest.update(
            f"{fingerprint(self.trunk)}\n{list(self.space)}\n{json.dumps(decided, sort_keys=True, default=str)}".encode()
        )
        for task, parts in sorted(self.data.items()):
            for example in (task, *parts.train, "dev", *parts.dev, "auxiliary", *parts.auxiliary):
                digest.update(repr(example).encode("utf-8", "surrogatepass") + b"\n")
        return f"search-{'-'.join(sorted(self.data))}-{digest.hexdigest()[:16]}"

    @property
    def folder(self) -> Path:
        """Everything of this search."""
        return self.storage.absolute() / self.name

    def recipe_of(self, parameters: Mapping[str, Value]) -> Recipe:
        """A trial's recipe: as many epochs as a trial can get, and no patience, since the search stops it."""
        return dataclasses.replace(applied(self.recipe, parameters), epochs=self.plan.max_epochs, patience=0)

    @property
    def trials(self) -> Path:
        """Where the trials' directories are."""
        return self.folder / "trials"

    def ended(self) -> list[Trial]:
        """The trials that have ended so far, by name."""
        folders = [TrialFolder(path=path) for path in sorted(self.trials.glob("*"))]
        return [one.outcome() for one in folders if one.ended()]

    def result(self) -> tuple[Trial, ...] | None:
        """Every trial, the best first, which alone has its bundle; None where the search is not finished."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Trial(**{**one, "figures": tuple(one["figures"])}) for one in found)

    def finish(self) -> None:
        """Rank the trials, write the result, and drop every bundle and checkpoint but the best one's bundle.

        Raises:
            Fatal: no trial got to its last epoch.
        """
        trials = sorted(self.ended(), key=lambda one: (one.bundle is None, -one.best, one.name))
        if not trials or trials[0].bundle is None:
            reasons = sorted({one.reason for one in trials if one.reason})
            raise Fatal(f"{self.name}: none of {len(trials)} trials got to its end: {'; '.join(reasons[:3])}")
        ranked = [trials[0], *(dataclasses.replace(one, bundle=None) for one in trials[1:])]
        _write(self.folder / RESULT, json.dumps([dataclasses.asdict(one) for one in ranked], indent=2, sort_keys=True))
        for path in self.trials.glob("*/*"):
            if path.is_dir() and path != Path(trials[0].bundle):
                shutil.rmtree(path)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
