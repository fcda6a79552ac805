"""Whatever is changed in an example, its labels, tags and offsets stay right."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.labelled import (
    EntitySentimentExample,
    EntitySpan,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
    iob2_breach,
)
from models.augment import WAYS, Material, augmented, how_many
from models.augment.units import free_word, leaning, rebuilt, units_of

ALWAYS = dict.fromkeys(WAYS, 1.0)
WORDS = ["profit", "rises", "not", "didn't", "8.5", "EUR8", "the", "sharply,", "(loss)", "--", "o'clock", "non-cash"]
NAMES = ["Acme", "Acme Bank", "Ada Lund", "U.S.", "Étoile S.A."]
LABELS = st.sampled_from(["negative", "neutral", "positive"])


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed])


@st.composite
def tagged(draw_from: st.DrawFn) -> NerExample:
    tokens: list[str] = []
    tags: list[str] = []
    for name in draw_from(st.lists(st.sampled_from([*WORDS, *NAMES]), min_size=1, max_size=12)):
        parts = name.split()
        kind = draw_from(st.sampled_from(["ORG", "PER"])) if name in NAMES else ""
        tokens += parts
        tags += [f"{'I' if place else 'B'}-{kind}" if kind else "O" for place in range(len(parts))]
    return NerExample(tokens=tuple(tokens), tags=tuple(tags))


@st.composite
def spanned(draw_from: st.DrawFn) -> EntitySentimentExample:
    text, spans = "", []
    for name in draw_from(st.lists(st.sampled_from([*WORDS, *NAMES]), min_size=1, max_size=12)):
        text += draw_from(st.sampled_from([" ", "  ", "\n", "", "-"])) if text else ""
        if name in NAMES:
            spans.append(EntitySpan(start=len(text), end=len(text) + len(name), label=draw_from(LABELS)))
            if " " in name and draw_from(st.booleans()):
                spans.append(EntitySpan(start=len(text), end=len(text) + 2, label=draw_from(LABELS)))
        text += name
    return EntitySentimentExample(text=text, entities=tuple(spans))


@st.composite
def labelled(draw_from: st.DrawFn) -> SentimentExample:
    words = draw_from(st.lists(st.sampled_from([*WORDS, *NAMES]), min_size=1, max_size=12))
    return SentimentExample(text=" ".join(words), label=draw_from(LABELS), agreement=draw_from(st.integers(50, 100)))


def negations(text: str) -> list[str]:
    return re.findall(r"\bnot\b|didn't|non-cash", text)


def said_of(example: EntitySentimentExample) -> list[str]:
    """The outer spans' labels, in order."""
    outer = [one for one in example.entities if not any(_within(one, other) for other in example.entities)]
    return [one.label for one in sorted(outer, key=lambda one: one.start)]


def _within(one: EntitySpan, other: EntitySpan) -> bool:
    return one != other and other.start <= one.start and one.end <= other.end


