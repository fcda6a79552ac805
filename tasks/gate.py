"""The gate's rules: what a candidate must show to take the champion's place, and what it showed.

It must beat the champion's headline figure (macro-F1 of texts, micro-F1 of entities) on the same labelled examples, keep its calibration, and
not turn the desk upside down on the lake's recent nights (tasks.shadow). The limits stand in the settings under `[promotion]`. A tie is no win: what
serves keeps serving. The first candidate of a task wins. Not covered: speed, and who is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data_contracts.errors import Fatal

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from tasks.shadow import Shadow


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a candidate must keep; figures and shares in [0, 1].

    Attributes:
        min_gain: the headline figure must be higher than the champion's by more than this.
        beyond_chance: the lower end of the candidate's 95% interval must be above the champion's figure.
        max_ece: the candidate's calibration error on dev.
        max_ece_rise: how much higher than the champion's it may be.
        max_flipped: share of recent articles whose class differs (of mentions found by one model only).
        max_shift: the largest change of a class's share on recent nights.
        shadow_nights: the last published nights that both models score; 0: no shadow scoring.
        shadow_articles: at most so many articles of them.
    """

    min_gain: float = 0.0
    beyond_chance: bool = False
    max_ece: float = 0.15
    max_ece_rise: float = 0.05
    max_flipped: float = 0.5
    max_shift: float = 0.25
    shadow_nights: int = 7
    shadow_articles: int = 1_000

    def __post_init__(self) -> None:
        shares = ("min_gain", "max_ece", "max_ece_rise", "max_flipped", "max_shift")
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        wrong += [name for name in ("shadow_nights", "shadow_articles") if getattr(self, name) < 0]
        if wrong:
            given = ", ".join(f"{name}={getattr(self, name)}" for name in wrong)
            raise Fatal(f"promotion: given {given}; allowed: shares from 0 to 1, counts from 0")


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What the gate says: whether the candidate serves, the sentence why, and each rule with what was seen."""

    won: bool
    reason: str
    rules: Mapping[str, str] = field(default_factory=dict)


def rule(candidate: Evaluation, champion: Evaluation | None, shadow: Shadow | None, gate: Gate) -> Ruling:
    """Hold a candidate's figures to the gate.

    Raises:
        Fatal: the two were not measured on the same examples.
    """
    task, headline = candidate.task, candidate.headline
    if champion is None:
        return Ruling(
            won=True,
            reason=f"first champion of {task}: {headline} {candidate.f1:.4f} on {candidate.n} dev examples",
        )
    if candidate.n != champion.n:
        raise Fatal(
            f"{task}: candidate measured on {candidate.n} examples, champion on {champion.n}; allowed: the same dev data"
        )
    checks = [*_figures(candidate, champion, gate), *(_shadow(shadow, gate) if shadow else ())]
    rules = {check.name: check.said for check in checks}
    said = _compared(candidate, champion)
    broken = [check for check in checks if not check.holds]
    if not broken:
        return Ruling(won=True, reason=f"beats the champion: {said}", rules=rules)
    why = "; ".join(check.said for check in broken if check.name != "gain")
    return Ruling(won=False, reason=f"stays a candidate: {said}" + (f"; {why}" if why else ""), rules=rules)


@dataclass(frozen=True, kw_only=True)
class _Check:
    name: str
    holds: bool
    said: str


def _compared(candidate: Evaluation, champion: Evaluation) -> str:
    interval = candidate.intervals.get(candidate.headline)
    around = f" (95% {interval.low:.4f} to {interval.high:.4f})" if interval else ""
    said = f"{candidate.headline} {candidate.f1:.4f}{around} against the champion's {champion.f1:.4f}"
    said += f" on the same {candidate.n} dev examples"
    if champion.overlap:
        said += f"; the champion learnt {champion.overlap} of them"
    if candidate.left_out:
        said += f"; {candidate.left_out} more were left out, since one of the two was trained on them"
    return said


def _figures(candidate: Evaluation, champion: Evaluation, gate: Gate) -> list[_Check]:
    gain = candidate.f1 - champion.f1
    rise = candidate.ece - champion.ece
    checks = [
        _Check(name="gain", holds=gain > gate.min_gain, said=f"gain {gain:+.4f}, asked for more than {gate.min_gain}"),
        _Check(
            name="calibration",
            holds=candidate.ece <= gate.max_ece and rise <= gate.max_ece_rise,
            said=f"ECE {candidate.ece:.4f}, {rise:+.4f} to the champion's; allowed {gate.max_ece}, and {gate.max_ece_rise:+}",
        ),
    ]
    interval = candidate.intervals.get(candidate.headline)
    if gate.beyond_chance:
        low = interval.low if interval else 0.0
        checks.append(
            _Check(
                name="chance",
                holds=low > champion.f1,
                said=f"the interval's lower end is {low:.4f}, asked for above {champion.f1:.4f}",
            )
        )
    return checks


def _shadow(shadow: Shadow, gate: Gate) -> list[_Check]:
    on = f"on {shadow.articles} articles of {shadow.nights} nights"
    return [
        _Check(
            name="flips",
            holds=shadow.flipped <= gate.max_flipped,
            said=f"{shadow.flipped:.1%} differ {on}, allowed {gate.max_flipped:.0%}",
        ),
        _Check(
            name="shift",
            holds=shadow.shift <= gate.max_shift,
            said=f"a class's share changes by {shadow.shift:.1%} {on}, allowed {gate.max_shift:.0%}",
        ),
    ]
