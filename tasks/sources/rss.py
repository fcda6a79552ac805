"""Entries of RSS and Atom feeds, by URL or file.

feedparser reads every dialect there is, well-formed or not. Around it stand three things it leaves to us. A document that is no feed at
all is an error that shows what was given, not an empty list. Entity declarations are looked at before anything is expanded: one that
refers to others (billion laughs), to a file or address outside, or that is longer than `ENTITY_CHARACTERS`, refuses the feed. And a feed
that breaks off gives its whole entries and one bad row, in place of half a story that looks whole.

The body is the entry's content, else its summary, with its markup: cleaning is `tasks/text.py`'s. The time is `published`, else `updated`,
as text: feedparser's own reading of times fills in what is missing.

Not covered: enclosures, feeds paged by `rel="next"`, WebSub.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

import feedparser
from feedparser.encodings import convert_to_utf8

from tasks.documents import Document, read_each
from tasks.fetch import Fetcher
from tasks.sources import Delivered, Item, SourceConfig, SourceFailed

SUFFIXES = (".xml", ".rss", ".atom", ".rdf")
ENTITY_CHARACTERS = 64
CLOSED = re.compile(rb"</(?:rss|feed|rdf:RDF|RDF)\s*>", re.IGNORECASE)
TAIL_BYTES = 4096
SHOWN_BYTES = 80
DEFAULTS = {
    "url": ("link",),
    "title": ("title",),
    "body": ("content", "summary"),
    "published": ("published", "updated", "created"),
}
Entry = Any  # feedparser has no types: a mapping of text, lists and mappings


def read(config: SourceConfig, fetcher: Fetcher) -> Iterator[Item]:
    """The entries of every feed of the location."""
    return read_each(config, fetcher, parse, suffixes=SUFFIXES)


def parse(document: Document, config: SourceConfig) -> Iterator[Delivered]:
    """The entries of one feed, in its order; `position` counts them from 0."""
    with document.open() as stream:
        given = stream.read()
    data = _as_utf8(given, document, config)
    refuse_dangerous_entities(data, document.origin)
    headers = {"content-type": "application/xml; charset=utf-8"}
    if document.data is not None:
        headers["content-location"] = document.origin  # relative links are relative to it
    try:
        feed = feedparser.parse(
            io.BytesIO(data), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:  # a parser of broken markup breaks in ways it does not name; the night goes on
        raise SourceFailed(f"{document.origin}: feedparser failed on it ({type(error).__name__}: {error})") from error
    if not feed.version and not feed.entries:
        reason = f" ({feed.bozo_exception})" if feed.bozo else ""
        raise SourceFailed(
            f"{document.origin}: not an RSS or Atom feed{reason}; it begins with {given[:SHOWN_BYTES]!r}"
        )
    cut = bool(feed.bozo) and not CLOSED.search(data[-TAIL_BYTES:])
    if cut and not feed.entries:
        raise SourceFailed(
            f"{document.origin}: the feed breaks off before its first entry ends ({feed.get('bozo_exception')})"
        )
    for position, entry in enumerate(feed.entries):
        if cut and position == len(feed.entries) - 1:
            problem = f"entry {position}: the feed breaks off in or after it ({feed.get('bozo_exception')})"
            yield Delivered(origin=document.origin, position=position, payload=_payload(entry), parse_error=problem)
        else:
            yield _delivered(entry, document.origin, position, config)


def refuse_dangerous_entities(data: bytes, origin: str) -> None:
    """Read the prolog alone, expanding nothing, and refuse entities that could grow or reach outside.

    Reference: CWE-776 (entity expansion), CWE-611 (external entities).
    """
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def declared(name: str, is_parameter: bool, value: str | None, *_rest: str | None) -> None:  # noqa: FBT001 - expat's signature
        if is_parameter or value is None:
            raise SourceFailed(
                f"{origin}: refused, its entity {name!r} is external or a parameter entity; allowed are short plain texts"
            )
        if "&" in value or "%" in value or len(value) > ENTITY_CHARACTERS:
            raise SourceFailed(
                f"{origin}: refused, its entity {name!r} refers to others or is longer than {ENTITY_CHARACTERS} characters "
                f"(given {value[:ENTITY_CHARACTERS]!r}); such entities are how a small feed fills the memory"
            )

    def root(*_element: object) -> None:
        raise StopIteration

    parser.EntityDeclHandler = declared
    parser.StartElementHandler = root
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat takes no names
    except StopIteration:
        return
    except expat.ExpatError as error:
        if b"<!entity" in data.lower():
            raise SourceFailed(f"{origin}: refused, it declares entities in broken XML ({error})") from error


def _as_utf8(data: bytes, document: Document, config: SourceConfig) -> bytes:
    """The feed in UTF-8: by the setting, by the server's charset, by its own declaration, by its byte-order mark, in this order."""
    content_type = document.content_type if "charset" in (document.content_type or "") else None
    if config.encoding:
        content_type = f"application/xml; charset={config.encoding}"
    found: dict[str, Any] = {}
    converted = convert_to_utf8({"content-type": content_type} if content_type else {}, data, found)
    if not found["encoding"]:
        raise SourceFailed(f"{document.origin}: {found['bozo_exception']}; set `encoding` of the source")
    return bytes(converted)


def _delivered(entry: Entry, origin: str, position: int, config: SourceConfig) -> Delivered:
    parts: dict[str, str | None] = {}
    for logical, keys in DEFAULTS.items():
        given = config.fields.get(logical)
        found = (_text(entry, key) for key in ((str(given),) if given is not None else keys))
        parts[logical] = next((text for text in found if text), None)
    return Delivered(
        origin=origin,
        position=position,
        url=parts["url"],
        title=parts["title"],
        body=parts["body"],
        published_text=parts["published"],
        payload=_payload(entry),
    )


def _text(entry: Entry, key: str) -> str | None:
    """What an entry holds under a key; of several contents the first."""
    if key not in entry:
        return None
    value = entry[key]
    if isinstance(value, list):
        value = value[0].get("value") or value[0].get("href") if value and isinstance(value[0], dict) else None
    return value if isinstance(value, str) else None


def _payload(entry: Entry) -> str:
    """The entry as JSON, without what feedparser worked out by itself."""
    delivered = {key: value for key, value in entry.items() if not key.endswith(("_detail", "_parsed"))}
    return json.dumps(delivered, ensure_ascii=False, default=str)
