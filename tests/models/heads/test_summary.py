"""Sentences are scored together, and the best of them shown in order."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.labelled import SummaryExample
from models.bundle import load
from models.encoder import Encoder
from models.evaluation import Judged
from models.extract import choose, rouge
from models.heads import HeadOptions
from models.heads.summary import SummaryHead
from models.recipe import RecipeRefused
from models.scoring import Scorer
from models.training import Recipe, TaskData, fit

TEXT = "Acme rises\nThe bank said profit rises. Bolt falls on monday. The bank said profit falls. The river."


@pytest.fixture
def head() -> SummaryHead:
    return SummaryHead(16, HeadOptions(dropout=0.0)).eval()


def test_sentences_are_learnt_by_heart(
    summaries: list[SummaryExample],
    tiny_trunk: Path,
    tiny_recipe: Recipe,
    tmp_path: Path,
    judged: Callable[..., Judged],
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=40, learning_rate=2e-3)
    data = {"summary": TaskData(summaries, summaries)}
    output = fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path / "b")
    found = judged(output, "summary", summaries).evaluate()
    assert found.average == "rouge"
    assert found.recall == 1.0
    metrics = load(output).metrics["summary"]
    assert metrics["rouge_f1"] > np.mean([metrics[f"lead_{name}"] for name in ("rouge1", "rouge2", "rougeL")])
    [score] = Scorer(load(output), token_budget=512, max_windows=None).score([summaries[0].text])
    shown = [summaries[0].text[one.start : one.end] for one in score.extract]
    assert {"Profit rises sharply in the bank.", "Loss of shares falls sharply."} <= set(shown)


def test_texts_read_together_are_read_as_each_alone(head: SummaryHead) -> None:
    vectors = torch.randn(6, 16)
    together = head.combine(vectors, torch.tensor([4, 4, 4, 7, 2, 2]))
    alone = [head.combine(vectors[a:b], torch.zeros(b - a, dtype=torch.int64)) for a, b in ((0, 3), (3, 4), (4, 6))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_the_order_of_sentences_matters(head: SummaryHead) -> None:
    vectors, owners = torch.randn(3, 16), torch.zeros(3, dtype=torch.int64)
    turned = head.combine(vectors.flip(0), owners).flip(0)
    assert not torch.allclose(head.combine(vectors, owners), turned, atol=1e-3)


def test_the_extract_stands_in_the_texts_order_with_exact_offsets(head: SummaryHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([TEXT])
    logits = np.asarray([[5.0], [1.0], [2.0], [3.0], [-1.0]])
    found = head.extract(encoded, logits)
    shown = [TEXT[one.start : one.end] for one in found]
    assert shown == ["Acme rises", "Bolt falls on monday.", "The bank said profit falls."]  # its like is passed over
    assert [one.score for one in found] == pytest.approx(1 / (1 + np.exp(-np.asarray([5.0, 2.0, 3.0]))))
    assert [one.start for one in head.extract(encoded, logits, most=1, after=11)] == [
        TEXT.index("The bank said profit falls")
    ]
    assert [one.start for one in head.extract(encoded, logits[:1])] == [0]
    assert head.extract(encoded, logits[:0]) == []


def test_what_repeats_three_words_is_passed_over() -> None:
    sentences = ["Profit rose in May.", "In May the firm said profit rose in May again.", "Costs fell.", "Costs fell."]
    assert choose(sentences, [0.9, 0.8, 0.2, 0.2]) == [0, 2, 3]
    assert choose(sentences, [0.9, 0.8, 0.2, 0.2], most=2) == [0, 2]
    assert choose([], []) == []


def test_figures_are_those_of_extract_and_of_first_sentences(head: SummaryHead, tiny_encoder: Encoder) -> None:
    example = SummaryExample(text=TEXT, summary="Bolt falls on monday and the river.")
    (encoded,) = tiny_encoder.encode([TEXT])
    assert head.targets(example, encoded).tolist() == [0, 0, 1, 0, 1]
    answers = head.answers(example, encoded, np.asarray([[-9.0], [-8.0], [9.0], [-7.0], [9.0]]))
    assert answers.gold == ("rest", "rest", "summary", "rest", "summary")
    assert answers.texts[1] == "Bolt falls on monday.\nThe bank said profit falls.\nThe river."
    assert answers.texts[2] == "Acme rises\nThe bank said profit rises.\nBolt falls on monday."
    scores = head.scores([answers])
    assert (scores.accuracy, scores.recall) == (0.8, 1.0)
    for ours, lead in zip(
        rouge([answers.texts[1::-1]]).items(), rouge([(answers.texts[2], answers.texts[0])]).items(), strict=True
    ):
        assert scores.more[ours[0]] == ours[1] > scores.more[f"lead_{lead[0]}"] == lead[1]
    assert scores.f1 == pytest.approx(np.mean([scores.more[name] for name in ("rouge1", "rouge2", "rougeL")]))


def test_a_sentence_of_several_windows_is_one_row(
    summaries: list[SummaryExample], tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    long = SummaryExample(
        text="Profit rises sharply " * 20 + ". The river. The bank said. A city.", summary="Profit rises."
    )
    recipe = dataclasses.replace(tiny_recipe, epochs=1, max_length=16, overlap=4)
    output = fit(
        trunk=str(tiny_trunk), data={"summary": TaskData([long], [long])}, recipe=recipe, output=tmp_path / "b"
    )
    [score] = Scorer(load(output), token_budget=512, max_windows=None).score([long.text])
    assert score.windows > 4
    assert len(score.extract) == 3
    [score] = Scorer(load(output), token_budget=512, max_windows=2).score([long.text])
    assert [one.start for one in score.extract] == [0]


def test_a_body_behind_a_title_is_read_as_it_was_learnt(
    summaries: list[SummaryExample], tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1)
    data = {"summary": TaskData(summaries, summaries)}
    bundle = load(fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path / "b"))
    body, title = summaries[0].text, "The bank falls\n"
    scorer = Scorer(bundle, token_budget=512, max_windows=None)
    alone, titled, title_only, no_title = scorer.score([body, title + body, title, "\n" + body])
    for found, offset in ((titled, len(title)), (no_title, 1)):
        assert [one.start - offset for one in found.extract] == [one.start for one in alone.extract]
        assert [one.score for one in found.extract] == pytest.approx([one.score for one in alone.extract], abs=1e-5)
    assert (title_only.extract, title_only.error) == ((), None)
    [cut_short] = Scorer(bundle, token_budget=512, max_windows=1).score([title + body])
    assert cut_short.extract == ()


def test_a_recipe_that_reads_texts_whole_is_refused(
    summaries: list[SummaryExample], tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, reading="whole")
    with pytest.raises(RecipeRefused, match='allowed is "sentences"'):
        fit(
            trunk=str(tiny_trunk),
            data={"summary": TaskData(summaries, summaries)},
            recipe=recipe,
            output=tmp_path / "b",
        )
