"""The gate: who becomes champion, and why not."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from models.bundle import load
from models.evaluation import Evaluation
from tasks.promote import Decision, gate, promote
from tasks.registry import Registry


def figures(f1: float, *, digest: str = "d", overlap: int = 0, n: int = 50) -> Evaluation:
    return Evaluation(
        task="sentiment", n=n, accuracy=0.9, precision=0.9, recall=0.9, f1=f1, average="macro", ece=0.05, labels=(), overlap=overlap,
        model_digest=digest,
    )  # fmt: skip


def test_the_first_candidate_wins() -> None:
    won, reason = gate("sentiment", figures(0.1), None)
    assert won
    assert "first champion of sentiment: macro_f1 0.1000 on 50" in reason


@pytest.mark.parametrize(
    ("candidate", "champion", "wins"), [(0.81, 0.80, True), (0.80, 0.80, False), (0.79, 0.80, False)]
)
def test_only_a_better_candidate_wins(candidate: float, champion: float, wins: bool) -> None:
    won, reason = gate("sentiment", figures(candidate), figures(champion))
    assert won is wins
    assert f"{candidate:.4f} against the champion's {champion:.4f}" in reason


def test_a_champion_that_learnt_the_dev_data_is_named_as_such() -> None:
    assert "the champion learnt 7 of them" in gate("ner", figures(0.5), figures(0.9, overlap=7))[1]


def test_figures_of_different_data_are_not_compared() -> None:
    with pytest.raises(Fatal, match="same dev data"):
        gate("sentiment", figures(0.9, n=50), figures(0.8, n=49))


def test_a_joint_bundle_passes_the_gate_for_each_task_alone_and_is_registered_once(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    uri, root = f"sqlite:///{tmp_path / 'm.db'}", tmp_path / "bundles"
    registry = Registry(uri, root)

    def decide(candidates: dict[str, Evaluation], champions: dict[str, Evaluation | None]) -> dict[str, Decision]:
        made = promote.fn(
            str(tiny_bundle),
            candidates=candidates,
            champions=champions,
            params={"epochs": 3},
            tracking_uri=uri,
            artifact_root=str(root),
        )
        return {one.task: one for one in made}

    digest = load(tiny_bundle).digest
    mine = {
        "sentiment": figures(0.8, digest=digest),
        "ner": replace(figures(0.6, digest=digest), task="ner", average="micro"),
    }
    first = decide(mine, {"sentiment": None, "ner": figures(0.7)})
    assert (first["sentiment"].promoted, first["ner"].promoted) == (True, False)
    assert registry.champion("ner") is None
    assert registry.champion("sentiment") == registry.resolve("ner/1")
    assert registry.candidates("ner")[0].gate.startswith("stays a candidate: micro_f1 0.6000")
    again = decide(mine, {"sentiment": figures(0.8), "ner": None})
    assert again["sentiment"].reason == "it is the champion already"
    assert (again["ner"].promoted, again["ner"].version) == (True, 1)
    assert [one.version for one in registry.candidates("sentiment")] == [1]
    assert len(list(root.glob("*/*/artifacts/bundle"))) == 1
