"""Delivered text -> the text that is scored and stored: one spelling, no markup, nothing invisible.

Two deliveries of one story must give the same characters, or repeats are not seen; and a model must not read `<p>`. In turn: lone
surrogates become U+FFFD, Unicode NFC, line separators of all kinds become a newline, control and format characters go, HTML tags,
comments, scripts and styles go, character references are read, white space is folded. The round is repeated until nothing changes,
because feeds escape twice and a removed character can uncover a tag; so the result is a fixed point: normalising twice changes nothing.

News is full of text that looks like markup: `AT&T`, `a < b and c > d`, `Goldman Sachs <GS.N>`. So a tag counts only with the name of an
HTML element and well-formed attributes, and a reference only with its semicolon and a name that HTML knows. All else stays as it is.

Format characters (Cf: zero-width space, byte-order mark, soft hyphen, direction marks, tag characters) all go, but for the two joiners:
U+200D and U+200C stay, one at a time, between two characters that are neither Latin nor space, where they make one emoji of several and
are spelling in Persian and Indic scripts.

A title is one line. In a body a newline is a paragraph's end: blank lines go, so "\\n\\n" becomes "\\n".

Not covered: finding the article on a page (trafilatura does, see `tasks/fulltext.py`), boilerplate, language.
"""

from __future__ import annotations

import re
import unicodedata
from html import unescape
from html.entities import html5

ROUNDS = 12  # a feed escapes twice; what is not done after twelve rounds was built to fool us
BLOCK_NAMES = """
    address article aside blockquote body br center dd details dialog dir div dl dt fieldset figcaption figure footer form frameset h1 h2 h3
    h4 h5 h6 head header hgroup hr html li main menu nav ol optgroup option p pre search section select summary table tbody tfoot thead
    title tr ul
"""
INLINE_NAMES = """
    a abbr acronym applet area audio b base basefont bdi bdo big button caption cite code col colgroup data datalist del dfn em embed font
    frame i img input ins kbd label legend link map mark meta meter noframes noscript object output param picture progress q rp rt ruby s
    samp slot small source span strike strong sub sup textarea time track tt u var video wbr
"""
BARE_NAMES = """
    allowfullscreen async autofocus autoplay checked controls defer disabled download hidden ismap itemscope loop multiple muted nomodule
    noshade nowrap open playsinline readonly required reversed selected
"""
BLOCKS = frozenset(BLOCK_NAMES.split())
CELLS = frozenset(("td", "th"))
SKIPPED = frozenset(("script", "style", "template", "noembed", "iframe", "svg", "math", "canvas"))
ELEMENTS = BLOCKS | CELLS | SKIPPED | frozenset(INLINE_NAMES.split())
BARE_ATTRIBUTES = frozenset(BARE_NAMES.split())
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:[\s/](?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)?)>")
ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))?|/""")
MARK = re.compile(r"<!--|<!\[CDATA\[|<![dD][oO][cC][tT][yY][pP][eE]\b|<\?xml\b|</?[a-zA-Z]")
REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,4}38|#[xX]0{0,3}26);)+")
LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
JOINERS = re.compile("[\u200c\u200d]+")
BLANK = re.compile(r"[^\S\n]+")


def title(text: str | None) -> str | None:
    """Normalised text on one line; None when nothing is left."""
    return " ".join(_fixed_point(text or "").split()) or None


def body(text: str | None) -> str | None:
    """Normalised text, its paragraphs parted by one newline each; None when nothing is left."""
    return _fixed_point(text or "") or None


def storable(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD, so that it can be written as UTF-8; nothing else is changed."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def address(text: str | None) -> str | None:
    """A URL without white space around it, control characters in it, and `&` escaped as in HTML; None when nothing is left."""
    seen = "".join(character for character in storable(text or "").strip() if character.isprintable())
    return AMPERSANDS.sub("&", seen) or None


def _fixed_point(text: str) -> str:
    for _ in range(ROUNDS):
        cleaned = _fold(_without_markup(_visible(text)))
        if cleaned == text:
            return text
        text = cleaned
    return _fold(_visible(text.replace("&", " ").replace("<", " ")))


def _visible(text: str) -> str:
    text = LINE_ENDS.sub("\n", unicodedata.normalize("NFC", storable(text)))
    unseen = {ord(character): None for character in set(text) if not _is_visible(character)}
    text = text.translate(unseen | {0x09: " ", 0x1F: " "})
    return JOINERS.sub(_joiner, text)


def _is_visible(character: str) -> bool:
    return character in "\n\u200c\u200d" or (
        unicodedata.category(character) not in ("Cc", "Cf") and ord(character) & 0xFFFE != 0xFFFE
    )


def _joiner(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    joins = start > 0 and end < len(text) and _may_join(text[start - 1]) and _may_join(text[end])
    return found[0][0] if joins else ""


def _may_join(character: str) -> bool:
    return ord(character) > 0x2FF and not character.isspace()


def _without_markup(text: str) -> str:
    if "<" in text:
        text = _without_tags(text)
    if "&" in text:
        text = REFERENCE.sub(_read_reference, AMPERSANDS.sub("&", text))
    return text


def _read_reference(found: re.Match[str]) -> str:
    reference = found[0]
    return unescape(reference) if reference[1] == "#" or reference[1:] in html5 else reference


class _Ends:
    """Finds what closes a piece of markup.

    The last end of each kind is remembered: many openings without an end would otherwise cost a search to the end of the text each.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.last: dict[str, int] = {}

    def after(self, wanted: str, start: int) -> int | None:
        """The place after the next `wanted` from `start` on, None when there is none."""
        if wanted not in self.last:
            self.last[wanted] = self.text.rfind(wanted)
        return self.text.index(wanted, start) + len(wanted) if start <= self.last[wanted] else None


