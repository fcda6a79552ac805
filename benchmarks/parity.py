"""Do we answer as well as the peer? F1 of ours, of the peer's pipelines and of float32 on the same labelled examples, from the same weights.

Ours is what the backend in use says, decoded as in a night: of sentiment macro-F1, of entities and of sentiment of entities micro-F1 over spans with
their labels. What a pipeline answers is laid upon the same words as tags and counted alike. Does not cover: figures with intervals
(models.evaluation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from benchmarks.desk import TOKEN_BUDGET, Desk, backends
from benchmarks.pipelines import Pipelines
from models.backends.agreement import Check
from models.spans import words_of
from models.tokens import Encoded


def f1(desk: Desk, pipelines: Pipelines) -> dict[str, dict[str, float]]:
    """By task: F1 in [0, 1] of "ours", the "peer" and "float32", and how many examples each saw."""
    figures: dict[str, dict[str, float]] = {}
    for bundle, asked, backend in zip(desk.bundles, desk.checks, backends(desk), strict=True):
        check = Check(bundle, asked, token_budget=TOKEN_BUDGET)
        agreement = check.hold(backend)
        texts = iter(check.encoded)
        for task in bundle.heads:
            head, examples, answers = check.network.head(task), check.examples[task], check.reference.answers[task]
            encoded = list(islice(texts, len(examples)))
            if task not in pipelines.by_task:
                continue
            said = pipelines.ask(task, [head.text(one) for one in examples])
            theirs = [
                replace(answer, predicted=_predicted(task, one, read, answer.gold, spoken))
                for one, read, answer, spoken in zip(examples, encoded, answers, said, strict=True)
            ]
            exact = head.scores(answers).f1
            figures[task] = {
                "ours": exact + agreement.tasks[task].f1_change,
                "peer": head.scores(theirs).f1,
                "float32": exact,
                "examples": len(examples),
            }
    return figures


def lost(figures: Mapping[str, Mapping[str, float]]) -> float:
    """The most points of F1 (0 to 100) by which ours falls behind the peer's in any task; below 0 where it is ahead in all."""
    return max(100 * (one["peer"] - one["ours"]) for one in figures.values())


def _predicted(
    task: str, example: Any, encoded: Encoded, gold: Sequence[str], said: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """What a pipeline said of an example, as its head would put it: a label, or a tag for each of its words."""
    if task == "sentiment":
        return (max(said, key=lambda one: one["score"])["label"],)
    tags = ["O"] * len(gold)
    for one in said:
        for number, word in enumerate(_words(task, example, encoded, one["start"], one["end"])):
            tags[word] = f"{'I' if number else 'B'}-{one['entity_group']}"
    return tuple(tags)


def _words(task: str, example: Any, encoded: Encoded, start: int, end: int) -> list[int]:
    """The words that stand in characters [start, end): of entities the example's own tokens, else those of the tokenizer."""
    if task != "ner":
        return [int(word) for word in words_of(encoded, start, end)]
    begin, held = 0, []
    for number, token in enumerate(example.tokens):
        if begin < end and begin + len(token) > start:
            held.append(number)
        begin += len(token) + 1
    return held
