"""How behavioural cases are put to a model: as examples of its task, read like any other.

The sentiment towards a span that is told, the type of the entity found at just a span's characters, or the sentiment of the text. Does not
cover: tasks without cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from data_contracts.labelled import EntitySentimentExample, EntitySpan, NerExample, SentimentExample
from models.behaviour import MISSED, Ask, Probe, Reply
from models.heads import Example
from models.judging import Judged


def asking(speak: Callable[[Sequence[Example]], Judged], task: str, temperature: float) -> Ask:
    """What asks probes of `speak`, which says what a model thinks of examples of `task`."""
    example, replies = {
        "sentiment": (_text, _of_text),
        "entity_sentiment": (_spans, _of_spans),
        "ner": (_words, _of_words),
    }[task]

    def ask(probes: Sequence[Probe]) -> list[Reply]:
        judged = speak([example(probe) for probe in probes])
        return list(replies(judged, probes, temperature))

    return ask


def _text(probe: Probe) -> Example:
    return SentimentExample(text=probe.text, label="neutral")


def _spans(probe: Probe) -> Example:
    spans = tuple(EntitySpan(start=start, end=end, label="neutral") for start, end in probe.spans)
    return EntitySentimentExample(text=probe.text, entities=spans)


def _words(probe: Probe) -> Example:
    words = tuple(probe.text.split())
    return NerExample(tokens=words, tags=("O",) * len(words))


def _of_text(judged: Judged, probes: Sequence[Probe], temperature: float) -> Iterator[Reply]:
    head = judged.head
    for logits in judged.logits:
        row = head.probabilities(logits, temperature)[0]
        score = row[head.labels.index("positive")] - row[head.labels.index("negative")]
        yield Reply(labels=(head.labels[int(row.argmax())],), scores=(float(score),))


def _of_spans(judged: Judged, probes: Sequence[Probe], temperature: float) -> Iterator[Reply]:
    for probe, encoded, logits in zip(probes, judged.encoded, judged.logits, strict=True):
        found = judged.head.opinions(encoded, logits, temperature, spans=probe.spans)
        yield Reply(
            labels=tuple(one.sentiment for one in found), scores=tuple(one.p_positive - one.p_negative for one in found)
        )


def _of_words(judged: Judged, probes: Sequence[Probe], temperature: float) -> Iterator[Reply]:
    for probe, encoded, logits in zip(probes, judged.encoded, judged.logits, strict=True):
        found = {(one.start, one.end): one.type for one in judged.head.mentions(encoded, logits, temperature)}
        yield Reply(labels=tuple(found.get(span, MISSED) for span in probe.spans))
