"""Where the sentences of a text end, by rule: what a line or a full stop closes, unless what stands around it says otherwise.

A sentence ends at a line break, except that from the second line on a lower-case letter after it shows a line broken in mid-sentence (the
first line is an article's title, whatever follows). It ends behind . ! ? or an ellipsis, with the quotes and brackets that close there,
when space and neither a lower-case letter nor a mark that goes on (a comma, a dash) follow; a full stop behind an abbreviation, an initial,
a word with stops in it ("U.S.") or no word at all ends nothing. It ends behind the full stops of Chinese and Japanese. A piece without a
letter belongs to the sentence after it, the last to the one before.

Rules do well on edited news (Read et al. 2012, "Sentence Boundary Detection: A Long Solved Problem?"), and a border put wrongly costs little
here: a clause is read alone, or two sentences together. Does not cover: sentences without capitals, speech inside a sentence.
"""

from __future__ import annotations

import re

_STOP = re.compile(r"""[.!?…]+["'”’»)\]]*\s+|[。！？]+["'”’」』)]*\s*|\s*\n\s*""")
_LETTER = re.compile(r"[^\W\d_]")
_OPENING = "\"'“‘«([「『"
_CONTINUING = tuple(";,:-\u2013\u2014)")
_REACH = 32  # characters looked at behind and ahead of a border
_ABBREVIATION = re.compile(
    "Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Messrs|Gen|Col|Lt|Sgt|Capt|Gov|Sen|Rep|Pres|Hon|Rev|"
    "Inc|Corp|Co|Cos|Ltd|Plc|plc|Bros|Dept|Univ|Assn|No|Nos|vs|approx|est|ca|cf|etc|incl|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun|"
    "Ala|Ariz|Ark|Calif|Colo|Conn|Del|Fla|Ga|Ill|Ind|Kan|Ky|La|Mass|Md|Mich|Minn|Miss|Mo|Mont|Neb|Nev|Okla|Ore|Pa|Tenn|Tex|Va|Vt|Wash|Wis|Wyo"
)


def sentence_ends(text: str) -> list[int]:
    """The characters (exclusive, rising, the text's length last) at which its sentences end; none for an empty text."""
    ends: list[int] = []
    title = text.find("\n")
    read, worded = 0, False  # how far letters were looked for, and whether the piece under way has one
    for found in _STOP.finditer(text):
        worded = worded or _LETTER.search(text, read, found.end()) is not None
        read = found.end()
        if worded and (found.start() <= title < found.end() or _ends_sentence(text, found)):
            ends.append(read)
            worded = False
    if ends and not worded and not _LETTER.search(text, read):
        ends.pop()
    return [*ends, len(text)] if text else []


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    following = text[found.end() : found.end() + _REACH].lstrip(_OPENING + " ")[:1]
    if following.islower():
        return False
    if "\n" in found.group():
        return True
    return following not in _CONTINUING and not (found.group().rstrip() == "." and _is_short_form(text, found.start()))


def _is_short_form(text: str, stop: int) -> bool:
    """Whether the word that a full stop at `stop` follows is an abbreviation, an initial, has stops of its own, or is none."""
    words = text[max(0, stop - _REACH) : stop].split()
    word = words[-1].lstrip(_OPENING) if words else ""
    if not word or "." in word or (len(word) == 1 and word.isalpha()):
        return True
    return any(_ABBREVIATION.fullmatch(form) for form in (word, word.title() if word.isupper() else word))
