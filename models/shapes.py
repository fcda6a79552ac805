"""The shape of a word: lower, Title, UPPER, digits and the like, which an uncased trunk does not see.

Names are written in capitals, and an uncased tokenizer throws that away. A shape is a small number that stands for it, read off the text as
delivered; an embedding of it is added to the token embeddings (models.encoder.Trunk). After Lample et al. 2016 and the "word features" of
the BERTSUM line of work; prefixes, suffixes and gazetteers are left out.
"""

from __future__ import annotations

LONGEST = 64  # characters of a word that are looked at
SHAPES = ("none", "lower", "title", "upper", "initial", "mixed", "digits", "alphanumeric", "other")
_NUMBER = {name: number for number, name in enumerate(SHAPES)}


def shape_of(word: str) -> int:
    """The number in SHAPES of a word's shape; "none" is kept for special tokens and padding."""
    return _NUMBER[_name(word[:LONGEST])]


def _name(word: str) -> str:
    if word.isalpha():
        return _alphabetic(word)
    if word.isdigit():
        return "digits"
    return "alphanumeric" if any(letter.isalnum() for letter in word) else "other"


def _alphabetic(word: str) -> str:
    if word.isupper():
        return "upper" if len(word) > 1 else "initial"
    if word.islower():
        return "lower"
    if word[:1].isupper() and word[1:].islower():
        return "title"
    return "mixed" if word.lower() != word else "other"
