"""The contract page of a night: what was checked, what failed and why, as one HTML file without any outside asset.

Great Expectations' own site pulls dozens of files from elsewhere; this one opens from a disk or an attachment. Everything that came from
outside is escaped. Not covered: the night as a whole, which is the report (`tasks/report.py`).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from data_contracts.summary import TableSummary, summarise
from data_contracts.validate import Verdict

TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(verdicts: Mapping[str, Verdict], *, night: date, title: str) -> str:
    """The page of some verdicts, by table name."""
    return render_summaries(
        [summarise(table, verdict) for table, verdict in verdicts.items()], night=night, title=title
    )


def render_summaries(summaries: Sequence[TableSummary], *, night: date, title: str) -> str:
    """The page of what was kept of verdicts."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(tables=summaries, night=night, title=title) + "\n"
