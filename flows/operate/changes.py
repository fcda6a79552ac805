"""What became of one thing on a server, for the table that `nightdesk deploy` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal["made", "changed", "unchanged", "removed"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing: its kind, its name, what became of it, and in `details` what a person wants to know of it; never a secret."""

    kind: str
    name: str
    what: What
    details: str = ""
