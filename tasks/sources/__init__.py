"""What a source is: a file of this folder with a `read` that turns a place into delivered rows.

A source reads and does nothing else: no normalising, no times, no windows, no lake. It hands on each row as it was delivered, and says of
each row or document that it could not read what was wrong with it, in place of raising, so that one bad line costs one line and one bad
file one file. The name of the file is its `kind` in the settings; there is no registry. `docs/adding_a_source.md` adds one step by step.

Not covered: sources that push. A night pulls.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, cast
from zoneinfo import ZoneInfo

from data_contracts.errors import Fatal, Skippable

if TYPE_CHECKING:
    from tasks.fetch import Fetcher

LOGICAL_NAMES = ("url", "title", "body", "published", "items")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MEBIBYTE = 1 << 20
NIGHT = "{night}"


class SourceFailed(Skippable):
    """A document of a source, or the whole of it, could not be read; the other sources go on."""


class UnknownSource(Fatal):
    """The settings name a kind of source that has no file in `tasks/sources/`."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source in the settings.

    Attributes:
        name: how rows, counts and alerts call it; letters, digits, `_`, `.`, `-`.
        kind: the file in `tasks/sources/` that reads it.
        location: an http(s) URL, or a file, a directory (the files of this kind directly in it) or a glob; gzip is seen by its first bytes.
            `{night}` in it stands for the night's ISO date.
        timezone: the IANA zone of times that carry none.
        fields: logical name (url, title, body, published) -> column name or position (csv), dotted path (json), entry key (rss);
            for json also `items`, the path of the array inside an object. A name left out is looked for under its own name.
        header: csv: whether the first row names the columns; "auto": yes when `fields` uses names, and when it uses positions, a first
            row whose `published` cell holds no digit is taken for one.
        delimiter: csv: one character.
        encoding: how text is encoded; None is UTF-8, checked strictly, with or without a byte-order mark.
        time_formats: strptime formats tried before ISO 8601, RFC 822 and epochs; each must hold a year, a month and a day.
        full_text: fetch the page at a new row's URL and take its article text as the body.
        timeout_seconds: to connect, and between two reads of one answer; a whole answer may take ten times that.
        max_bytes: cap for one document, after gunzipping.
        delay_seconds: least pause between two requests to one host.
        allow_private: let downloads reach loopback and private addresses.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    kind: str
    location: str
    timezone: str = "UTC"
    fields: Mapping[str, str | int] = field(default_factory=dict)
    header: bool | Literal["auto"] = "auto"
    delimiter: str = ","
    encoding: str | None = None
    time_formats: tuple[str, ...] = ()
    full_text: bool = False
    timeout_seconds: float = 20.0
    max_bytes: int = 64 * MEBIBYTE
    delay_seconds: float = 1.0
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Refuse what no night could run with, naming the setting."""
        for broken, message in self._problems():
            if broken:
                raise ValueError(f"source {self.name!r}: {message}")

    @property
    def own(self) -> bool:
        """Whether each night has a place of its own."""
        return NIGHT in self.location

    def on(self, night: date) -> SourceConfig:
        """The source with the place that it has on this night."""
        return replace(self, location=self.location.replace(NIGHT, night.isoformat()))

    def _problems(self) -> Iterator[tuple[bool, str]]:
        yield not NAME.fullmatch(self.name), "name: 1 to 64 letters, digits, '_', '.', '-', the first a letter or digit"
        yield not self.location, "location: given nothing; allowed is a URL, a file, a directory or a glob"
        yield (
            not _zone_exists(self.timezone),
            f"timezone: given {self.timezone!r}; allowed is an IANA name such as Europe/Berlin",
        )
        unknown = sorted(set(self.fields) - set(LOGICAL_NAMES))
        yield bool(unknown), f"fields: given {unknown}; allowed are {list(LOGICAL_NAMES)}"
        yield len(self.delimiter) != 1, f"delimiter: given {self.delimiter!r}; allowed is one character"
        yield (
            not _codec_exists(self.encoding),
            f"encoding: given {self.encoding!r}; allowed is a codec that Python knows",
        )
        for text in self.time_formats:
            missing = format_problem(text)
            yield missing is not None, f"time_formats: {text!r} {missing}"
        yield min(self.timeout_seconds, self.max_bytes) <= 0, "timeout_seconds and max_bytes must be above 0"
        yield self.delay_seconds < 0, f"delay_seconds: given {self.delay_seconds}; allowed is 0 or more"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """One row as it came: nothing cleaned, nothing guessed.

    Attributes:
        origin: the file it came from, or the URL without its secrets: `Document.origin`.
        position: line or entry number in it, from 0.
        payload: the whole row as text (JSON where it has parts), for whoever must find out what was wrong.
        parse_error: why it could not be read; then the other parts may be missing.
    """

    origin: str
    position: int
    url: str | None = None
    title: str | None = None
    body: str | None = None
    published_text: str | None = None
    payload: str | None = None
    parse_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A document that could not be read, wholly or from some point on; `data` is what was downloaded, None for a local file; `busy`: another
    try may help.

    One such document among many makes the source count as failed, with the reason; what it and the others delivered is kept.
    """

    origin: str
    error: str
    data: bytes | None = None
    busy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Unchanged:
    """A document that the server says is the one we read last time."""

    origin: str


Item = Delivered | Unreadable | Unchanged


class Read(Protocol):
    """The one function of a source file."""

    def __call__(self, config: SourceConfig, fetcher: Fetcher) -> Iterator[Item]:
        """Everything the source delivers now, in its order."""


def kinds() -> tuple[str, ...]:
    """The kinds there are: the files of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def reader(kind: str) -> Read:
    """The `read` of the source file called `kind`."""
    if kind not in kinds():
        raise UnknownSource(f"kind: given {kind!r}; allowed are {list(kinds())}, the files of tasks/sources/")
    return cast(Read, pkgutil.resolve_name(f"{__name__}.{kind}:read"))


def format_problem(time_format: str) -> str | None:
    """What a strptime format lacks to stand for one moment, or None; strptime itself would fill in 1 January 1900."""
    directives = set(re.findall(r"%(.)", time_format.replace("%%", "")))
    if "Z" in directives:
        return "holds %Z, which strptime reads and then forgets; write %z, or leave the zone to `timezone`"
    if not directives & {"Y", "y"}:
        return "holds no year (%Y or %y)"
    if "j" not in directives and not ("d" in directives and directives & {"m", "b", "B"}):
        return "holds no month and day (%m, %b or %B, with %d; or %j)"
    return None


def _zone_exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _codec_exists(name: str | None) -> bool:
    try:
        return name is None or isinstance("".encode(name), bytes)
    except LookupError:
        return False
