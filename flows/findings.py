"""What `nightdesk doctor` finds: one thing looked at, whether it is as a night needs it, and what to do where it is not."""

from __future__ import annotations

from dataclasses import dataclass

from data_contracts.errors import NightdeskError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `needed` says whether a night can run without it."""

    what: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = True


def said(error: Exception) -> str:
    """An error in a line; of one that is not ours its kind too."""
    line = " ".join(str(error).split())
    return line if isinstance(error, NightdeskError) else f"{type(error).__name__}: {line}"
