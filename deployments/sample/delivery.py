"""Renders rows as three sources deliver them: an RSS 2.0 feed (and an Atom one), JSON lines, and CSV without a header.

Each format has the habits of its kind: zones and markup in the feed, times with and without zone in the JSON, local times and line breaks
inside quoted fields in the CSV. What a row looks like depends on its key alone, so that a row delivered twice is the same twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from html import escape
from random import Random
from zoneinfo import ZoneInfo

from mess import PARAGRAPH, Row

ZULU = "%Y-%m-%dT%H:%M:%SZ"
NEW_YORK, LONDON = ZoneInfo("America/New_York"), ZoneInfo("Europe/London")
SAME_AS_DELIVERED = ("identical_row", "overlap")
CITIES = ("London", "New York", "Frankfurt", "Singapore")
LEADING_HTML = (
    '<img src="https://px.tarnwire.example/t.gif?n=1" width="1" height="1" alt=""/>',
    '<figure><img src="https://img.tarnwire.example/site.jpg" alt="A factory"/></figure>',
    "<style>.tw{color:#333}</style>",
)
TRAILING_HTML = (
    '<div class="share"><a href="https://www.tarnwire.example/share">Share this story</a></div>',
    "<script>window.tw=window.tw||[];tw.push({a:1});</script>",
    '<p><a href="https://www.tarnwire.example/markets">More&nbsp;markets&nbsp;news</a></p>',
)


def _luck(row: Row) -> Random:
    return Random(f"delivery:{row.of if row.how in SAME_AS_DELIVERED else row.key}")


def _rfc822(moment: datetime, rng: Random) -> str:
    zone, name = rng.choice(
        (
            (UTC, "GMT"),
            (UTC, "+0000"),
            (NEW_YORK, "EST"),
            (NEW_YORK, "-0500"),
            (timezone(timedelta(hours=1)), "+0100"),
            (UTC, "Z"),
        )
    )
    return f"{moment.astimezone(zone):%a, %d %b %Y %H:%M:%S} {name}"


def _html(row: Row, rng: Random) -> str:
    """Set a body in HTML; unless the row must stay plain, with the ornaments that pages carry."""
    paragraphs = [escape(text, quote=False) for text in (row.body or "").split(PARAGRAPH)]
    if row.plain:
        return "".join(f"<p>{text}</p>" for text in paragraphs)
    if row.company and rng.random() < 0.6:
        paragraphs = [
            text.replace(escape(row.company, quote=False), f"<strong>{escape(row.company, quote=False)}</strong>", 1)
            for text in paragraphs
        ]
    if rng.random() < 0.3:
        paragraphs = [
            text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "&rsquo;")
            .replace("£", "&pound;")
            .replace("€", "&euro;")
            .replace(" %", "&nbsp;%")
            for text in paragraphs
        ]
    text = "".join(f"<p>{text}</p>\n" for text in paragraphs) if rng.random() < 0.8 else "<br/><br/>".join(paragraphs)
    if rng.random() < 0.25:
        text = rng.choice(LEADING_HTML) + text
    return text + rng.choice(TRAILING_HTML) if rng.random() < 0.2 else text


def rss_item(row: Row) -> str:
    """Render one item: a summary and the text in content:encoded, or the whole text in the description, escaped or as CDATA."""
    rng = _luck(row)
    stamp = row.time_text if row.time_text is not None else _rfc822(row.published, rng)
    lines = ["    <item>"]
    if row.title is not None:
        lines.append(
            f"      <title>{escape(row.title, quote=False)}</title>"
            if rng.random() < 0.75
            else f"      <title><![CDATA[{row.title}]]></title>"
        )
    if row.url:
        lines.append(f"      <link>{escape(row.url, quote=False)}</link>")
    guid = row.of if row.how in SAME_AS_DELIVERED else row.key
    lines.append(f'      <guid isPermaLink="false">tarnwire:{guid}</guid>')
    if stamp:
        lines.append(f"      <pubDate>{stamp}</pubDate>")
    lines.append(f"      <category>{rng.choice(('Companies', 'Markets', 'Economy', 'Business'))}</category>")
    if row.body:
        html, first = _html(row, rng), row.body.split(PARAGRAPH)[0]
        if rng.random() < 0.6:
            lines.append(f"      <description>{escape('<p>' + escape(first, quote=False) + '</p>')}</description>")
            lines.append(f"      <content:encoded><![CDATA[{html}]]></content:encoded>")
        else:
            lines.append(
                f"      <description>{escape(html)}</description>"
                if rng.random() < 0.5
                else f"      <description><![CDATA[{html}]]></description>"
            )
    return "\n".join([*lines, "    </item>"])


def rss(rows: Sequence[Row], built: datetime) -> bytes:
    """Render the feed, in the order given."""
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:atom="http://www.w3.org/2005/Atom">\n'
        "  <channel>\n    <title>Tarn Wire - Business</title>\n    <link>https://www.tarnwire.example/business</link>\n"
        "    <description>Invented news about invented companies, from the sample of nightdesk</description>\n    <language>en-gb</language>\n"
        f"    <lastBuildDate>{built:%a, %d %b %Y %H:%M:%S} GMT</lastBuildDate>\n"
    )
    return (head + "\n".join(rss_item(row) for row in rows) + "\n  </channel>\n</rss>\n").encode()


def atom(rows: Sequence[Row], built: datetime) -> bytes:
    """Render the same kind of rows as an Atom feed."""
    entries = [
        f'  <entry>\n    <title type="text">{escape(row.title or "", quote=False)}</title>\n'
        f'    <link rel="alternate" href="{escape(row.url or "")}"/>\n'
        f"    <id>tag:tarnwire.example,2026:{row.key}</id>\n    <published>{row.published:{ZULU}}</published>\n"
        f"    <updated>{row.published:{ZULU}}</updated>\n"
        f'    <content type="html">{escape(_html(row, _luck(row)))}</content>\n  </entry>\n'
        for row in rows
    ]
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n  <title>Tarn Wire - Bulletin</title>\n'
        f"  <id>tag:tarnwire.example,2026:bulletin</id>\n  <updated>{built:%Y-%m-%dT%H:%M:%SZ}</updated>\n"
    )
    return (head + "".join(entries) + "</feed>\n").encode()


def _iso(row: Row, rng: Random) -> str:
    """Write an ISO time; without zone it is New York's, and only where even a reader who takes it for UTC keeps it in the night."""
    choice, local = rng.random(), row.published.astimezone(NEW_YORK)
    if choice < 0.25 and row.published.astimezone(UTC).hour >= 8:
        return f"{local:%Y-%m-%dT%H:%M:%S}" if choice < 0.15 else f"{local:%Y-%m-%d %H:%M:%S}"
    if choice < 0.5:
        return local.isoformat()
    return (
        f"{row.published:%Y-%m-%dT%H:%M:%SZ}"
        if choice < 0.8
        else row.published.astimezone(timezone(timedelta(hours=1))).isoformat(timespec="milliseconds")
    )