@given(examples=st.lists(tagged(), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_tags_stay_iob2_and_name_entities_of_the_training_set(examples: list[NerExample], seed: int) -> None:
    known = {(unit.type, unit.words) for one in examples for unit in units_of(one) or () if unit.type}
    changed = augmented(examples[0], ways=ALWAYS, material=Material.of(examples), chance=draw(seed))
    assert len(changed.tokens) == len(changed.tags) > 0
    assert iob2_breach(changed.tags) is None
    assert {(unit.type, unit.words) for unit in units_of(changed) or () if unit.type} <= known
    before, after = ([tag for tag in one.tags if tag.startswith("B-")] for one in (examples[0], changed))
    assert before == after
    assert negations(" ".join(examples[0].tokens)) == [*negations(" ".join(changed.tokens))]


@given(examples=st.lists(spanned(), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_offsets_enclose_entities_of_the_training_set_and_labels_stay(
    examples: list[EntitySentimentExample], seed: int
) -> None:
    known = {one.text[span.start : span.end] for one in examples for span in one.entities}
    changed = augmented(examples[0], ways=ALWAYS, material=Material.of(examples), chance=draw(seed))
    assert {changed.text[span.start : span.end] for span in changed.entities} <= known
    assert len(changed.entities) == len(examples[0].entities)
    assert said_of(changed) == said_of(examples[0])
    assert changed.text.strip()


@given(examples=st.lists(labelled(), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_a_sentence_keeps_its_label_numbers_and_negations(examples: list[SentimentExample], seed: int) -> None:
    changed = augmented(examples[0], ways=ALWAYS, material=Material.of(examples), chance=draw(seed))
    assert (changed.label, changed.agreement) == (examples[0].label, examples[0].agreement)
    for find in (negations, lambda text: re.findall(r"\S*\d\S*", text)):
        assert find(changed.text) == find(examples[0].text)
    allowed = {word for one in examples if one.label == changed.label for word in one.text.split()}
    assert set(changed.text.split()) <= allowed


@given(example=st.one_of(tagged(), spanned(), labelled()))
def test_units_give_the_example_back(example: Any) -> None:
    again = rebuilt(example, units_of(example) or ())
    if isinstance(example, EntitySentimentExample):
        assert again.text == example.text
        assert sorted(again.entities, key=repr) == sorted(example.entities, key=repr)
    else:
        assert again == example


@given(example=st.one_of(tagged(), spanned(), labelled()), seed=st.integers(0, 1000))
def test_an_example_that_is_not_changed_is_the_very_same(example: Any, seed: int) -> None:
    assert augmented(example, ways=dict.fromkeys(WAYS, 0.0), material=Material(), chance=draw(seed)) is example


@given(example=st.one_of(tagged(), spanned(), labelled()), seed=st.integers(0, 1000))
def test_the_same_draw_gives_the_same_example(example: Any, seed: int) -> None:
    material = Material.of([example])
    one, other = (augmented(example, ways=ALWAYS, material=material, chance=draw(seed)) for _ in range(2))
    assert one == other


EXAMPLE = SentimentExample(text="the profit of the bank rises sharply and not by 8 percent", label="positive")


def test_delete_takes_about_a_tenth_of_the_free_words() -> None:
    lengths = [
        len(augmented(EXAMPLE, ways={"delete": 1.0}, material=Material(), chance=draw(seed)).text.split())
        for seed in range(400)
    ]
    assert np.mean(lengths) == pytest.approx(12 - 0.1 * 10, abs=0.15)
    assert min(lengths) >= 2


def test_swap_moves_words_and_loses_none() -> None:
    changed = augmented(EXAMPLE, ways={"swap": 1.0}, material=Material(), chance=draw(1))
    assert changed.text != EXAMPLE.text
    assert sorted(changed.text.split()) == sorted(EXAMPLE.text.split())


def test_insert_takes_words_that_stand_under_the_same_label() -> None:
    others = [
        SentimentExample(text="gains", label="positive"),
        SentimentExample(text="slump", label="negative"),
    ]
    for seed in range(40):
        changed = augmented(EXAMPLE, ways={"insert": 1.0}, material=Material.of(others), chance=draw(seed))
        assert changed.text.split().count("gains") == how_many(EXAMPLE.text.split()) == 1  # type: ignore[arg-type]
        assert "slump" not in changed.text


def test_an_entity_gives_way_to_one_of_its_type_however_long() -> None:
    given_in = NerExample(tokens=("Ada", "buys", "Acme", "Bank"), tags=("B-PER", "O", "B-ORG", "I-ORG"))
    other = NerExample(tokens=("Oslo", "Ferry", "Line"), tags=("B-ORG", "I-ORG", "I-ORG"))
    found = {
        augmented(given_in, ways={"entity": 1.0}, material=Material.of([other]), chance=draw(seed))
        for seed in range(20)
    }
    swapped = NerExample(
        tokens=("Ada", "buys", "Oslo", "Ferry", "Line"), tags=("B-PER", "O", "B-ORG", "I-ORG", "I-ORG")
    )
    assert found == {given_in, swapped}


def test_an_entity_sentiment_example_keeps_its_label_at_the_new_place() -> None:
    text = "Acme Bank's profit rises as Oslo falls"
    spans = (EntitySpan(start=0, end=9, label="positive"), EntitySpan(start=28, end=32, label="negative"))
    other = EntitySentimentExample(text="Zed", entities=(EntitySpan(start=0, end=3, label="neutral"),))
    found = {
        augmented(
            EntitySentimentExample(text=text, entities=spans),
            ways={"entity": 1.0},
            material=Material.of([other]),
            chance=draw(seed),
        )
        for seed in range(30)
    }
    both = EntitySentimentExample(
        text="Zed's profit rises as Zed falls",
        entities=(EntitySpan(start=0, end=3, label="positive"), EntitySpan(start=22, end=25, label="negative")),
    )
    assert both in found
    assert len(found) == 3


def test_a_summary_is_left_alone() -> None:
    example = SummaryExample(text="a b c", summary="a")
    assert augmented(example, ways=ALWAYS, material=Material(), chance=draw(0)) is example


@pytest.mark.parametrize("word", ["not", "don't", "Never", "8", "EUR8", "--", "non-cash", "Q3"])
def test_numbers_negations_and_signs_are_not_free(word: str) -> None:
    assert not free_word(word)


def test_words_of_mixed_opinions_stand_under_none() -> None:
    spans = (EntitySpan(start=0, end=1, label="positive"), EntitySpan(start=2, end=3, label="negative"))
    assert leaning(EntitySentimentExample(text="a b", entities=spans)) == ""


@pytest.mark.parametrize("way", ["swap", "insert"])
def test_where_entities_have_different_labels_no_word_changes_sides(way: str) -> None:
    spans = (EntitySpan(start=0, end=4, label="positive"), EntitySpan(start=17, end=21, label="negative"))
    example = EntitySentimentExample(text="Acme rises while Oslo falls", entities=spans)
    for seed in range(20):
        assert augmented(example, ways={way: 1.0}, material=Material.of([example]), chance=draw(seed)) is example


def test_what_is_put_into_a_text_comes_from_texts_of_the_same_topics() -> None:
    example = TopicsExample(text="rates rise again", topics=("rates",))
    others = [TopicsExample(text="bonds", topics=("rates",)), TopicsExample(text="crude", topics=("oil",))]
    for seed in range(20):
        changed = augmented(example, ways={"insert": 1.0}, material=Material.of(others), chance=draw(seed))
        assert set(changed.text.split()) == {*example.text.split(), "bonds"}
