"""Makes the news sample in flows/sample/news: two nights of invented news with everything that goes wrong with real news.

Run it after a change to the ingredients: `python deployments/sample/make_news.py`. It needs the standard library only, and always makes the
same files (a test compares). Beside the news it writes truth.json, what is in the files, and the counts in flows/sample/README.md.
It does not make the labelled sample.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import delivery
from edition import Edition, both_nights
from mess import Row

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
README = REPOSITORY / "flows" / "sample" / "README.md"
FILES = {
    "wire": "wire.{}.rss.xml",
    "exchange": "exchange.{}.jsonl",
    "blotter": "blotter.{}.csv.gz",
    "bulletin": "bulletin.{}.atom.xml",
}
LONG_WORDS = 700
COUNTED = (
    ("rows", "rows"),
    ("bad", "bad rows"),
    ("repeats", "exact repeats"),
    ("versions", "new versions"),
    ("copies", "rewritten copies"),
    ("tones", "original stories"),
)
SINGLE = (
    ("articles", "articles that remain: good rows less exact repeats"),
    ("title_only", "good rows with a title only"),
    ("without_url", "good rows without a URL"),
    ("long_articles", f"original stories of {LONG_WORDS} words and more"),
    ("bulletin_rows", "entries of the bulletin"),
)
OF_SURGE = (
    ("stories", "original stories about Calderon Freight"),
    ("negative_stories", "of these, bad news"),
    ("copies", "rewritten copies of these"),
)
COUNTS = re.compile(r"(<!-- counts of make_news.py -->\n).*(<!-- end of counts -->)", re.DOTALL)


def rendered(edition: Edition) -> dict[str, bytes]:
    """Give the files of a night: name to content."""
    night, built = (
        edition.night.isoformat(),
        datetime.combine(edition.night, datetime.min.time(), UTC) + timedelta(days=1, hours=3),
    )
    files = {
        "wire": delivery.rss(edition.of("wire"), built),
        "exchange": delivery.json_lines(edition.of("exchange")),
        "blotter": gzip.compress(delivery.csv_text(edition.of("blotter")), mtime=0),
        "bulletin": delivery.atom(edition.bulletin, built),
    }
    return {FILES[source].format(night): content for source, content in files.items()}


def _place(row: Row, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "source": row.source,
        "position": [one.key for one in rows if one.source == row.source].index(row.key),
        "kind": row.how,
    }


def truth_of(edition: Edition, earlier: Edition | None) -> dict[str, object]:
    """Count what is in the files of a night, and say where the prepared rows are."""
    rows = edition.rows
    urls = {row.key: row.url for row in (*rows, *(earlier.rows if earlier else ()))}
    good = [row for row in rows if row.what != "bad"]

    def count(what: str) -> dict[str, int]:
        return dict(sorted(Counter(row.how for row in rows if row.what == what).items()))

    def pairs(what: str) -> list[dict[str, object]]:
        return [{**_place(row, rows), "url": row.url, "of_url": urls[row.of]} for row in rows if row.what == what]

    repeats = count("repeat")
    surge = [row for row in good if row.kind == "surge"]
    return {
        "rows": {source: len(edition.of(source)) for source in ("wire", "exchange", "blotter")} | {"all": len(rows)},
        "bulletin_rows": len(edition.bulletin),
        "bad": count("bad"),
        "bad_rows": [_place(row, rows) for row in rows if row.what == "bad"],
        "good_rows": len(good),
        "originals": sum(row.what == "original" for row in rows),
        "repeats": repeats,
        "repeat_rows": pairs("repeat"),
        "versions": count("version"),
        "version_rows": pairs("version"),
        "copies": count("copy"),
        "copy_rows": pairs("copy"),
        "articles": len(good) - sum(repeats.values()),
        "title_only": sum(not row.body for row in good),
        "without_url": sum(not row.url for row in good),
        "odd_characters": [_place(row, rows) for row in rows if row.what == "original" and row.how],
        "long_articles": sum(len((row.body or "").split()) >= LONG_WORDS for row in good if row.what == "original"),
        "tones": dict(sorted(Counter(row.tone for row in good if row.what == "original").items())),
        "companies": dict(
            sorted(Counter(row.company for row in good if row.what == "original" and row.company).items())
        ),
        "surge": {
            "company": "Calderon Freight",
            "stories": sum(row.what == "original" for row in surge),
            "negative_stories": sum(row.what == "original" and row.tone == "negative" for row in surge),
            "copies": sum(row.what == "copy" for row in surge),
            "sources": sorted({row.source for row in surge}),
        },
    }


def table(truths: dict[str, dict[str, object]]) -> str:
    """Write the counts as a Markdown table."""
    nights = list(truths)
    lines = [f"| | {' | '.join(nights)} |", f"| --- |{' ---: |' * len(nights)}"]
    for name, label in COUNTED:
        counters = [one for one in (truths[night][name] for night in nights) if isinstance(one, dict)]
        for key in dict.fromkeys(key for counter in counters for key in counter):
            lines.append(_line(f"{label}: {key}", [counter.get(key, 0) for counter in counters]))
        if name != "rows":
            lines.append(_line(f"**{label}, all**", [sum(counter.values()) for counter in counters]))
    lines += [_line(label, [truths[night][name] for night in nights]) for name, label in SINGLE]
    surges = [one for one in (truths[night]["surge"] for night in nights) if isinstance(one, dict)]
    lines += [_line(label, [surge[name] for surge in surges]) for name, label in OF_SURGE]
    return "\n".join(lines) + "\n"


def _line(label: str, values: Sequence[object]) -> str:
    return f"| {label} | {' | '.join(str(value) for value in values)} |"


def outputs() -> dict[Path, bytes]:
    """Make everything: path within the repository to content."""
    editions = both_nights()
    made = {
        Path("flows/sample/news") / name: content for edition in editions for name, content in rendered(edition).items()
    }
    truths: dict[str, dict[str, object]] = {}
    for edition, earlier in zip(editions, (None, editions[0]), strict=True):
        truths[edition.night.isoformat()] = truth_of(edition, earlier)
    made[Path("deployments/sample/truth.json")] = (json.dumps(truths, indent=1, ensure_ascii=False) + "\n").encode()
    text = README.read_text(encoding="utf-8")
    made[Path("flows/sample/README.md")] = COUNTS.sub(
        lambda match: match.group(1) + table(truths) + match.group(2), text
    ).encode()
    return made


def main() -> None:
    """Write all files below `--root`, by default the repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="where to write; default: this repository")
    root: Path = parser.parse_args().root
    for path, content in outputs().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


if __name__ == "__main__":
    main()
