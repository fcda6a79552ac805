"""evaluate and explain as a person calls them, on a tiny model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_contracts.labelled import SentimentExample
from flows.__main__ import app
from models.bundle import load
from models.contamination import LearntTexts
from models.explain import NotExplained
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

FRESH = ["profit in its quarter said the company", "losses in its quarter said the company"]


@pytest.fixture
def data(tmp_path: Path, sentiment_examples: list[SentimentExample]) -> Path:
    rows = [(FRESH[0], "positive"), (FRESH[1], "negative"), (sentiment_examples[0].text, sentiment_examples[0].label)]
    path = tmp_path / "dev.jsonl"
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    return path


def called(*arguments: object, fails: type[Exception] | None = None) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if fails is not None:
        assert isinstance(done.exception, fails)
        return str(done.exception)
    assert done.exception is None, done.output
    return done.stdout


def test_learnt_texts_are_refused_by_line_left_out_or_insisted_on(
    tmp_path: Path, tiny_bundle: Path, data: Path
) -> None:
    given = ("evaluate", "--task", "sentiment", "--data", data, "--model", tiny_bundle, "--json")
    assert "1 of 3 texts" in (said := called(*given, fails=LearntTexts))
    assert "line 3 (" in said
    left_out = json.loads(called(*given, "--exclude-seen", "--page", tmp_path / "e.html").splitlines()[-1])
    assert (left_out["n"], left_out["left_out"], left_out["overlap"], left_out["rejected"]) == (2, 1, 0, 0)
    assert {"accuracy", "macro_f1", "precision", "recall", "ece", "model_digest"} <= set(left_out)
    assert "were left out" in (tmp_path / "e.html").read_text()
    assert json.loads(called(*given, "--allow-overlap").splitlines()[-1])["overlap"] == 1
    assert list((tiny_bundle / "evaluations").glob("sentiment-*/evaluation.json"))


def test_figures_for_people_have_their_intervals(tiny_bundle: Path, data: Path) -> None:
    shown = called("evaluate", "--task", "sentiment", "--data", data, "--model", tiny_bundle, "--exclude-seen")
    assert "macro_f1" in shown
    assert " to " in shown
    assert "negation (MFT)" in shown


def test_a_text_is_explained_word_by_word(tiny_bundle: Path) -> None:
    found = json.loads(called("explain", "--text", FRESH[1], "--model", tiny_bundle, "--json"))
    assert found["model_digest"] == load(tiny_bundle).digest
    assert [word["text"] for word in found["passages"][0]["words"]] == FRESH[1].split()
    assert found["completeness_error"] < 1e-2
    assert "no head 'entity_sentiment'" in called(
        "explain", "--text", "Acme", "--entity", "Acme", "--model", tiny_bundle, fails=NotExplained
    )


def test_a_file_is_explained_line_by_line(tmp_path: Path, tiny_bundle: Path) -> None:
    rows = [
        {"id": "x", "title": FRESH[0], "body": None},
        {"id": 7, "title": FRESH[1], "body": "The office."},
        {"title": "no id"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shown = called("explain", "--input", tmp_path / "a.jsonl", "--model", tiny_bundle, "--json")
    assert [len(json.loads(line)["passages"]) for line in shown.splitlines()] == [1, 2]
