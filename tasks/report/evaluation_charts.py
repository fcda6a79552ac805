"""The charts of an evaluation's page as self-contained SVG, in the report's type and colours.

Each takes what models.figures holds and returns SVG text. Not covered: the confusion matrix, which is a table and stays one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from models.bootstrap import Interval
from models.metrics import LabelScore
from models.reliability import ReliabilityBin
from tasks.report.charts import INK, NEGATIVE, NEUTRAL, POSITIVE, svg

SIDE = 300


def reliability_diagram(bins: Sequence[ReliabilityBin]) -> str:
    """The share of right answers over the confidence stated, a bar a bin; the line is where both are equal, the dots how sure the bin was.

    Below it, how many answers each bin has.
    """
    rows = [
        {"low": one.low, "high": one.high, "confidence": one.confidence, "accuracy": one.accuracy, "answers": one.count}
        for one in bins
        if one.count
    ]
    data = pl.DataFrame(rows)
    unit = alt.Scale(domain=[0, 1])
    sure = alt.X("low:Q", scale=unit, title="confidence stated")
    bars = (
        alt.Chart(data)
        .mark_bar(color=POSITIVE, opacity=0.75, stroke="white")
        .encode(x=sure, x2="high:Q", y=alt.Y("accuracy:Q", scale=unit, title="share that is right"), y2=alt.Y2Datum(0))
    )
    dots = alt.Chart(data).mark_point(color=NEGATIVE, filled=True).encode(x="confidence:Q", y="accuracy:Q")
    ideal = alt.Chart(pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})).mark_line(color=INK, strokeDash=[4, 4], size=1)
    upper = (bars + ideal.encode(x="x:Q", y="y:Q") + dots).properties(width=SIDE, height=SIDE)
    counts = (
        alt.Chart(data)
        .mark_bar(color=NEUTRAL, stroke="white")
        .encode(
            x=sure,
            x2="high:Q",
            y=alt.Y("answers:Q", title="answers", axis=alt.Axis(tickCount=3, format="d")),
            y2=alt.Y2Datum(0),
        )
        .properties(width=SIDE, height=70)
    )
    return svg(upper & counts)


def label_scores(labels: Sequence[LabelScore], intervals: Mapping[str, Interval]) -> str:
    """F1 of each label with its 95% interval."""
    rows = [
        {
            "label": f"{one.label} ({one.support})",
            "f1": one.f1,
            "low": intervals[f"f1_{one.label}"].low if f"f1_{one.label}" in intervals else one.f1,
            "high": intervals[f"f1_{one.label}"].high if f"f1_{one.label}" in intervals else one.f1,
        }
        for one in labels
    ]
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    )
    scale = alt.Scale(domain=[0, 1])
    ranges = base.mark_rule(color=INK, size=2).encode(x=alt.X("low:Q", scale=scale, title="F1"), x2="high:Q")
    points = base.mark_point(color=POSITIVE, filled=True, size=70, opacity=1).encode(x=alt.X("f1:Q", scale=scale))
    return svg((ranges + points).properties(width=SIDE + 120, height=alt.Step(26)))
