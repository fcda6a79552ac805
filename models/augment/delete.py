"""Random deletion: each free word goes with a small probability (Wei and Zou 2019), never the last unit there is."""

from __future__ import annotations

import numpy as np

from models.augment import SHARE, Material
from models.augment.units import Unit


def change(units: list[Unit], label: str, material: Material, chance: np.random.Generator) -> list[Unit]:
    """The units without some of the free words."""
    drawn = chance.random(len(units))
    kept = [unit for unit, draw in zip(units, drawn, strict=True) if not unit.free or draw >= SHARE]
    return kept or units
