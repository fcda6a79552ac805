"""Random insertion (Wei and Zou 2019), with words of the training set instead of synonyms, for which there is no source here.

A word comes from examples under the same label, as often as it stands there, so that what is put in says nothing against the label; it never
goes into an entity or between words that touch, and is no entity itself. A sentence of which one entity has another label than the next
gets none: no word would suit both.
"""

from __future__ import annotations

import numpy as np

from models.augment import Material, how_many
from models.augment.units import Unit, contested


def change(units: list[Unit], label: str, material: Material, chance: np.random.Generator) -> list[Unit]:
    """The units with some words more."""
    words = material.words.get(label, ())
    if not words or contested(units):
        return units
    grown = list(units)
    for _ in range(how_many(units)):
        # behind a unit, never before the first: its spaces would have to move
        places = [place for place in range(1, len(grown)) if grown[place].before] + [len(grown)]
        place = int(chance.choice(places))
        grown.insert(place, Unit(words=(words[int(chance.integers(len(words)))],), free=True))
    return grown
