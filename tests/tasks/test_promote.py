"""The gate: who becomes champion, and why not."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from models.bundle import load
from models.evaluation import Evaluation
from tasks.gate import Gate, rule
from tasks.promote import Decision, promote
from tasks.registry import Registry
from tasks.shadow import Shadow
from tasks.versions import NoSuchModel


def figures(f1: float, *, digest: str = "d", overlap: int = 0, n: int = 50) -> Evaluation:
    return Evaluation(
        task="sentiment", n=n, accuracy=0.9, precision=0.9, recall=0.9, f1=f1, average="macro", ece=0.05, labels=(), overlap=overlap,
        model_digest=digest,
    )  # fmt: skip


def test_the_first_candidate_wins() -> None:
    ruled = rule(figures(0.1), None, None, Gate())
    assert ruled.won
    assert "first champion of sentiment: macro_f1 0.1000 on 50" in ruled.reason


@pytest.mark.parametrize(
    ("candidate", "champion", "wins"), [(0.81, 0.80, True), (0.80, 0.80, False), (0.79, 0.80, False)]
)
def test_only_a_better_candidate_wins(candidate: float, champion: float, wins: bool) -> None:
    ruled = rule(figures(candidate), figures(champion), None, Gate())
    assert ruled.won is wins
    assert f"{candidate:.4f} against the champion's {champion:.4f}" in ruled.reason


def test_a_champion_that_learnt_the_dev_data_is_named_as_such() -> None:
    assert "the champion learnt 7 of them" in rule(figures(0.5), figures(0.9, overlap=7), None, Gate()).reason


def test_figures_of_different_data_are_not_compared() -> None:
    with pytest.raises(Fatal, match="same dev data"):
        rule(figures(0.9, n=50), figures(0.8, n=49), None, Gate())


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


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (Gate(min_gain=0.02), "stays a candidate: macro_f1 0.8100 against the champion's 0.8000"),
        (Gate(max_ece=0.04), "ECE 0.0500"),
        (Gate(beyond_chance=True), "the interval's lower end is 0.0000, asked for above 0.8000"),
        (Gate(max_flipped=0.1), "30.0% differ on 40 articles of 2 nights, allowed 10%"),
        (Gate(max_shift=0.1), "a class's share changes by 20.0% on 40 articles of 2 nights, allowed 10%"),
    ],
)
def test_a_better_candidate_that_breaks_a_rule_stays_a_candidate_and_the_rule_is_named(gate: Gate, said: str) -> None:
    shadow = Shadow(
        task="sentiment", nights=2, articles=40, champion_shares={"neutral": 0.6, "positive": 0.4},
        candidate_shares={"neutral": 0.4, "positive": 0.6}, champion_confidence=0.8, candidate_confidence=0.9, flipped=0.3, flips=(),
    )  # fmt: skip
    assert rule(figures(0.81), figures(0.80), shadow, Gate()).won
    ruled = rule(figures(0.81), figures(0.80), shadow, gate)
    assert not ruled.won
    assert said in ruled.reason


def test_a_share_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Fatal, match="max_shift=2"):
        Gate(max_shift=2)


def test_rolling_back_goes_further_back_each_time_and_says_why(tmp_path: Path, tiny_bundle: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'm.db'}", tmp_path / "bundles")
    for _ in range(3):
        registry.promote("ner", registry.register("ner", tiny_bundle, {}, {}))
    assert [registry.rollback("ner", reason="it sees no persons").version for _ in range(2)] == [2, 1]
    withdrawn = {one.version: one.withdrawn for one in registry.candidates("ner")}
    assert withdrawn == {1: "", 2: "it sees no persons", 3: "it sees no persons"}
    with pytest.raises(NoSuchModel, match="ner/1 is the only champion"):
        registry.rollback("ner", reason="again")
    registry.promote("ner", 3)
    assert registry.rollback("ner", reason="still none").version == 1
