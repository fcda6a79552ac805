"""A row that failed, kept with its reason and itself: nothing is dropped in silence."""

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime

from data_contracts.schema import DATE, STRING, UTC_TIME, Column, Contract, Row

CODE = r"^[a-z_]+[a-zA-Z0-9_.]*(?:;[a-z_]+[a-zA-Z0-9_.]*)*$"


class QuarantineRow(Row):
    """One failed row of one stage."""

    quarantine_id: Annotated[str, Column(STRING, "Hash of stage, row_id and reason.", length=(1, 64))]
    run_date: Annotated[date, Column(DATE, "The night the row belongs to.")]
    stage: Annotated[
        str, Column(STRING, "Where it failed: raw, articles, score, or the name of a scored table.", length=(1, 100))
    ]
    source: Annotated[str | None, Column(STRING, "The source's name, where the row has one.")] = None
    row_id: Annotated[
        str, Column(STRING, "The raw row's id, or the failed row's own key joined by ':'.", length=(1, None))
    ]
    reason: Annotated[
        str,
        Column(
            STRING,
            "Sorted codes column.rule joined by ';', such as published_at.not_null.",
            matches=CODE,
            pattern_says="codes joined by ';'",
        ),
    ]
    detail: Annotated[str, Column(STRING, "A sentence a rule: what was given, what is allowed.", length=(1, None))]
    row: Annotated[
        str, Column(STRING, "The row itself: as delivered where that was kept, else as JSON.", length=(1, None))
    ]
    quarantined_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was put here, UTC.")]


CONTRACT = Contract(
    name="quarantine",
    row=QuarantineRow,
    says="Rows that failed a contract or broke the model, with their reasons and themselves.",
    key=("quarantine_id",),
)
