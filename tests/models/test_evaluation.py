"""Figures, and whether the model had seen the texts."""

import json
import logging
from pathlib import Path

import pytest

from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import BundleRefused
from models.contamination import text_hash
from models.evaluation import evaluate
from models.recipe import TaskData


def test_texts_the_model_learnt_from_are_counted_and_reported(
    tiny_bundle: Path, tiny_data: dict[str, TaskData], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = SentimentExample(text="profit in the north rises", label="positive")
    seen = SentimentExample(text="Profit  rises SHARPLY", label="positive")
    with caplog.at_level(logging.WARNING):
        figures = evaluate(tiny_bundle, "sentiment", [fresh, seen])
    assert (figures.n, figures.overlap) == (2, 1)
    assert "1 of 2 sentiment examples were in the training set" in caplog.text
    assert evaluate(tiny_bundle, "sentiment", [fresh]).overlap == 0


def test_the_result_can_be_kept_as_json(tiny_bundle: Path, tiny_data: dict[str, TaskData]) -> None:
    figures = evaluate(tiny_bundle, "ner", tiny_data["ner"].dev)
    stored = json.loads(figures.to_json())
    assert stored["micro_f1"] == figures.f1 == figures.metrics()["micro_f1"]
    assert {label["label"] for label in stored["labels"]} == {"PER", "LOC", "ORG"}
    assert stored["model_digest"] == figures.model_digest != ""


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
