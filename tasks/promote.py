"""The gate: a candidate serves only if it beats the model that serves now, on the same dev data.

The figure compared is the task's headline: macro-F1 for sentiment, micro-F1 over entities for NER. A tie is no win: what serves keeps serving.
The first candidate of a task wins. Win or lose, the candidate is registered, and why is kept with it. A joint model passes the gate for each of
its tasks on its own. Not covered: gates on calibration, class shares or speed, and shadow scoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_contracts.errors import Fatal
from tasks.registry import Registry
from tasks.step import step

if TYPE_CHECKING:
    from models.evaluation import Evaluation

HEADLINE = {"sentiment": "macro_f1", "ner": "micro_f1"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate said of one candidate; figures are the headline figure on dev, 0 to 1."""

    task: str
    version: int
    promoted: bool
    reason: str
    candidate: float
    champion: float | None


def gate(task: str, candidate: Evaluation, champion: Evaluation | None) -> tuple[bool, str]:
    """Whether the candidate becomes champion, and the reason in a sentence."""
    headline = HEADLINE[task]
    if champion is None:
        return True, f"first champion of {task}: {headline} {candidate.f1:.4f} on {candidate.n} dev examples"
    if candidate.n != champion.n:
        raise Fatal(
            f"{task}: candidate measured on {candidate.n} examples, champion on {champion.n}; allowed: the same dev data"
        )
    seen = f"; the champion learnt {champion.overlap} of them" if champion.overlap else ""
    said = f"{headline} {candidate.f1:.4f} against the champion's {champion.f1:.4f} on the same {candidate.n} dev examples{seen}"
    better = candidate.f1 > champion.f1
    return better, f"{'beats the champion' if better else 'stays a candidate'}: {said}"


@step("promote")
def promote(
    bundle: str,
    *,
    candidates: Mapping[str, Evaluation],
    champions: Mapping[str, Evaluation | None],
    params: Mapping[str, object],
    tracking_uri: str,
    artifact_root: str,
) -> tuple[Decision, ...]:
    """Register a bundle for each task it was measured for, and let the gate decide.

    Args:
        bundle: the candidate's directory.
        candidates: its figures by task.
        champions: the present champion's figures by task, on the same examples; None where there is none.
        params: of the training, kept with the run.
        tracking_uri: of MLflow.
        artifact_root: where registered bundles are kept.
    """
    registry = Registry(tracking_uri, artifact_root)
    digest = next(iter(candidates.values())).model_digest
    known = {task: one for task in candidates for one in registry.candidates(task) if one.digest == digest}
    run = None
    if set(known) != set(candidates):
        metrics = {f"{task}.{name}": value for task, one in candidates.items() for name, value in one.metrics().items()}
        run = registry.log(sorted(candidates), bundle, metrics, params)
    decisions = []
    for task, figures in sorted(candidates.items()):
        if task in known and known[task].champion:
            decisions.append(
                _decision(
                    task, known[task].version, promoted=False, reason="it is the champion already", figures=figures
                )
            )
            continue
        won, reason = gate(task, figures, champions.get(task))
        version = (
            known[task].version
            if task in known
            else registry.register(task, bundle, figures.metrics(), params, run_id=run)
        )
        if won:
            registry.promote(task, version, reason=reason)
        else:
            registry.reject(task, version, reason=reason)
        champion = champions.get(task)
        before = None if champion is None else champion.f1
        decisions.append(_decision(task, version, promoted=won, reason=reason, figures=figures, champion=before))
    return tuple(decisions)


def _decision(
    task: str, version: int, *, promoted: bool, reason: str, figures: Evaluation, champion: float | None = None
) -> Decision:
    return Decision(
        task=task, version=version, promoted=promoted, reason=reason, candidate=figures.f1, champion=champion
    )
