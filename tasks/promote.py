"""A candidate before the gate: registered in any case, champion only where it keeps every rule of tasks.gate.

Win or lose, why is kept with the version, and so is the comparison on recent nights. A joint model passes the gate for each of its tasks on its
own. Not covered: promotion by hand and rolling back, which flows.promote asks the registry for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tasks.cluster.progress import Epoch
from tasks.evaluate import folder_of
from tasks.gate import Gate, rule
from tasks.registry import Registry
from tasks.shadow import Shadow
from tasks.step import step

if TYPE_CHECKING:
    from models.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate said of one candidate; figures are the headline figure on dev, 0 to 1."""

    task: str
    version: int
    promoted: bool
    reason: str
    candidate: float
    champion: float | None

    @property
    def said(self) -> str:
        """The decision in a line."""
        return f"{self.task}/{self.version} {'is champion' if self.promoted else 'is no champion'}: {self.reason}"


@step("promote")
def promote(
    bundle: str,
    *,
    candidates: Mapping[str, Evaluation],
    champions: Mapping[str, Evaluation | None],
    params: Mapping[str, object],
    tracking_uri: str,
    artifact_root: str,
    gate: Gate = Gate(),  # noqa: B008
    shadows: Mapping[str, Shadow | None] = MappingProxyType({}),
    epochs: Sequence[Epoch] = (),
) -> tuple[Decision, ...]:
    """Register a bundle for each task it was measured for, and let the gate decide.

    Args:
        bundle: the candidate's directory.
        candidates: its figures by task.
        champions: the present champion's figures by task, on the same examples; None where there is none.
        params: of the training, kept with the run.
        tracking_uri: of MLflow.
        artifact_root: where registered bundles are kept.
        gate: the rules.
        shadows: by task, the candidate beside the champion on the lake's recent nights, where both were scored.
        epochs: of the training, kept with the run.
    """
    registry = Registry(tracking_uri, artifact_root)
    digest = next(iter(candidates.values())).model_digest
    known = {task: one for task in candidates for one in registry.candidates(task) if one.digest == digest}
    run = None
    if set(known) != set(candidates):
        metrics = {f"{task}.{name}": value for task, one in candidates.items() for name, value in one.metrics().items()}
        run = registry.log(sorted(candidates), bundle, metrics, params, epochs=epochs)
    decisions = []
    for task, figures in sorted(candidates.items()):
        if task in known and known[task].champion:
            decisions.append(
                _decision(
                    task, known[task].version, promoted=False, reason="it is the champion already", figures=figures
                )
            )
            continue
        ruling = rule(figures, champions.get(task), shadows.get(task), gate)
        won, reason = ruling.won, ruling.reason
        version = (
            known[task].version
            if task in known
            else registry.register(task, bundle, figures.metrics(), params, run_id=run)
        )
        if (folder := folder_of(figures, Path(bundle))).is_dir():
            registry.attach(task, digest, folder)
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