def json_line(row: Row) -> str:
    """Render one JSON object in one line; a cut one for a row that must not be readable."""
    rng = _luck(row)
    stamp = row.time_text if row.time_text is not None else _iso(row, rng)
    fields: dict[str, object] = {} if row.title is None else {"headline": row.title}
    fields |= {"text": row.body, "link": row.url, "published": stamp or None}
    symbol = "".join(letter for letter in row.company.upper() if letter.isalpha())[:4]
    fields["meta"] = {
        "venue": {"name": "Merebourse", "city": rng.choice(CITIES)},
        "symbols": [symbol] if symbol else [],
        "language": "en",
        "priority": rng.randint(1, 4),
    }
    line = json.dumps(fields, ensure_ascii=rng.random() < 0.5)
    return line[: len(line) * 3 // 5] if row.literal else line


def json_lines(rows: Sequence[Row]) -> bytes:
    """Render the JSON lines file."""
    return "".join(f"{json_line(row)}\n" for row in rows).encode()


def csv_fields(row: Row) -> list[str]:
    """Give one CSV row: time, headline, body, url; too few or too many of them for a row that must not be readable."""
    local = row.published.astimezone(LONDON)
    stamp = (
        row.time_text
        if row.time_text is not None
        else (f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}")
    )
    fields = [stamp, row.title or "", row.body or "", row.url or ""]
    if row.how == "short_csv_row":
        return fields[:2]
    if row.how == "long_csv_row":
        half = len(fields[1]) // 2
        return [stamp, fields[1][:half], fields[1][half:], *fields[2:], "DESK"]
    return fields


def csv_text(rows: Sequence[Row]) -> bytes:
    """Render the CSV file, not yet compressed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(csv_fields(row) for row in rows)
    return out.getvalue().encode()
