"""Behavioural cases for the sentiment towards each entity of a text. All companies are invented; their places in the text are given."""

from __future__ import annotations

import itertools

from models.behaviour import Case, fill, never, rises, same

NAMES = ("Norvane", "Tessaly", "Brackwell", "Halvorsen")
_PAIRS = (NAMES[:2], NAMES[2:], (NAMES[1], NAMES[0]))

_NEGATED = (
    ("{0} did not win the contract, and {1} made no comment.", ("positive", "")),
    ("{0} failed to match the growth of {1}.", ("positive", "negative")),
    ("{0} will not benefit from the troubles of {1}.", ("positive", "positive")),
    ("{0} never recovered, unlike {1}.", ("positive", "negative")),
    ("{0} did not lose any customers to {1}.", ("negative", "")),
    ("No fraud was found at {0}, said its auditor {1}.", ("negative", "negative")),
)
_ROLES = (
    "{0} won the order that {1} had lost.",
    "{0} shares jumped 9%, while {1} tumbled.",
    "{0} overtook the struggling {1} in sales.",
    "Profit at {0} doubled; {1} warned of a loss.",
    "{0} is gaining market share at the expense of {1}.",
)
_MOVES = ("{0} shares jumped %s%%, while {1} fell %s%%.", "{0} gained %s%% and {1} lost %s%% in early trade.")
_SIZES = (("4", "3"), ("7.5", "6.1"), ("12", "2"))
_COMPARED = ("Profit at {0} was %s million, after %s million a year ago.",)
_VOICES = (
    ("{0} sued {1} over stolen designs.", "{1} was sued by {0} over stolen designs."),
    ("{0} rescued the failing {1}.", "The failing {1} was rescued by {0}."),
    ("{0} overtook {1} in sales.", "{1} was overtaken by {0} in sales."),
    ("{0} bought {1} for a low price.", "{1} was bought by {0} for a low price."),
)

CASES: tuple[Case, ...] = (
    *(never("negation", fill(text, *pair), *labels) for text, labels in _NEGATED for pair in _PAIRS[:2]),
    *(same("entity swap", *(fill(text, *pair) for pair in _PAIRS)) for text in _ROLES),
    *(same("number change", *(fill(text % pair, *NAMES[:2]) for pair in _SIZES)) for text in _MOVES),
    *(
        rises("number change", fill(text % (low, high), name), fill(text % (high, low), name))
        for text, (high, low), name in itertools.product(_COMPARED, (("31", "18"), ("9.4", "5.2")), NAMES[:2])
    ),
    *(same("passive", fill(active, *pair), fill(passive, *pair)) for active, passive in _VOICES for pair in _PAIRS[:2]),
)
