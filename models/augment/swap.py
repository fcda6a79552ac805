"""Random swap: two free words change places, some times (Wei and Zou 2019); the spaces stay where they were.

A sentence that says one thing of one entity and another of the next stays as it is: "rises" and "falls" would change sides, the labels not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.augment import Material, how_many
from models.augment.units import Unit, contested


def change(units: list[Unit], label: str, material: Material, chance: np.random.Generator) -> list[Unit]:
    """The units with pairs of free words swapped."""
    free = [place for place, unit in enumerate(units) if unit.free]
    if len(free) < 2 or contested(units):
        return units
    swapped = list(units)
    for _ in range(how_many(units)):
        one, other = chance.choice(free, size=2, replace=False).tolist()
        swapped[one], swapped[other] = (
            replace(swapped[other], before=swapped[one].before),
            replace(swapped[one], before=swapped[other].before),
        )
    return swapped
