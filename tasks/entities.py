"""One key for the many spellings of a name, so that a company is one row and not three.

The key of a name: Unicode NFKC and case folding; a possessive 's goes; a dot or apostrophe goes without trace (U.S. -> us), a slash, dash, comma or
bracket becomes a space; "the" at the front goes; for organisations the legal form goes (Inc, Corp, Ltd, plc, AG; the list is
`cleanco`'s). Where nothing would be left (a company called "Co"), the last non-empty stage stands.

Within one article a person or organisation is named in full once and in short afterwards. The rule, and all of it: a key whose words
are the first or the last words of exactly one longest other key of the same type in the same article becomes that key. With two such
longer keys (John Smith, Jane Smith, Smith) it is nobody's, and stays.

Not covered: aliases that share no word (Alphabet, Google), tickers, and names across articles; that needs an entity master.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

SHORTENED = frozenset({"PER", "ORG"})
WITH_LEGAL_FORM = frozenset({"ORG"})
_POSSESSIVE = re.compile(r"['’ʼ`]s\b|(?<=s)['’ʼ`](?=\s|$)")
_VANISHING = re.compile(r"[.'’ʼ`\"“”]")
_SEPARATING = re.compile(r"[^\w&+]+|_+")
_THE = re.compile(r"^the\s+")
_LOOSE = re.compile(r"^[&+\s]+|\s[&+\s]*$|(?<=\s)[+]+(?=\s)")


@lru_cache(maxsize=100_000)
def entity_key(text: str, mention_type: str) -> str:
    """The key of a name as it stands in a text, for instance "The Goldman Sachs Group, Inc.'s" as ORG -> "goldman sachs group".

    Never empty for a text with a character that is not white space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    bare = _POSSESSIVE.sub("", folded)
    if mention_type in WITH_LEGAL_FORM:
        bare = _without_legal_form(bare) or bare
    words = _squeeze(_SEPARATING.sub(" ", _VANISHING.sub("", bare)))
    if mention_type in WITH_LEGAL_FORM:
        words = _squeeze(_without_legal_form(words)) or words
    return _THE.sub("", words) or words or folded


def shared_keys(keys: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """(key, type) pairs of one article -> the key that each stands for, by the module's rule; most stand for themselves."""
    given = set(keys)
    return {(key, kind): _longest(key, kind, given) if kind in SHORTENED else key for key, kind in given}


def _longest(key: str, kind: str, given: set[tuple[str, str]]) -> str:
    words = key.split()
    longer = [other.split() for other, its_kind in given if its_kind == kind and _opens_or_closes(words, other.split())]
    final = [one for one in longer if not any(_opens_or_closes(one, other) for other in longer)]
    return " ".join(final[0]) if len(final) == 1 else key


def _opens_or_closes(short: list[str], long: list[str]) -> bool:
    size = len(short)
    return 0 < size < len(long) and (long[:size] == short or long[-size:] == short)


def _squeeze(text: str) -> str:
    return " ".join(_LOOSE.sub("", text).split())


def _without_legal_form(text: str) -> str:
    """`text` without a legal form at its end, twice, because of names such as "X Holdings Co., Ltd."."""
    from cleanco import basename

    return str(basename(basename(text)))
