"""Labelled examples changed a little every epoch, so that a small set shows more: one way to change a file, its name the recipe's `augment`.

Easy data augmentation (Wei and Zou 2019) made aware of labels: what carries a label (an entity, a negation, a number) is neither deleted nor
moved nor broken up, and what is put in comes from training examples with the same label. `augmented` draws from the generator it is given, which a
training seeds from (seed, epoch, number of the example): any rank, and a training resumed, sees the same. models.augment.units is the form that
the ways change, and puts tags and offsets right afterwards.

    delete, insert, swap     words, one in ten (sentiment, topics, ner, entity_sentiment)
    entity                   an entity for another of its type (ner), or of any (entity_sentiment)

Does not cover: synonyms, back-translation, summaries, whose labels come from each sentence's words.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from models.augment.units import Unit, leaning, rebuilt, units_of

WAYS = ("delete", "entity", "insert", "swap")
SHARE = 0.1  # of an example's words that a way changes, one at least


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a training set has to put into examples: words by the label they stand under, entities (one unit each) by type."""

    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entities: Mapping[str, tuple[Unit, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, examples: Sequence[Any]) -> Material:
        """Every free word, as often as it stands there, and every entity once, in the order of the examples."""
        words: dict[str, list[str]] = {}
        entities: dict[str, dict[tuple[str, ...], Unit]] = {}
        for example in examples:
            units = units_of(example) or ()
            words.setdefault(leaning(example), []).extend(unit.words[0] for unit in units if unit.free)
            for unit in units:
                if unit.replaceable:
                    entities.setdefault(unit.type, {}).setdefault(unit.words, unit)
        return cls(
            words={label: tuple(found) for label, found in words.items()},
            entities={kind: tuple(found.values()) for kind, found in entities.items()},
        )


Way: TypeAlias = Callable[[list[Unit], str, Material, np.random.Generator], list[Unit]]


def augmented(example: Any, *, ways: Mapping[str, float], material: Material, chance: np.random.Generator) -> Any:
    """The example with each way of `ways` tried at its probability; the very same object where nothing was changed."""
    tried = [name for name in sorted(ways) if chance.random() < ways[name]]
    units = units_of(example) if tried else None
    if not units:
        return example
    changed = list(units)
    for name in tried:
        way: Way = pkgutil.resolve_name(f"models.augment.{name}:change")
        changed = way(changed, leaning(example), material, chance)
    return example if changed == list(units) else rebuilt(example, changed)


def how_many(units: Sequence[Unit]) -> int:
    """How many words a way changes."""
    return max(1, round(SHARE * len(units)))
