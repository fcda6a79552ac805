"""Secrets are not told: values that the settings took from the environment are struck out of every log record, and of what is stored.

The settings `keep` what they read as a secret. From then on no log record of the process holds one, whoever writes it; `struck_out` does the
same for a text about to be stored, and `unspoken` for an error about to become the state of a run. It is the net below: parts that know where
their secret stands (a URL's query, an Apprise URL) strike it out themselves, whether it came from the environment or not.

Not covered: values shorter than four characters, which are in every text; secrets that somebody encoded otherwise than URLs do; other
processes, none of which is handed a secret.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from data_contracts.errors import Fatal

STRUCK_OUT = "***"
LEAST_CHARACTERS = 4

_kept: tuple[str, ...] = ()  # the longest first, so that one that is a part of another does not leave the rest


def keep(secrets: Iterable[str]) -> None:
    """Never tell these again, as they are or as a URL writes them."""
    global _kept
    forms = {form for one in secrets for form in (one, quote(one), quote(one, safe=""), quote_plus(one))}
    forms = {form for form in forms if len(form) >= LEAST_CHARACTERS} - set(_kept)
    if not forms:
        return
    if not _kept:
        logging.setLogRecordFactory(_silenced(logging.getLogRecordFactory()))
    _kept = tuple(sorted(forms.union(_kept), key=len, reverse=True))


def struck_out(text: str) -> str:
    """The text without what is kept."""
    for secret in _kept:
        text = text.replace(secret, STRUCK_OUT)
    return text


@contextmanager
def unspoken() -> Iterator[None]:
    """An error that leaves the block, and what caused it, says nothing that is kept; its class stays where it lets its text be changed."""
    try:
        yield
    except Exception as error:
        told: BaseException | None = error
        seen: set[int] = set()
        while told is not None and id(told) not in seen:
            seen.add(id(told))
            told.args = tuple(struck_out(part) if isinstance(part, str) else part for part in told.args)
            told = told.__cause__ or told.__context__
        if (said := str(error)) != (safe := struck_out(said)):
            raise Fatal(f"{type(error).__name__}: {safe}") from None
        raise


def _silenced(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """A maker of log records that hold nothing that is kept."""

    def silent(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # logging itself reports arguments that do not fit
            return record
        if (safe := struck_out(said)) != said:
            record.msg, record.args = safe, None
        if record.exc_info and record.exc_info[1] is not None:
            said = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if (safe := struck_out(said)) != said:
                record.exc_info, record.exc_text = None, safe
        return record

    return silent
