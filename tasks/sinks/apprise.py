"""Sends one message a night through Apprise: Slack, mail, a webhook, and everything else it reaches by URL.

The message names the gravest alerts first, up to a number, and counts the rest. Each URL is a place of its own, so that one that fails is
tried again without bothering the others. URLs hold secrets. They come as plain arguments, resolved in the settings, and appear in no
log and no error: while a message is sent, every part of the URL is struck out of what Apprise and its HTTP library log, at any level.

Not covered: attachments, and knowing whether a message whose sender was killed arrived: no such service can be asked.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

import apprise

from data_contracts.errors import Fatal
from tasks.sinks import Digest, Sink, SinkFailed

if TYPE_CHECKING:
    from tasks.lake import Lake

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry", "requests")
STRUCK_OUT = "***"
KINDS = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}


class PlaceRefused(Fatal):
    """A place's name or URL is not allowed; the text holds the name alone."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where messages go.

    Attributes:
        urls: place name -> Apprise URL, such as `desk = "${DESK_WEBHOOK}"`; the name, never the URL, stands in logs and in the ledger.
        timeout_seconds: to connect, and again between two reads of the answer.
    """

    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0


def connect(config: Config, lake: Lake) -> list[Sink]:
    """One place a URL, by name; refuses a URL that Apprise does not know, without showing it."""
    return [_Place(name, url, config.timeout_seconds) for name, url in sorted(config.urls.items())]


class _Place:
    """One URL."""

    def __init__(self, name: str, url: str, timeout_seconds: float) -> None:
        if not NAME.fullmatch(name):
            raise PlaceRefused(
                "apprise.urls: a place's name is 1 to 64 letters, digits, '_', '.', '-', the first a letter or digit"
            )
        self.name = f"apprise/{name}"
        self._secrets = _parts(url)
        asset = apprise.AppriseAsset(app_id="nightdesk", async_mode=False, storage_mode="memory")
        with self._struck_out():
            server = apprise.Apprise.instantiate(url, asset=asset)
        if server is None:
            raise PlaceRefused(
                f"apprise.urls.{name}: the URL given is none that Apprise knows; allowed are those in its documentation"
            )
        server.socket_connect_timeout = server.socket_read_timeout = timeout_seconds
        self._target = apprise.Apprise(asset=asset)
        self._target.add(server)

    def send(self, digest: Digest) -> None:
        """Send the digest as one message."""
        if not digest.alerts:
            return
        kind = KINDS[digest.alerts[0].severity]
        with self._struck_out(), apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as captured:
            try:
                done = self._target.notify(body=digest.text, title=digest.title, notify_type=kind, body_format="text")
                said = captured.getvalue()
            except Exception as error:
                done, said = False, f"{type(error).__name__}: {error}"
        if not done:
            reason = " ".join(self._without_secrets(said).split())[:500] or "no reason was given"
            raise SinkFailed(f"{self.name}: the message was not delivered: {reason}")

    def arrived(self, alert_keys: Collection[str]) -> None:
        """None: a message service cannot be asked."""

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, STRUCK_OUT)
        return text

    @contextmanager
    def _struck_out(self) -> Iterator[None]:
        """While inside, no log record of the libraries holds a part of the URL."""

        def strike_out(record: logging.LogRecord) -> bool:
            record.msg, record.args = self._without_secrets(record.getMessage()), None
            record.exc_info = record.exc_text = None
            return True

        loggers = [logging.getLogger(name) for name in LOGGERS]
        for logger in loggers:
            logger.addFilter(strike_out)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(strike_out)


def _parts(url: str) -> tuple[str, ...]:
    """Everything in the URL that could be secret, the longest first: each part after the scheme, as it stands and unquoted."""
    rest = url.partition("://")[2]
    parts = {url, rest, *re.split(r"[/:@?&=#,]+", rest)}
    parts |= {unquote(part) for part in parts}
    return tuple(sorted((part for part in parts if len(part) >= 4), key=len, reverse=True))
