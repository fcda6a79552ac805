"""The label sets and their order: the only place where either stands.

A model's output column i means label i of the tuple here, so the order is part of every trained bundle and never changes.
"""

SENTIMENT: tuple[str, ...] = ("negative", "neutral", "positive")
ENTITY_TYPES: tuple[str, ...] = ("PER", "LOC", "ORG", "MISC")
NER_TAGS: tuple[str, ...] = ("O", *(f"{edge}-{kind}" for kind in ENTITY_TYPES for edge in ("B", "I")))
TASKS: tuple[str, ...] = ("sentiment", "topics", "ner", "entity_sentiment", "summary")
# what every scored night has; the others where a bundle serves them
NIGHT_TASKS: tuple[str, ...] = ("sentiment", "ner")
