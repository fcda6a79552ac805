"""Ten examples of each task whose labels come from data or stand on spans, in words that the tiny trunk knows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_contracts.labelled import EntitySentimentExample, EntitySpan, SummaryExample, TopicsExample
from models.bundle import load
from models.evaluation import Judged, judge

TOPICS = [
    TopicsExample(text=text, topics=topics)
    for text, topics in [
        ("profit rises sharply", ("earnings",)),
        ("profit falls and shares falls", ("earnings", "markets")),
        ("shares rises on monday", ("markets",)),
        ("the river in the city", ("places",)),
        ("shares of the bank falls", ("banks", "markets")),
        ("the bank in the north", ("banks", "places")),
        ("loss of the bank", ("banks", "earnings")),
        ("a bank and the river and profit", ("banks", "earnings", "places")),
        ("said and said on monday", ()),
        ("the north of the city", ("places",)),
    ]
]


def marked(text: str) -> EntitySentimentExample:
    """`[positive Acme] rises, [negative Bolt] falls` as an example."""
    plain, spans = "", []
    for piece in text.replace("]", "[").split("["):
        label, _, name = piece.partition(" ")
        if label in ("negative", "neutral", "positive"):
            spans.append(EntitySpan(start=len(plain), end=len(plain) + len(name), label=label))
            piece = name
        plain += piece
    return EntitySentimentExample(text=plain, entities=tuple(spans))


OPINIONS = [
    marked(text)
    for text in (
        "[positive Acme] rises sharply",
        "[negative Acme] falls and [positive Bolt] rises",
        "[negative Acme Bank] falls sharply",
        "profit of [positive Zeta Co] rises on monday",
        "loss of [negative Zeta Co] and profit of [positive Acme]",
        "[neutral Acme] said on monday",
        "the bank said [neutral Bolt] and [neutral Zeta]",
        "the river in the city",
        "[positive Bolt] [negative Acme] rises",
        "shares of [negative U.S. Zeta] falls sharply",
    )
]


@pytest.fixture
def topics() -> list[TopicsExample]:
    return TOPICS


@pytest.fixture
def opinions() -> list[EntitySentimentExample]:
    return OPINIONS


@pytest.fixture
def summaries() -> list[SummaryExample]:
    """Articles of five to seven sentences; the summary retells two, not always the first."""
    plain = (
        "The river in the city.", "Shares of the bank.", "A bank and a river.", "The north said.", "On monday in the north.",
        "The city and the river.", "Said the bank on monday.",
    )  # fmt: skip
    told = ("Profit rises sharply in the bank.", "Loss of shares falls sharply.")
    found = []
    for number in range(10):
        sentences = [plain[(number + place) % 7] for place in range(3 + number % 3)]
        sentences.insert(number % 3, told[0])
        sentences.insert(2 + number % 2, told[1])
        found.append(
            SummaryExample(text=" ".join(sentences), summary="Profit rises sharply, loss of shares falls sharply.")
        )
    return found


@pytest.fixture
def judged() -> Callable[[Path, str, Sequence[Any]], Judged]:
    """What a bundle says of examples, learnt or not."""

    def of(path: Path, task: str, examples: Sequence[Any]) -> Judged:
        bundle = load(path)
        settings = bundle.manifest
        return judge(
            bundle.network(),
            bundle.encoder(),
            task,
            examples,
            max_length=settings.max_length,
            overlap=settings.overlap,
            reading=settings.reading,
        )

    return of
