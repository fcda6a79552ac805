"""Behavioural cases for named entities: whatever is changed around or in a name, it is found in its place. All names are invented.

An answer is the type of the entity found at just the name's characters, "none" where none is. The spans of a swapped name are those of
the new one.
"""

from __future__ import annotations

from models.behaviour import Case, fill, found

COMPANIES = ("Norvane Systems", "Tessaly Group", "Brackwell Foods")
PEOPLE = ("Ilsa Brandt", "Tomas Okello", "Maren Dufour")
PLACES = ("Kesterby", "Port Ellery", "Varnholm")

_AT = (
    "{0} opened a plant in {1}.",
    "The shares of {0} fell after a fire at its works in {1}.",
    "{0} , based in {1} , makes pumps .",
)
_WHO = (
    "{0} appointed {1} as its new chairman.",
    "{1} , the chief executive of {0} , resigned on Friday .",
    "Analysts at {0} said {1} had overstated the savings.",
)
_COUNTED = ("{0} sold %s pumps in {1} last year.", "{0} will invest EUR %s mn in its plant near {1}.")
_NUMBERS = ("1,200", "85", "46,310")
_DENIED = (
    ("{0} opened a plant in {1}.", "{0} did not open a plant in {1}."),
    ("{0} is leaving {1}.", "{0} is not leaving {1}."),
    ("{0} found a buyer in {1}.", "{0} found no buyer in {1}."),
)
_VOICES = (
    ("{0} hired {1} in May.", "{1} was hired by {0} in May."),
    ("{0} praised {1} on Monday.", "{1} was praised by {0} on Monday."),
    ("{0} sued {1} last week.", "{1} was sued by {0} last week."),
)

CASES: tuple[Case, ...] = (
    *(found("negation", fill(said, *pair), fill(denied, *pair)) for said, denied in _DENIED for pair in zip(COMPANIES, PLACES, strict=True)),
    *(found("entity swap", *(fill(text, *pair) for pair in zip(COMPANIES, PLACES, strict=True))) for text in _AT),
    *(found("entity swap", *(fill(text, *pair) for pair in zip(COMPANIES, PEOPLE, strict=True))) for text in _WHO),
    *(
        found("number change", *(fill(text % number, *pair) for number in _NUMBERS))
        for text in _COUNTED
        for pair in zip(COMPANIES, PLACES, strict=True)
    ),
    *(found("passive", fill(active, *pair), fill(passive, *pair)) for active, passive in _VOICES for pair in zip(COMPANIES, PEOPLE, strict=True)),
)  # fmt: skip
