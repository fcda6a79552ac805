"""The report: one self-contained HTML page a night, made from the published tables alone, so that it can be written again at any time.

What came in, what failed and why, sentiment by entity with its trend, the alerts with their articles, and the model. A number on the page
is a number in the lake.
"""

from __future__ import annotations

import datetime as dt

from tasks.lake import Lake
from tasks.report.night import alert_views, failures, gather, models_of
from tasks.report.page import render
from tasks.step import step

__all__ = ["report", "summary_markdown"]


@step("report")
def report(lake_url: str, *, night: dt.date, now: dt.datetime) -> str:
    """Write the night's page under `_reports/` in the lake; returns its path."""
    lake = Lake.open(lake_url)
    gathered = gather(lake, night)
    page = render(gathered, models_of(lake, gathered), now=now)
    return lake.write_file(f"_reports/{night}/report.html", page.encode())


def summary_markdown(lake_url: str, *, night: dt.date) -> str:
    """The page's summary as Markdown, for the run's page in the Prefect UI."""
    seen = gather(Lake.open(lake_url), night)
    shares = dict(seen.scored.group_by("sentiment").len().iter_rows())
    counted = ", ".join(f"{shares.get(label, 0)} {label}" for label in ("negative", "neutral", "positive"))
    lines = [
        f"# Night {night}",
        f"{seen.rows_read} rows came in, {seen.scored.height} articles were scored ({counted}), "
        f"{seen.quarantine.height} rows quarantined, {seen.repeats} exact repeats dropped.",
        "",
        "## Alerts",
        *([f"- **{a.severity}** {a.message}" for a in alert_views(seen)] or ["none"]),
        "",
        "## Most written about",
        "| entity | articles | negative | mean sentiment |",
        "| --- | --- | --- | --- |",
        *[
            f"| {_cell(r['display_name'])} | {r['articles']} | {r['negative']} | {r['mean_score']:+.2f} |"
            for r in seen.daily.head(10).iter_rows(named=True)
        ],
    ]
    if seen.quarantine.height:
        lines += [
            "",
            "## Quarantined",
            "| stage | reason | rows |",
            "| --- | --- | --- |",
            *[f"| {f.stage} | {_cell(f.reason)} | {f.rows} |" for f in failures(seen)],
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
