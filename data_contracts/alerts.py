"""An alert a monitor raised. Its key is stable, so that a re-run raises the same alert, and it is sent once."""

from datetime import date
from typing import Annotated

import pyarrow as pa
from pydantic import AwareDatetime

from data_contracts.schema import DATE, FLOAT64, STRING, UTC_TIME, Column, Contract, Order, Row

SEVERITIES: tuple[str, ...] = ("info", "warning", "critical")


class Alert(Row):
    """One alert."""

    alert_key: Annotated[str, Column(STRING, "Stable: of monitor, subject and night.", length=(1, None))]
    run_date: Annotated[date, Column(DATE, "The night it is about.")]
    monitor: Annotated[str, Column(STRING, "The monitor that raised it.", length=(1, 100))]
    subject: Annotated[str, Column(STRING, "What it is about: an entity, a source, a table.", length=(1, None))]
    severity: Annotated[str, Column(STRING, "How grave it is.", one_of=SEVERITIES)]
    message: Annotated[str, Column(STRING, "A sentence for people.", length=(1, None))]
    value: Annotated[float | None, Column(FLOAT64, "What was measured tonight.")] = None
    baseline: Annotated[float | None, Column(FLOAT64, "What is usual.")] = None
    threshold: Annotated[float | None, Column(FLOAT64, "The value from which it is raised.")] = None
    article_ids: Annotated[list[str], Column(pa.list_(STRING), "The articles it rests on; may be empty.")]
    created_at: Annotated[AwareDatetime, Column(UTC_TIME, "When it was raised, UTC.")]
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the row could first be read, UTC.")]
    model_digest: Annotated[str | None, Column(STRING, "Digest of the model behind the scores, where one is.")] = None


CONTRACT = Contract(
    name="alerts",
    row=Alert,
    says="What the monitors found on a night.",
    key=("alert_key",),
    orders=(Order(low="created_at", high="available_at"),),
)
