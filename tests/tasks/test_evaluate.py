"""Figures kept beside the bundle, with a page that stands alone; nothing learnt is measured on."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import load
from models.contamination import LearntTexts
from models.evaluation import evaluate as measure
from tasks.evaluate import evaluate, keep, without_learnt
from tasks.registry import Registry
from tasks.report.evaluation import render_evaluation

UNSEEN = [
    SentimentExample(text=f"{word} in its quarter said the company", label=label)
    for word, label in (("losses", "negative"), ("agenda", "neutral"), ("profit", "positive"), ("growth", "positive"))
]


@pytest.fixture
def dev(tmp_path: Path, sentiment_examples: list[SentimentExample]) -> str:
    path = tmp_path / "dev.jsonl"
    rows = [*UNSEEN, *sentiment_examples[:3]]
    path.write_text("\n".join(json.dumps({"text": one.text, "label": one.label}) for one in rows))
    return str(path)


@pytest.fixture
def bundle(tmp_path: Path, tiny_bundle: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_what_either_model_has_learnt_is_left_out_and_counted(tmp_path: Path, bundle: Path, dev: str) -> None:
    figures = evaluate.fn(str(bundle), task="sentiment", dev=[dev], storage=str(tmp_path), beside=[str(bundle)])
    assert (figures.n, figures.left_out, figures.overlap) == (4, 3, 0)


def test_with_nothing_left_to_measure_on_it_says_so(bundle: Path, sentiment_examples: list[SentimentExample]) -> None:
    with pytest.raises(LearntTexts, match=r"each of the 5 sentiment examples .* give a file of others"):
        without_learnt(sentiment_examples[:5], "sentiment", [str(bundle)])


def test_figures_and_page_lie_beside_the_bundle_and_leave_its_digest_alone(
    tmp_path: Path, bundle: Path, dev: str
) -> None:
    before = load(bundle).digest
    figures = evaluate.fn(str(bundle), task="sentiment", dev=[dev], storage=str(tmp_path))
    folder = bundle / "evaluations" / f"sentiment-{figures.data_hash}"
    assert json.loads((folder / "evaluation.json").read_text())["macro_f1"] == figures.f1
    assert "<svg" in (folder / "evaluation.html").read_text()
    assert load(bundle).digest == before
    assert [path.name for path in (bundle / "evaluations").iterdir()] == [folder.name]
    assert keep(figures, bundle) == folder


def test_a_registered_model_has_its_figures_among_its_artifacts(tmp_path: Path, bundle: Path, dev: str) -> None:
    figures = evaluate.fn(str(bundle), task="sentiment", dev=[dev], storage=str(tmp_path))
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "bundles")
    assert registry.attach("sentiment", figures.model_digest, bundle / "evaluations") == 0
    registry.register("sentiment", bundle, figures.metrics(), {})
    kept = keep(figures, bundle)
    assert kept is not None
    assert registry.attach("sentiment", figures.model_digest, kept) == 1
    assert registry.attach("sentiment", "f" * 64, kept) == 0
    assert list((tmp_path / "bundles").rglob(f"artifacts/evaluations/{kept.name}/evaluation.html"))


def test_the_page_opens_offline_and_shows_what_was_measured(bundle: Path) -> None:
    page = render_evaluation(measure(bundle, "sentiment", UNSEEN), load(bundle))
    assert "<script" not in page
    assert "http" not in re.sub(r"http://www\.w3\.org/[\w/]+", "", page)
    for text in (
        "macro_f1",
        "negation",
        "number change",
        load(bundle).digest,
        "learning_rate",
        "What was taken for what",
    ):
        assert text in page
    assert page.count("<svg") == 2


def test_the_page_of_tags_has_a_row_for_words_outside_of_entities(bundle: Path, ner_examples: list[NerExample]) -> None:
    unseen = [replace(one, tokens=(*one.tokens, "quarter"), tags=(*one.tags, "O")) for one in ner_examples[:9]]
    figures = measure(bundle, "ner", unseen)
    assert figures.confusion is not None
    assert figures.confusion.labels[-1] == "none"
    assert "<th>none</th>" in render_evaluation(figures, load(bundle))


def test_a_set_without_any_entity_has_a_page(bundle: Path) -> None:
    figures = measure(bundle, "ner", [NerExample(tokens=("quarter", "in", "report"), tags=("O", "O", "O"))])
    assert "How sure it is" in render_evaluation(figures, load(bundle))
