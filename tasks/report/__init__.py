"""The report: one self-contained HTML page a night, made from the published tables alone, so that it can be written again at any time.

What came in, what failed and why, sentiment by entity with its trend, the alerts with their articles, and the model. A number on the page
is a number in the lake. The words that drove an alert's lead article are computed anew, where a registry is named that still has the model.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from tasks.lake import Lake
from tasks.registry import Registry
from tasks.report.drivers import drivers_of
from tasks.report.night import alert_views, failures, gather, models_of
from tasks.report.page import render
from tasks.step import step

__all__ = ["report", "summary_markdown"]


@step("report")
def report(
    lake_url: str,
    *,
    night: dt.date,
    now: dt.datetime,
    tracking_uri: str | None = None,
    artifact_root: str | None = None,
    bundles: Sequence[str] = (),
) -> str:
    """Write the night's page under `_reports/` in the lake; returns its path.

    Args:
        lake_url: where the lake is.
        night: whose page.
        now: when it is written, UTC.
        tracking_uri, artifact_root: of the registry; without them no score is explained.
        bundles: models that may have scored the night, in the registry or not.
    """
    lake = Lake.open(lake_url)
    gathered = gather(lake, night)
    drivers = {}
    if tracking_uri is not None and artifact_root is not None:
        drivers = drivers_of(lake, gathered, Registry(tracking_uri, artifact_root), bundles)
    page = render(gathered, models_of(lake, gathered), now=now, drivers=drivers)
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
