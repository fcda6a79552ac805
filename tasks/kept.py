"""The rows that a night has from an earlier run, and what a new reading of the same rows makes of them.

A setting that was wrong (`timezone`, `time_formats`, `encoding`, `fields`) made rows that are wrong; corrected, the next run of the night
makes them right. So what is derived from a delivered row is derived again whenever the row is read again, published or not, and only
when and where it was first seen stays. The same reading gives the same row, and then nothing changes.

A row keeps its id when it is delivered alike. With other `fields` or another `encoding` it is not, so when the settings changed, a row
that is not delivered any more is taken for the earlier form of one that is: of the one with the same payload, or of the one in the same
place of the same local file (the places of a download move from day to day).

Not covered: rows that are no longer delivered at all (a feed has dropped them): they stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from data_contracts.raw import RawRow
from tasks.hosts import redacted


@dataclass(frozen=True)
class Kept:
    """One source's rows of the night by id; `read_otherwise`: the settings they were read with read rows differently."""

    rows: Mapping[str, RawRow]
    read_otherwise: bool = False

    @staticmethod
    def of(rows: Iterable[RawRow], *, read_otherwise: bool) -> Kept:
        """Those rows."""
        return Kept({row.row_id: row for row in rows}, read_otherwise)

    def earlier_form(self, origin: str, position: int, payload: str | None) -> RawRow | None:
        """What a row of another id may have been before the settings changed; its place, and its payload as it would be stored."""
        if not self.read_otherwise:
            return None
        there = self._by_place.get((origin, position))
        if payload is None or (there is not None and there.payload == payload):
            return there
        return self._by_payload.get(payload) or there

    @cached_property
    def _by_payload(self) -> Mapping[str, RawRow]:
        return {row.payload: row for row in self.rows.values() if row.payload is not None}

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, int], RawRow]:
        return {(row.origin, row.position): row for row in self.rows.values() if "://" not in row.origin}


def renewed(row: RawRow, fresh: RawRow, *, full_text: bool) -> RawRow:
    """What `row` is after a new reading: as `fresh`, but first seen when and where it was.

    Args:
        row: as the night has it.
        fresh: as it is read now.
        full_text: bodies come from the rows' pages, which are not asked again: the body stays where the address does.
    """
    stays = {"run_date": row.run_date, "first_seen_at": row.first_seen_at, "position": row.position}
    if full_text and row.body is not None and row.url == fresh.url:
        stays["body"] = row.body
    return fresh.model_copy(update={**stays, "origin": redacted(row.origin)})
