"""Entities replaced by others of their type from the training set (mention replacement: Dai and Adel 2020), tags and labels kept.

In entity sentiment no type is known, so any name may stand for any other, and the label stays: what is said of a company is said of whatever
company stands in its place. One entity in two is replaced, one at least. A sentence whose entities are not marked stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.augment import Material
from models.augment.units import Unit

_SHARE = 0.5


def change(units: list[Unit], label: str, material: Material, chance: np.random.Generator) -> list[Unit]:
    """The units with some entities exchanged."""
    places = [place for place, unit in enumerate(units) if unit.replaceable]
    if not places:
        return units
    drawn = chance.random(len(places))
    drawn[int(drawn.argmin())] = 0.0
    changed = list(units)
    for place, draw in zip(places, drawn, strict=True):
        known = material.entities.get(units[place].type, ())
        if draw < _SHARE and known:
            changed[place] = _in_place(units[place], known[int(chance.integers(len(known)))])
    return changed


def _in_place(unit: Unit, other: Unit) -> Unit:
    """The words of another entity, with the spaces before and the label of the one that stood there."""
    spans = tuple(replace(span, start=0, end=len(other.words[0])) for span in unit.spans)
    return replace(unit, words=other.words, spans=spans)
