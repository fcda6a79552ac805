"""Behavioural tests: what a model must do whatever its accuracy, asked with small texts of our own and invented names.

Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList". Three kinds: a minimum functionality test (MFT) knows
what the answer must not be, an invariance test (INV) that a change of the text must not change it, a directional test (DIR) which way it
must move. Four capabilities: negation, other entities, other numbers, the passive voice. The cases of a task stand in the file of its name
here. A case passes or fails as a whole; a failure is kept with the texts and the answers.

Left out of the paper: templates filled by a language model, and tests of fairness and robustness to misspelling. A share of passes is no
accuracy: the cases are few and were chosen to be hard.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["MFT", "INV", "DIR"]
COVERED = ("sentiment", "entity_sentiment", "ner")  # tasks with a file here
KEPT_FAILURES = 5
MISSED = "none"  # the label of a span where no entity is found


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A text to ask about, and the characters [start, end) of the names in it, in the order of their slots."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A label of the text, or one a span ("none" where no entity is found just there); `scores` are P(positive) - P(negative) of each."""

    labels: tuple[str, ...]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Texts asked together. `holds` says whether the replies, in the order of the probes, are as `expected` says."""

    test: str
    kind: Kind
    probes: tuple[Probe, ...]
    expected: str
    holds: Callable[[Sequence[Reply]], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A case that failed: its texts, what was expected of the answers, and what was answered to each."""

    texts: tuple[str, ...]
    expected: str
    said: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """How many cases of one test passed, with at most five that failed."""

    test: str
    kind: Kind
    passed: int
    total: int
    failures: tuple[Failure, ...]


Ask: TypeAlias = Callable[[Sequence[Probe]], Sequence[Reply]]


def behaviour(task: str, ask: Ask) -> tuple[Behaviour, ...]:
    """Every test of a task of `COVERED`, asked in one go."""
    return run(cases_of(task), ask)


def cases_of(task: str) -> tuple[Case, ...]:
    """The cases of a task of `COVERED`."""
    found: tuple[Case, ...] = pkgutil.resolve_name(f"models.behaviour.{task}:CASES")
    return found


def run(cases: Sequence[Case], ask: Ask) -> tuple[Behaviour, ...]:
    """The cases' results by test and kind, in the order of their first case."""
    replies = iter(ask([probe for case in cases for probe in case.probes]))
    judged = [(case, [next(replies) for _ in case.probes]) for case in cases]
    found = []
    for test, kind in dict.fromkeys((case.test, case.kind) for case in cases):
        mine = [(case, said) for case, said in judged if (case.test, case.kind) == (test, kind)]
        failed = [_failure(case, said) for case, said in mine if not case.holds(said)]
        found.append(
            Behaviour(
                test=test,
                kind=kind,
                passed=len(mine) - len(failed),
                total=len(mine),
                failures=tuple(failed[:KEPT_FAILURES]),
            )
        )
    return tuple(found)


def _failure(case: Case, said: Sequence[Reply]) -> Failure:
    answers = []
    for reply in said:
        scores = f" ({', '.join(f'{score:+.2f}' for score in reply.scores)})" if reply.scores else ""
        answers.append(", ".join(reply.labels) + scores)
    return Failure(texts=tuple(probe.text for probe in case.probes), expected=case.expected, said=tuple(answers))


def fill(template: str, *names: str) -> Probe:
    """A template with slots {0}, {1} ... filled, each once at most; the spans are in the order of the names."""
    text, where = "", {}
    for before, slot, _, _ in Formatter().parse(template):
        text += before
        if slot is not None:
            where[int(slot)] = (len(text), len(text) + len(names[int(slot)]))
            text += names[int(slot)]
    return Probe(text=text, spans=tuple(where[slot] for slot in sorted(where)))


def never(test: str, probe: Probe, *labels: str) -> Case:
    """MFT: the label of the text, or of each span in turn, is not the one given for it ("" allows any)."""
    expected = ", ".join(f"not {label}" if label else "any" for label in labels)
    return Case(
        test=test,
        kind="MFT",
        probes=(probe,),
        expected=expected,
        holds=lambda replies: all(said != bad for said, bad in zip(replies[0].labels, labels, strict=True)),
    )


def same(test: str, *probes: Probe) -> Case:
    """INV: the labels are the same for every probe."""
    return Case(
        test=test,
        kind="INV",
        probes=probes,
        expected="the same labels for each",
        holds=lambda replies: len({reply.labels for reply in replies}) == 1,
    )


def found(test: str, *probes: Probe) -> Case:
    """INV: every name is found in every probe, its label the same in each; who finds nothing anywhere does not pass."""
    return Case(
        test=test,
        kind="INV",
        probes=probes,
        expected="found in each, the same labels",
        holds=lambda replies: len({reply.labels for reply in replies}) == 1 and MISSED not in replies[0].labels,
    )


def rises(test: str, worse: Probe, better: Probe) -> Case:
    """DIR: P(positive) - P(negative) is larger for `better`, for the text or for the first span."""
    return Case(
        test=test,
        kind="DIR",
        probes=(worse, better),
        expected="more positive for the second",
        holds=lambda replies: replies[1].scores[0] > replies[0].scores[0],
    )
