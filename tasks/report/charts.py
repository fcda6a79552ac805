"""The report's charts as self-contained SVG: Vega-Lite specifications rendered on this machine, no script and no outside asset.

Each function takes a small Polars frame and returns SVG text. Colours are one diverging pair (blue good, red bad) that colour-blind readers
can tell apart. What it does not do: choose what is worth showing; `tasks.report` does.
"""

from __future__ import annotations

import altair as alt
import polars as pl
import vl_convert

NEGATIVE, NEUTRAL, POSITIVE = "#b5403a", "#b9b4a8", "#2f6f9f"
INK, GRID = "#33312c", "#e4e0d7"
FONT = "Helvetica, Arial, sans-serif"
WIDTH = 640


def sentiment_by_night(shares: pl.DataFrame) -> str:
    """Stacked shares of negative, neutral and positive articles, one column a night.

    Args:
        shares: columns night (text), label, articles (count), share in [0, 1].
    """
    scale = alt.Scale(domain=["negative", "neutral", "positive"], range=[NEGATIVE, NEUTRAL, POSITIVE])
    chart = (
        alt.Chart(shares)
        .mark_bar(size=min(46, WIDTH // max(1, shares["night"].n_unique()) - 4))
        .encode(
            x=alt.X("night:O", title=None, axis=alt.Axis(labelAngle=-45)),
            y=alt.Y("share:Q", title="share of articles", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("label:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            order=alt.Order("rank:Q"),
        )
        .properties(width=WIDTH, height=200)
    )
    return svg(chart)


def entities_tonight(entities: pl.DataFrame) -> str:
    """Diverging bars: the mean sentiment of the articles about each entity, the most written about first.

    Args:
        entities: columns label (text with the count), mean_score in [-1, 1].
    """
    bars = (
        alt.Chart(entities)
        .mark_bar(height=13)
        .encode(
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            x=alt.X(
                "mean_score:Q",
                title="mean sentiment of its articles, from -1 (negative) to 1 (positive)",
                scale=alt.Scale(domain=[-1, 1]),
            ),
            color=alt.condition(alt.datum.mean_score < 0, alt.value(NEGATIVE), alt.value(POSITIVE)),
        )
        .properties(width=WIDTH - 200, height=alt.Step(20))
    )
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color=INK).encode(x="x:Q")
    return svg(bars + zero)


def entity_trends(history: pl.DataFrame) -> str:
    """Small multiples: articles about each entity a night, negative ones in red below the line, the others above it.

    Args:
        history: columns entity (text, in the order to show), night (text), kind ("negative" or "other"), articles (negative ones counted
            below zero).
    """
    scale = alt.Scale(domain=["other", "negative"], range=[POSITIVE, NEGATIVE])
    legend = alt.Legend(orient="top", title="articles a night, negative ones below the line", titleLimit=400)

    def one(entity: str) -> alt.Chart:
        drawn: alt.Chart = (
            alt.Chart(
                history.filter(pl.col("entity") == entity), title=alt.Title(entity, limit=150, fontSize=11, color=INK)
            )
            .mark_bar()
            .encode(
                x=alt.X("night:O", title=None, axis=alt.Axis(labels=False, ticks=False)),
                y=alt.Y("articles:Q", title=None, axis=alt.Axis(tickCount=3, tickMinStep=1, format="d")),
                color=alt.Color("kind:N", title=None, scale=scale, legend=legend),
            )
            .properties(width=132, height=64)
        )
        return drawn

    chart = alt.concat(*(one(entity) for entity in history["entity"].unique(maintain_order=True)), columns=4)
    return svg(chart)


def arrivals(hours: pl.DataFrame) -> str:
    """When the night's articles were published: articles an hour, by source.

    Args:
        hours: columns hour (datetime, UTC), source, articles.
    """
    chart = (
        alt.Chart(hours)
        .mark_bar()
        .encode(
            x=alt.X(
                "utcyearmonthdatehours(hour):T",
                title="published (UTC)",
                scale=alt.Scale(type="utc"),
                axis=alt.Axis(format="%d %b %H:%M", labelAngle=-30, tickCount=8),
            ),
            y=alt.Y("articles:Q", title="articles an hour"),
            color=alt.Color(
                "source:N",
                title=None,
                legend=alt.Legend(orient="top"),
                scale=alt.Scale(range=["#2f6f9f", "#d08c3f", "#5c8a5a", "#8a6fa8", "#7d7a72", "#b5403a"]),
            ),
        )
        .properties(width=WIDTH, height=150)
    )
    return svg(chart)


def svg(chart: alt.Chart | alt.LayerChart | alt.ConcatChart | alt.VConcatChart) -> str:
    """The chart as SVG text in the report's type and colours; times are shown in UTC."""
    styled = (
        chart.configure(background="transparent", font=FONT, numberFormat=",")
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=GRID, domainColor=GRID, tickColor=GRID, labelColor=INK, titleColor=INK, titleFontWeight="normal"
        )
        .configure_legend(labelColor=INK, titleColor=INK, titleFontWeight="normal")
        .configure_header(labelColor=INK)
    )
    return str(vl_convert.vegalite_to_svg(styled.to_json(), allowed_base_urls=[]))
