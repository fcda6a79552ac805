"""What `nightdesk doctor` finds: one thing looked at, whether it is as a night needs it, and what to do where it is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `needed` says whether a night can run without it."""

    what: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = True
