"""Words that drove a score: complete, in their places, and the ones that were learnt."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from data_contracts.labelled import EntitySentimentExample, EntitySpan, SentimentExample
from models.bundle import load
from models.evaluation import GivenRefused, evaluate
from models.explain import Explainer, NotExplained
from models.training import Recipe, TaskData, fit

TOY = [
    SentimentExample(text=f"{before} {word} {after}".strip(), label=label)
    for (word, label), before, after in itertools.product(
        (("profit", "positive"), ("loss", "negative"), ("river", "neutral")),
        ("the bank said", "shares of the", "in the north a", "the city and"),
        ("on monday", "of the bank", "", "in the city"),
    )
]


@pytest.fixture(scope="module")
def explainer(tiny_trunk: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    recipe = dataclasses.replace(tiny_recipe, epochs=12)
    output = tmp_path_factory.mktemp("toy") / "bundle"
    return Explainer(
        load(fit(trunk=str(tiny_trunk), data={"sentiment": TaskData(TOY, TOY)}, recipe=recipe, output=output))
    )


def test_the_weights_sum_to_the_margin_over_the_baseline(explainer: Explainer) -> None:
    for text in (
        "profit rises sharply",
        "Loss of the bank",
        "the river in the city\nprofit falls and loss rises on monday",
    ):
        found = explainer.sentiment(text)
        assert found.completeness_error < 1e-2
        assert 0 < found.probability <= 1


@pytest.mark.parametrize(("word", "label"), [("profit", "positive"), ("loss", "negative")])
def test_the_word_that_gives_the_label_away_weighs_most(explainer: Explainer, word: str, label: str) -> None:
    weights: dict[str, list[float]] = {}
    for example in TOY:
        if example.label == label:
            found = explainer.sentiment(example.text)
            assert found.label == label
            for one in found.words():
                weights.setdefault(one.text, []).append(one.weight)
    means = {name: sum(some) / len(some) for name, some in weights.items()}
    others = [value for name, value in means.items() if name != word]
    assert means[word] > max(others)


def test_words_stand_where_the_text_has_them(explainer: Explainer) -> None:
    text = "The Bank\nprofit rises sharply. Shares falls (on monday)"
    found = explainer.sentiment(text)
    assert all(text[word.start : word.end] == word.text for one in found.passages for word in one.words)
    assert len(found.passages) == 3
    assert sum(one.weight for one in found.passages) == pytest.approx(1.0)


def test_a_word_cut_into_pieces_is_one_word(explainer: Explainer) -> None:
    assert [word.text for word in explainer.sentiment("Quillon profit").passages[0].words] == ["Quillon", "profit"]


def test_a_long_sentence_is_explained_in_all_its_windows(explainer: Explainer) -> None:
    found = explainer.sentiment("profit rises " * 40)
    assert len(found.passages) > 1
    assert found.completeness_error < 1e-2


def test_of_a_long_text_only_what_moved_it_most_is_explained(tiny_bundle: Path) -> None:
    found = Explainer(load(tiny_bundle), most_windows=1).sentiment("the river\nLoss of the bank. The city. The north")
    explained = [one for one in found.passages if one.words]
    assert len(explained) == 1
    assert abs(explained[0].margin) == max(abs(one.margin) for one in found.passages)


def test_what_cannot_be_explained_is_refused(explainer: Explainer) -> None:
    with pytest.raises(NotExplained, match="holds no token"):
        explainer.sentiment("\n")
    with pytest.raises(NotExplained, match="allowed are negative, neutral, positive"):
        explainer.sentiment("profit", label="good")


def _about(text: str, **labels: str) -> EntitySentimentExample:
    spans = [
        EntitySpan(start=text.index(name), end=text.index(name) + len(name), label=labels[name]) for name in labels
    ]
    return EntitySentimentExample(text=text, entities=tuple(spans))


ABOUT = [
    _about(f"{before}{one} {word} {after}", **{one: label})
    for (word, label), one, before, after in itertools.product(
        (("profit", "positive"), ("loss", "negative"), ("city", "neutral")),
        ("Acme", "Oslo"),
        ("", "the bank said "),
        ("on monday", "in the north"),
    )
]


@pytest.fixture(scope="module")
def about(tiny_trunk: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"entity_sentiment": TaskData(ABOUT, ABOUT)}
    recipe = dataclasses.replace(tiny_recipe, epochs=15)
    return fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path_factory.mktemp("about") / "bundle")


def test_what_is_said_of_an_entity_is_traced_to_words(about: Path) -> None:
    explainer = Explainer(load(about))
    text = "The river.\nAcme loss on monday. The city."
    start = text.index("Acme")
    found = explainer.entity(text, (start, start + 4))
    assert found.label == "negative"
    assert found.completeness_error < 1e-2
    assert len(found.passages) == 1
    assert text[found.passages[0].start : found.passages[0].end] == "Acme loss on monday."
    assert (start, start + 4) in explainer.entities(text)
    with pytest.raises(NotExplained, match="allowed are 0 <= start < end"):
        explainer.entity(text, (4, 4))


def test_labels_of_given_entities_are_measured_apart_from_finding_them(about: Path) -> None:
    given = evaluate(about, "entity_sentiment", ABOUT, allow_overlap=True, given_entities=True)
    alone = evaluate(about, "entity_sentiment", ABOUT, allow_overlap=True)
    assert (given.headline, alone.headline) == ("macro_f1", "micro_f1")
    assert given.accuracy > 0.9
    assert given.confusion is not None
    assert given.confusion.total == len(ABOUT)
    assert {one.label for one in given.labels} == {"negative", "neutral", "positive"}
    assert {test.test for test in given.behaviour} == {"negation", "entity swap", "number change", "passive"}
    assert "accuracy" in alone.intervals


def test_entities_can_be_given_for_their_sentiment_alone(tiny_bundle: Path) -> None:
    with pytest.raises(GivenRefused, match="entities given for sentiment"):
        evaluate(tiny_bundle, "sentiment", TOY, given_entities=True)


def test_an_ensemble_is_explained_as_the_mean_that_it_is(
    explainer: Explainer, tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    from models.ensemble import build

    other = fit(
        trunk=str(tiny_trunk),
        data={"sentiment": TaskData(TOY, TOY)},
        recipe=dataclasses.replace(tiny_recipe, epochs=4, seed=3),
        output=tmp_path / "other",
    )
    dev = [dataclasses.replace(one, text=one.text.replace("o", "ó").replace("a", "á")) for one in TOY]  # not learnt
    together = build([explainer.bundle.path, other], tmp_path / "both", {"sentiment": dev})
    found = Explainer(load(together)).sentiment("the bank said profit on monday")
    assert found.label == "positive"
    assert found.completeness_error < 1e-2
