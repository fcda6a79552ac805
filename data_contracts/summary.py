"""A verdict boiled down to what people read: counts, the top reasons, a few failed rows. Goes to JSON and back.

A night's contract page grows as the night goes on (raw and articles first, the scored tables after scoring), in separate steps; what the
first step found is handed on as this JSON, not as tables.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, TypeAdapter

from data_contracts.validate import ExpectationResult, Verdict

MAX_REASONS = 10
MAX_EXAMPLES = 5
MAX_ROW_CHARACTERS = 600


class ReasonCount(BaseModel):
    """A reason (sorted codes joined by ';') and how many rows failed for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str
    rows: int


class ExampleRow(BaseModel):
    """A failed row: its reason, the sentence about it, and itself as JSON, cut at 600 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str
    detail: str
    row: str


class TableSummary(BaseModel):
    """How one table fared. `rows` = `passed` + `quarantined`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    table: str
    rows: int
    passed: int
    quarantined: int
    results: tuple[ExpectationResult, ...]
    reasons: tuple[ReasonCount, ...]
    examples: tuple[ExampleRow, ...]

    @property
    def failed_share(self) -> float:
        """quarantined / rows, 0 to 1; 0 for an empty table."""
        return self.quarantined / self.rows if self.rows else 0.0


def summarise(table: str, verdict: Verdict) -> TableSummary:
    """Boil a verdict down."""
    shown = _spread(verdict.reasons)
    rows = verdict.failed.take(pa.array(shown, type=pa.int64())).to_pylist()
    return TableSummary(
        table=table,
        rows=verdict.passed.num_rows + verdict.failed.num_rows,
        passed=verdict.passed.num_rows,
        quarantined=verdict.failed.num_rows,
        results=verdict.results,
        reasons=top_reasons(verdict.reasons),
        examples=tuple(
            ExampleRow(reason=verdict.reasons[n], detail=verdict.details[n], row=as_json(row)[:MAX_ROW_CHARACTERS])
            for n, row in zip(shown, rows, strict=True)
        ),
    )


def top_reasons(reasons: Sequence[str]) -> tuple[ReasonCount, ...]:
    """The most frequent reasons with their counts, the most frequent first, then by name."""
    counted = sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ReasonCount(reason=reason, rows=rows) for reason, rows in counted[:MAX_REASONS])


def as_json(row: object) -> str:
    """A row as one line of JSON: fields without a value left out, times in ISO 8601."""
    given = {name: value for name, value in row.items() if value is not None} if isinstance(row, dict) else row
    return json.dumps(given, ensure_ascii=False, default=_text)


_SUMMARIES = TypeAdapter(tuple[TableSummary, ...])


def dump(summaries: Sequence[TableSummary]) -> str:
    """Summaries as JSON text."""
    return _SUMMARIES.dump_json(tuple(summaries), indent=1).decode()


def load(text: str | bytes) -> tuple[TableSummary, ...]:
    """What `dump` wrote."""
    return _SUMMARIES.validate_json(text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _spread(reasons: Sequence[str]) -> list[int]:
    """The places of a few failed rows, one for each reason before a second for any."""
    seen: Counter[str] = Counter()
    order: list[tuple[int, int]] = []
    for place, reason in enumerate(reasons):
        order.append((seen[reason], place))
        seen[reason] += 1
    return [place for _, place in sorted(order)[:MAX_EXAMPLES]]
