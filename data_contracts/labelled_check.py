"""Labelled examples as tables, and their contracts: the same gate that news goes through, for what a model learns from.

`read_labelled` has already rejected what is no example; this check holds what was read against Great Expectations, as every other table
is, and is what a report shows. One row an example; words and spans are nested and checked one by one.
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import pyarrow as pa

from data_contracts.labelled import (
    EntitySentimentExample,
    Example,
    Labelled,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
    iob2_breach,
)
from data_contracts.labelled_lines import MAX_TOPIC_CHARACTERS
from data_contracts.labels import NER_TAGS, SENTIMENT
from data_contracts.schema import INT32, STRING, Column, Contract, Derived, Order, Row, struct_list
from data_contracts.validate import Verdict, check

MAX_TEXT_CHARACTERS = 100_000
Line: TypeAlias = Annotated[int, Column(INT32, "Line of the file, from 1.", between=(1, None))]


def _text(said: str) -> Column:
    return Column(STRING, said, length=(1, MAX_TEXT_CHARACTERS), matches=r"\S", pattern_says="more than white space")


class SentimentRow(Row):
    """One sentence and its sentiment."""

    line: Line
    text: Annotated[str, _text("The sentence.")]
    label: Annotated[str, Column(STRING, "Its sentiment for an investor.", one_of=SENTIMENT)]
    agreement: Annotated[int | None, Column(INT32, "Share of annotators that agreed, percent.", between=(0, 100))] = (
        None
    )


class TaggedWord(Row):
    """One word and its tag."""

    token: Annotated[
        str, Column(STRING, "The word.", length=(1, None), matches=r"\S", pattern_says="more than white space")
    ]
    tag: Annotated[str, Column(STRING, "Its IOB2 tag.", one_of=NER_TAGS)]


class NerRow(Row):
    """One sentence as tagged words."""

    line: Line
    words: Annotated[list[TaggedWord], Column(struct_list(TaggedWord), "The words and their tags.", nested=TaggedWord)]
    breaches: Annotated[
        int,
        Column(
            INT32, "1 when the tags break IOB2 (an I- that continues no entity of its type), else 0.", between=(0, 0)
        ),
    ]


class SpanRow(Row):
    """One entity and the sentiment about it."""

    start: Annotated[int, Column(INT32, "First character.", between=(0, None))]
    end: Annotated[int, Column(INT32, "One past the last character.", between=(1, None))]
    label: Annotated[str, Column(STRING, "The sentiment about it.", one_of=SENTIMENT)]


class EntitySentimentRow(Row):
    """One text and its entities."""

    line: Line
    text: Annotated[str, _text("The text.")]
    entities: Annotated[list[SpanRow], Column(struct_list(SpanRow), "The entities; may be none.", nested=SpanRow)]


class TopicRow(Row):
    """One topic of a text."""

    topic: Annotated[
        str,
        Column(
            STRING,
            "What the text is about.",
            length=(1, MAX_TOPIC_CHARACTERS),
            matches=r"^\S(?:.*\S)?$",
            pattern_says="text without space around it",
        ),
    ]


class TopicsRow(Row):
    """One text and its topics."""

    line: Line
    text: Annotated[str, _text("The text.")]
    topics: Annotated[list[TopicRow], Column(struct_list(TopicRow), "Its topics; may be none.", nested=TopicRow)]


class SummaryRow(Row):
    """One article and its summary."""

    line: Line
    text: Annotated[str, _text("The article.")]
    summary: Annotated[
        str,
        Column(
            STRING,
            "What people summed it up as.",
            length=(1, MAX_TEXT_CHARACTERS),
            matches=r"\S",
            pattern_says="more than white space",
        ),
    ]


def _past_the_end(table: pa.Table) -> pa.Array:
    """Characters by which the last entity of each text leaves it; at most 0 for a span within."""
    rows = zip(table.column("text").to_pylist(), table.column("entities").to_pylist(), strict=True)
    return pa.array(
        [max((span["end"] for span in spans), default=0) - len(text) for text, spans in rows], type=pa.int64()
    )


LABELLED: dict[str, Contract] = {
    "sentiment": Contract(
        name="labelled.sentiment", row=SentimentRow, says="Labelled sentences for the sentiment head.", key=("line",)
    ),
    "ner": Contract(
        name="labelled.ner",
        row=NerRow,
        says="Tagged sentences for the NER head.",
        key=("line",),
        nested_contracts={
            "words": Contract(
                name="labelled.ner.words", row=TaggedWord, says="The words of labelled.ner, one row each."
            )
        },
    ),
    "entity_sentiment": Contract(
        name="labelled.entity_sentiment",
        row=EntitySentimentRow,
        says="Texts with the sentiment about each entity.",
        key=("line",),
        derived=(
            Derived(
                column="entities",
                rule="within_text",
                name="characters_past_the_end",
                says="every end at most the text's length",
                between=(None, 0),
                compute=_past_the_end,
            ),
        ),
        nested_contracts={
            "entities": Contract(
                name="labelled.entity_sentiment.entities",
                row=SpanRow,
                says="The entities of labelled.entity_sentiment, one row each.",
                orders=(Order(low="start", high="end", strict=True),),
            )
        },
    ),
    "topics": Contract(
        name="labelled.topics",
        row=TopicsRow,
        says="Texts with what they are about.",
        key=("line",),
        nested_contracts={
            "topics": Contract(
                name="labelled.topics.topics", row=TopicRow, says="The topics of labelled.topics, one row each."
            )
        },
    ),
    "summary": Contract(
        name="labelled.summary", row=SummaryRow, says="Articles with a summary that people wrote.", key=("line",)
    ),
}


def check_labelled(labelled: Labelled) -> Verdict:
    """Hold the examples of a file against the contract of its task."""
    contract = LABELLED[labelled.task]
    rows = [_row(example, line) for example, line in zip(labelled.examples, labelled.lines, strict=True)]
    return check(contract.table(rows), contract)


def verdicts(files: Mapping[str, Labelled]) -> dict[str, Verdict]:
    """One verdict a file, by the name the caller gives it; for `data_contracts.page`."""
    return {name: check_labelled(labelled) for name, labelled in files.items()}


def _row(example: Example, line: int) -> Row:
    match example:
        case SentimentExample():
            return SentimentRow(line=line, text=example.text, label=example.label, agreement=example.agreement)
        case NerExample():
            words = [TaggedWord(token=word, tag=tag) for word, tag in zip(example.tokens, example.tags, strict=True)]
            return NerRow(line=line, words=words, breaches=int(iob2_breach(example.tags) is not None))
        case EntitySentimentExample():
            spans = [SpanRow(start=span.start, end=span.end, label=span.label) for span in example.entities]
            return EntitySentimentRow(line=line, text=example.text, entities=spans)
        case TopicsExample():
            return TopicsRow(line=line, text=example.text, topics=[TopicRow(topic=topic) for topic in example.topics])
        case SummaryExample():
            return SummaryRow(line=line, text=example.text, summary=example.summary)
