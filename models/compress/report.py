"""What a smaller model costs and saves: size on disk, parameters, speed beside the original's in the same run, and F1 on dev.

Speed is tokens of dev texts a second, special tokens and padding not counted, on whatever machine runs it and with as many threads as torch has; both
models read the same texts, in turns, and the best of each one's turns counts, so that another program's burst spoils neither. Does not cover: memory,
latency of a single text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from models.bundle import load
from models.calibrating import fresh
from models.evaluation import speaker
from models.heads import Example
from models.scoring import Scorer

_TURNS = 3
_TEXTS = 128


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What a bundle weighs: bytes on disk, numbers in its networks (of which not 0), dev tokens a second, and F1 on dev by task (0 to 1)."""

    digest: str
    bytes: int
    parameters: int
    nonzero: int
    tokens_per_second: float
    f1: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """A model beside the one it was made from."""

    before: Weight
    after: Weight

    @property
    def f1_change(self) -> dict[str, float]:
        """F1 on dev after less before, by task; below 0 is a loss."""
        return {task: self.after.f1[task] - self.before.f1[task] for task in self.after.f1}

    @property
    def size_share(self) -> float:
        """Bytes after over bytes before."""
        return self.after.bytes / self.before.bytes

    @property
    def speed_up(self) -> float:
        """Tokens a second after over before."""
        return self.after.tokens_per_second / self.before.tokens_per_second

    def metrics(self) -> dict[str, float]:
        """The figures by name, for a registry."""
        return {
            "size_share": self.size_share,
            "speed_up": self.speed_up,
            "parameters": float(self.after.parameters),
            **{f"{task}.f1_change": change for task, change in self.f1_change.items()},
        }

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps({**asdict(self), **self.metrics()}, indent=2, sort_keys=True)

    def sentence(self) -> str:
        """The report in one line for people."""
        changes = ", ".join(f"{task} F1 {change:+.4f}" for task, change in sorted(self.f1_change.items()))
        return (
            f"{self.before.bytes / 1e6:.1f} -> {self.after.bytes / 1e6:.1f} MB, {self.before.parameters / 1e6:.2f} -> "
            f"{self.after.parameters / 1e6:.2f} M numbers ({self.after.nonzero / 1e6:.2f} M not 0), {self.speed_up:.2f} times as fast, {changes}"
        )


def compare(before: Path | str, after: Path | str, dev: Mapping[str, Sequence[Example]]) -> CompressionReport:
    """Weigh two bundles on the same dev examples by task, those they were chosen by or others; what either has learnt is left out."""
    bundles = load(before), load(after)
    scorers = [Scorer(bundle, token_budget=2048, max_windows=None) for bundle in bundles]
    learnt = bundles[0].learnt() | bundles[1].learnt()
    dev = {task: fresh(scorers[1].heads[task], some, learnt) for task, some in dev.items()}
    texts = [scorers[1].heads[task].text(example) for task, some in dev.items() for example in some]
    speeds = _speeds(scorers, texts[:_TEXTS])
    weights = [_weigh(scorer, speed, dev) for scorer, speed in zip(scorers, speeds, strict=True)]
    return CompressionReport(before=weights[0], after=weights[1])


def _weigh(scorer: Scorer, speed: float, dev: Mapping[str, Sequence[Example]]) -> Weight:
    bundle, temperatures = scorer.bundle, scorer.bundle.manifest.temperatures
    numbers = [(tensor.numel(), int(tensor.count_nonzero())) for tensor in bundle.network().state_dict().values()]
    return Weight(
        digest=bundle.digest,
        bytes=sum(file.stat().st_size for file in bundle.path.rglob("*.safetensors")),
        parameters=sum(total for total, _ in numbers),
        nonzero=sum(nonzero for _, nonzero in numbers),
        tokens_per_second=speed,
        f1={task: speaker(bundle, task)(some).evaluate(temperatures[task]).f1 for task, some in dev.items()},
    )


def _speeds(scorers: Sequence[Scorer], texts: Sequence[str]) -> list[float]:
    best = [0.0] * len(scorers)
    for _ in range(_TURNS):
        for number, scorer in enumerate(scorers):
            began = time.perf_counter()
            scored = scorer.score(texts)
            took = time.perf_counter() - began
            best[number] = max(best[number], sum(one.tokens_scored for one in scored) / took)
    return best
