"""What a benchmark scores with: bundles, the backend that was settled for each trunk, and the Predictor.

Every bundle is measured as a copy in a home that the caller names: what is exported, calibrated and settled on a benchmark's texts lies there and is
never what a night is scored by. Without bundles of one's own there is one with three heads of a night on one trunk, fine-tuned on the shipped
labelled sample into that home once, in a minute or two; it shows what is fast, not what is right. Does not cover: the peers.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.texts import LABELLED, SAMPLE, Article, examples, joined
from models.backends import Backend, open_backend
from models.backends.agreement import CheckSet
from models.backends.auto import Choice, settle
from models.backends.exports import FOLDER
from models.batching import drawn
from models.bundle import Bundle, load
from models.encoder import DEFAULT_TRUNK
from models.engine import Predictor
from models.recipe import TaskData, recipe_for
from models.sharing import together
from models.training import fit
from tasks.backends import TEXTS, unlearnt

logger = logging.getLogger(__name__)

TOKEN_BUDGET = 2048


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Bundles, those that share a trunk as one, on the backends that were settled for them; `check` is what they were held against, one each."""

    bundles: tuple[Bundle, ...]
    checks: tuple[CheckSet, ...]
    choices: tuple[Choice, ...]
    predictor: Predictor
    home: Path  # of exports

    @property
    def backend(self) -> str:
        """The backend's name; several, where trunks are served by different ones, joined by "+"."""
        return "+".join(dict.fromkeys(choice.backend for choice in self.choices))


def desk(
    paths: Sequence[Path], backend: str, *, texts: Sequence[Article], labelled: Mapping[str, Path], home: Path
) -> Desk:
    """Bundles on a backend that agrees with float32 on labelled examples, by task, and on some of these texts; `home` as in `bundles_of`.

    Raises:
        BackendRefused: the backend named may not serve, or no labelled examples are given for a task.
    """
    loaded = [load(path) for path in paths]
    bundles = tuple(together(loaded))
    some = [joined(text) for text in drawn(texts, TEXTS)]
    checks = tuple(
        CheckSet(
            examples={task: unlearnt(bundle, task, [labelled[task]]) for task in bundle.heads if task in labelled},
            texts=some,
        )
        for bundle in bundles
    )
    choices = tuple(
        settle(bundle, check, wanted=backend, token_budget=TOKEN_BUDGET, cache=home)
        for bundle, check in zip(bundles, checks, strict=True)
    )
    predictor = Predictor(loaded, token_budget=TOKEN_BUDGET, backend=backend, cache=home)
    return Desk(bundles=bundles, checks=checks, choices=choices, predictor=predictor, home=home)


def backends(held: Desk) -> list[Backend]:
    """Each trunk's backend once more, bare."""
    return [
        open_backend(choice.backend, bundle, token_budget=TOKEN_BUDGET, cache=held.home)
        for choice, bundle in zip(held.choices, held.bundles, strict=True)
    ]


def bundles_of(model: str, home: Path) -> list[Path]:
    """Copies in `home` of the bundles named, with commas between them, or the benchmarks' own."""
    return [copied(Path(one), home) for one in model.split(",")] if model else [joint_bundle(home)]


def copied(path: Path, home: Path) -> Path:
    """A bundle's files once more, in `home` under its digest, without its exports; linked to its own where the file system can."""
    place = home / "bundles" / load(path).digest[:16]
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            ignored = shutil.ignore_patterns(FOLDER)
            draft = Path(shutil.copytree(path, Path(folder) / "bundle", copy_function=_linked, ignore=ignored))
            try:
                draft.rename(place)
            except OSError:  # another process was first
                if not place.is_dir():
                    raise
    return place


def joint_bundle(home: Path, trunk: str = DEFAULT_TRUNK, **changes: Any) -> Path:
    """A bundle of the three tasks on one trunk, trained on the shipped sample where it has not been; `changes` to its recipe by field name."""
    place = home / "joint"
    if not (place / "manifest.json").is_file():
        logger.info("the benchmarks' own model is trained first, once: %s", place)
        train, dev = (
            examples({task: SAMPLE / "labelled" / f"{task}.{part}.jsonl" for task in LABELLED})
            for part in ("train", "dev")
        )
        data = {task: TaskData(train[task], dev[task]) for task in LABELLED}
        fit(trunk=trunk, data=data, recipe=recipe_for(sorted(LABELLED), **{"epochs": 3, **changes}), output=place)
    return place


def _linked(source: str, target: str) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)
