"""The little language of the ingredient files, and how it becomes sentences.

A text may hold slots, ``{product}``, and choices, ``<this|that>``, which may be nested. Everything is drawn from a `random.Random`
that the caller seeds, so that the same ingredients always give the same news. It does not inflect: the ingredients are written so that
their slots fit as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

INGREDIENTS = Path(__file__).parent / "ingredients"
_WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SMALL = re.compile(
    r"(?<![\w.,$€£¥])([2-9])([ -](?:weeks?|years?|months?|quarters?|days?|times|addresses|companies)\b)"
)
_THOUSANDS = re.compile(r"\b([1-9])(\d{3})(?= (?:customers|people|neighbours|investors|volunteers))")
_CHOICE = re.compile(r"<([^<>]*)>")


def lines(name: str) -> Iterator[str]:
    """Give the lines of an ingredient file without its comments and blank lines."""
    for line in (INGREDIENTS / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def names() -> dict[str, tuple[str, ...]]:
    """Read the pools of invented names: slot to values."""
    pools: dict[str, tuple[str, ...]] = {}
    for line in lines("names.txt"):
        slot, values = line.split(" | ", 1)
        # An update may hold a semicolon followed by a lower-case letter; a new value starts with a capital, "the" or a bracket.
        pools[slot] = tuple(value.strip() for value in re.split(r"; (?=[A-Z(]|the )", values))
    return pools


def expand(text: str, slots: Mapping[str, str], rng: Random) -> str:
    """Draw every choice of a text and fill its slots; an unknown slot is a `KeyError`."""
    while _CHOICE.search(text):
        text = _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), text)
    text = text.format_map(slots)
    text = _SMALL.sub(lambda match: _WORDS[int(match.group(1))] + match.group(2), text)
    text = _THOUSANDS.sub(r"\1,\2", text)
    return text[0].upper() + text[1:]


def typographic(text: str) -> str:
    """Replace straight quotation marks and apostrophes with curly ones."""
    text = re.sub(r'(^|[\s(])"', "\\1\N{LEFT DOUBLE QUOTATION MARK}", text)
    text = text.replace('"', "\N{RIGHT DOUBLE QUOTATION MARK}")
    text = re.sub(r"(^|[\s(])'", "\\1\N{LEFT SINGLE QUOTATION MARK}", text)
    return text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def spaced(text: str) -> str:
    """Put a space before commas and full stops at the end of words, as some terminals print them."""
    return re.sub(r"(?<=[a-z\"%])([,.])(?=\s|$)", r" \1", text)
