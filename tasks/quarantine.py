"""Failed rows -> rows of the table `quarantine`, and the limit on how many may fail.

A row is kept as it was delivered where that was kept, else as JSON. Its id comes from stage, row and reason, so a re-run finds the rows
that are published already and leaves their `quarantined_at` as it is. Not covered: judging rows (`data_contracts.validate`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from data_contracts.errors import ContractBroken
from data_contracts.quarantine import CONTRACT, QuarantineRow
from data_contracts.schema import Contract
from data_contracts.summary import as_json, top_reasons
from data_contracts.validate import Verdict

ID_CHARACTERS = 32
SCORING = "score"  # the stage of rows that broke the model; other stages are named after tables


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of a table failed: `reasons` has one entry a failed row of its `rows`."""

    table: str
    rows: int
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, table: str, verdict: Verdict) -> Share:
        """The share that a verdict found."""
        return cls(table=table, rows=verdict.passed.num_rows + verdict.failed.num_rows, reasons=verdict.reasons)


def quarantine_id(stage: str, row_id: str, reason: str, copy: int = 0) -> str:
    """32 hexadecimal characters; `copy` tells apart rows that share all three, 0 for the first."""
    parts = [stage, row_id, reason, *([str(copy)] if copy else [])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:ID_CHARACTERS]


def quarantined(verdict: Verdict, contract: Contract, *, night: date, now: datetime, stage: str = "") -> pa.Table:
    """The failed rows of a verdict as quarantine rows, in the same order. `stage` is the contract's name unless given."""
    stage = stage or contract.name
    copies: Counter[tuple[str, str]] = Counter()
    rows: list[QuarantineRow] = []
    for given, reason, detail in zip(verdict.failed.to_pylist(), verdict.reasons, verdict.details, strict=True):
        row_id = str(given.get("row_id") or ":".join(str(given[name]) for name in contract.key))
        copy = copies[row_id, reason]
        copies[row_id, reason] += 1
        rows.append(
            QuarantineRow(
                quarantine_id=quarantine_id(stage, row_id, reason, copy),
                run_date=night,
                stage=stage,
                source=given.get("source"),
                row_id=row_id,
                reason=reason,
                detail=detail,
                row=given.get("payload") or as_json(given),
                quarantined_at=now,
            )
        )
    return CONTRACT.table(rows)


def merged(parts: Iterable[pa.Table], *, published: pa.Table) -> pa.Table:
    """One quarantine table, each row once, in the order of its id; rows that `published` has keep its `quarantined_at`."""
    since = dict(
        zip(published.column("quarantine_id").to_pylist(), published.column("quarantined_at").to_pylist(), strict=True)
    )
    table = pa.concat_tables([CONTRACT.empty(), *(CONTRACT.conform(part) for part in parts)])
    table = table.sort_by([("quarantine_id", "ascending"), ("quarantined_at", "ascending")])
    ids = table.column("quarantine_id").to_pylist()
    firsts = [number for number, key in enumerate(ids) if number == 0 or ids[number - 1] != key]
    table = table.take(pa.array(firsts, type=pa.int64()))
    times = [
        since.get(key, now)
        for key, now in zip(
            table.column("quarantine_id").to_pylist(), table.column("quarantined_at").to_pylist(), strict=True
        )
    ]
    place = table.schema.get_field_index("quarantined_at")
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(times, type=field.type))


def refuse_too_many(share: Share, *, max_failed_share: float, page: str, kept: str) -> None:
    """Raise `ContractBroken` when more than `max_failed_share` (0 to 1) of the rows failed."""
    failed = len(share.reasons)
    if not share.rows or failed <= max_failed_share * share.rows:
        return
    top = ", ".join(f"{count.reason} ({count.rows})" for count in top_reasons(share.reasons))
    raise ContractBroken(
        f"{share.table}: {failed} of {share.rows} rows failed their contract, a share of {failed / share.rows:.1%}; "
        f"allowed is at most {max_failed_share:.1%}. Reasons: {top}. Nothing was published. "
        f"The page is {page}, the failed rows are kept in {kept}"
    )