def _without_tags(text: str) -> str:
    ends = _Ends(text.lower() if len(text.lower()) == len(text) else text)
    pieces: list[str] = []
    done = 0
    for mark in MARK.finditer(text):
        if mark.start() < done:
            continue
        if mark[0][1] in "!?":
            end, instead = _declaration(text, ends, mark)
        else:
            end, instead = _tag(text, ends, mark.start())
        if end is not None:
            pieces += (text[done : mark.start()], instead)
            done = end
    return "".join((*pieces, text[done:]))


def _declaration(text: str, ends: _Ends, mark: re.Match[str]) -> tuple[int | None, str]:
    """Where a comment, CDATA section, document type or XML declaration ends, and what stands in its place."""
    closing = {"<!--": "-->", "<![CDATA[": "]]>"}.get(mark[0], ">")
    end = ends.after(closing, mark.end())
    kept = (
        text[mark.end() : end - len(closing)]
        if end is not None and closing == "]]>"
        else "\n"
        if closing == ">"
        else ""
    )
    return end, kept


def _tag(text: str, ends: _Ends, start: int) -> tuple[int | None, str]:
    """Where the tag at `start` ends, with its content if that is not text, and what stands in its place; None when it is plain text."""
    found = TAG.match(text, start)
    name = found[2].lower() if found else ""
    if found is None or name not in ELEMENTS or not _well_formed(found[3]):
        return None, ""
    end = found.end()
    if name in SKIPPED and not found[1] and not found[3].endswith("/"):
        closing = ends.after(f"</{name}", end)
        end = (ends.after(">", closing) or end) if closing is not None else end
    return end, "\n" if name in BLOCKS or name in SKIPPED else " " if name in CELLS else ""


def _well_formed(attributes: str) -> bool:
    """Whether the inside of a tag is attributes: `<b and c>` is arithmetic, `<b class="x">` is not."""
    for name, value in ATTRIBUTE.findall(attributes):
        if name and not value and name.lower() not in BARE_ATTRIBUTES:
            return False
    return not ATTRIBUTE.sub("", attributes).strip()


def _fold(text: str) -> str:
    lines = (BLANK.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
