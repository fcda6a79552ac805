"""Figures, how far to trust them, and whether the model had seen the texts."""

import json
import logging
from pathlib import Path

import pytest

from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import BundleRefused
from models.contamination import LearntTexts, text_hash
from models.evaluation import data_hash, evaluate, unlearnt
from models.recipe import TaskData

FRESH = SentimentExample(text="profit in the north rises", label="positive")
SEEN = SentimentExample(text="Profit  rises SHARPLY", label="positive")


def test_texts_the_model_learnt_from_are_refused_by_name(tiny_bundle: Path) -> None:
    with pytest.raises(LearntTexts) as refused:
        evaluate(tiny_bundle, "sentiment", [FRESH, SEEN])
    said = str(refused.value)
    assert "1 of 2 texts are among those" in said
    assert f"example 2 ({text_hash('profit rises sharply')[:8]})" in said
    assert "--exclude-seen" in said
    assert "--allow-overlap" in said
    with pytest.raises(LearntTexts, match="line 7"):
        evaluate(tiny_bundle, "sentiment", [FRESH, SEEN], places=["dev.jsonl, line 3", "dev.jsonl, line 7"])


def test_a_text_learnt_for_another_task_counts_as_learnt(tiny_bundle: Path, tiny_data: dict[str, TaskData]) -> None:
    text = " ".join(tiny_data["ner"].train[0].tokens)
    example = SentimentExample(text=text, label="negative")
    assert unlearnt(tiny_bundle, "sentiment", [FRESH, example]).learnt == (1,)


def test_who_insists_gets_figures_and_the_number_of_learnt_texts(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        figures = evaluate(tiny_bundle, "sentiment", [FRESH, SEEN], allow_overlap=True)
    assert (figures.n, figures.overlap) == (2, 1)
    assert "1 of 2 sentiment examples were in the training set" in caplog.text
    assert evaluate(tiny_bundle, "sentiment", [FRESH]).overlap == 0


def test_the_result_can_be_kept_as_json(tiny_bundle: Path, tiny_data: dict[str, TaskData]) -> None:
    figures = evaluate(tiny_bundle, "ner", tiny_data["ner"].dev, allow_overlap=True)
    stored = json.loads(figures.to_json())
    assert stored["micro_f1"] == figures.f1 == figures.metrics()["micro_f1"]
    assert {label["label"] for label in stored["labels"]} == {"PER", "LOC", "ORG"}
    assert stored["model_digest"] == figures.model_digest != ""
    assert {"accuracy", "precision", "recall", "ece", "n", "overlap", "ece_before", "reliability"} <= set(stored)


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_every_figure_lies_in_its_interval_and_every_answer_in_a_cell_and_a_bin(
    task: str, tiny_bundle: Path, tiny_data: dict[str, TaskData]
) -> None:
    figures = evaluate(tiny_bundle, task, tiny_data[task].dev, allow_overlap=True)
    answers = len(tiny_data[task].dev) if task == "sentiment" else sum(len(one.tags) for one in tiny_data[task].dev)
    assert figures.confusion is not None
    assert figures.confusion.total == answers == sum(one.count for one in figures.reliability)
    for name, value in {"accuracy": figures.accuracy, figures.headline: figures.f1}.items():
        assert figures.intervals[name].low <= value <= figures.intervals[name].high
    assert {f"f1_{label.label}" for label in figures.labels} <= set(figures.intervals)


def test_behaviour_is_part_of_the_figures(tiny_bundle: Path) -> None:
    figures = evaluate(tiny_bundle, "sentiment", [FRESH])
    tests = {(one.test, one.kind): one for one in figures.behaviour}
    assert set(tests) == {
        ("negation", "MFT"),
        ("entity swap", "INV"),
        ("number change", "INV"),
        ("number change", "DIR"),
        ("passive", "INV"),
    }
    assert all(0 <= one.passed <= one.total for one in tests.values())
    assert figures.metrics()["behaviour_MFT_negation"] == tests["negation", "MFT"].passed / 24


def test_other_data_has_another_hash() -> None:
    assert data_hash([FRESH, SEEN]) != data_hash([SEEN, FRESH]) != data_hash([SEEN])
    assert data_hash([FRESH]) == data_hash([FRESH])


def test_an_example_without_any_token_is_answered_wrong_rather_than_dropped(tiny_bundle: Path) -> None:
    empty = NerExample(tokens=("\u200d",), tags=("B-ORG",))
    assert evaluate(tiny_bundle, "ner", [empty]).accuracy == 0.0
    assert evaluate(tiny_bundle, "sentiment", [SentimentExample(text="", label="neutral")]).n == 1


def test_a_task_the_bundle_does_not_serve_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BundleRefused, match="no head 'topics'; it has ner, sentiment"):
        evaluate(tiny_bundle, "topics", [])


def test_spaces_and_case_do_not_hide_a_text() -> None:
    assert text_hash("Profit , it said") == text_hash("profit, it said")
    assert text_hash("profit") != text_hash("loss")
