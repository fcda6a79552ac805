"""What a person sees on a run's page in the Prefect UI: the night's counts, its summary and where the report lies."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.notify import Notified
from tasks.publish import Published
from tasks.report import summary_markdown
from tasks.shadow import Shadow


def show_night(lake_url: str, night: dt.date, published: Published, sent: Notified, page: str) -> None:
    """Write the night's artifacts: a table of rows a table, the report's summary, and a link to the page."""
    rows = [{"table": p.table, "rows": p.rows, "path": p.path} for p in published.partitions]
    create_table_artifact(
        table=rows, key=f"night-{night}-tables", description="published" if published.changed else "unchanged"
    )
    outcome = f"\n\nAlerts: {sent.sent} sent, {sent.suppressed} within their cooldown, {sent.uncertain} uncertain, {sent.failed} failed."
    create_markdown_artifact(markdown=summary_markdown(lake_url, night=night) + outcome, key=f"night-{night}-summary")
    link = page if "://" in page else Path(page).as_uri()
    create_link_artifact(link=link, key=f"night-{night}-report", link_text=f"report of night {night}")


def show_shadow(found: Shadow) -> None:
    """Write how a candidate differs from the champion on recent nights: shares, confidence, and the surest differences."""
    lines = [
        f"{found.flipped:.1%} differ on {found.articles} articles of {found.nights} nights; mean confidence "
        f"{found.champion_confidence:.3f} (champion), {found.candidate_confidence:.3f} (candidate).",
        "",
        "| class | champion | candidate |",
        "| --- | ---: | ---: |",
        *(
            f"| {label} | {share:.1%} | {found.candidate_shares.get(label, 0.0):.1%} |"
            for label, share in found.champion_shares.items()
        ),
    ]
    key = f"shadow-{found.task.replace('_', '-')}"
    create_markdown_artifact("\n".join(lines), key=key, description=f"{found.task}: candidate beside champion")
    create_table_artifact(
        [asdict(flip) for flip in found.flips], key=f"{key}-flips", description="the surest differences"
    )
