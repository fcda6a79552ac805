"""How fast does a backfill fill a year of real headlines, and is the year the same in whatever order its nights are filled in?

Each part is a program of its own, `nightdesk backfill` over three newspapers' files of dated headlines. Ours: nights a minute of a whole year with
eight nights at once, the start of the program and of Ray included. The peer: the same with one night at once, over the first nights of that year
(so with fewer headlines in the look-back; that favours it). Then the year once more, not timed: in months that are drawn in any order, each with
another number of nights at once, one of them killed (SIGKILL) in the midst and run again. `nights_that_differ` are the nights of which any table
differs between the two, the times of the runs left aside; it has to be 0, and the benchmark ends with an error where it is not.

    python -m benchmarks.year --data DIR --json
"""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from benchmarks.desk import bundles_of
from benchmarks.figure import Figure, Missing, command, reading, start
from benchmarks.texts import PAPERS, paper

LAST = dt.date(2020, 7, 17)  # all three papers go so far
NIGHTS, OF_PEER, MONTH = 365, 56, 31
CLOCK = ("first_seen_at", "available_at", "scored_at", "quarantined_at", "created_at")
QUOTED = r'"first_seen_at": "[^"]*"|published_at_lead_seconds [0-9.]+'  # the same times in texts of the quarantine
SETTINGS = """
timezone = "America/New_York"
[limits]
max_failed_share = 1.0
[scoring]
model = "{model}"
backend = "{backend}"
[alerting.monitors.negative_surge]
[alerting.monitors.volume_surge]
[alerting.monitors.contract_failures]
[alerting.monitors.class_shift]
"""
SOURCE = """
[[sources]]
name = "{name}"
kind = "csv"
location = "{location}"
timezone = "America/New_York"
header = false
[sources.fields]
published = 0
title = 1
"""

Range = tuple[dt.date, dt.date]


class NotTheSame(Exception):
    """The order in which nights were filled in shows in a table."""


def measure(
    *,
    nights: int = NIGHTS,
    runs: int = 1,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
    seed: int = 0,
) -> Figure:
    """Nights a minute."""
    if data is None:
        raise Missing("the shipped sample has no year; name the directory of the public data sets with --data DIR")
    bundles = ",".join(str(path.resolve()) for path in bundles_of(model, home))
    first = LAST - dt.timedelta(days=nights - 1)
    few = min(OF_PEER, nights)
    values: dict[str, list[float]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = "".join(SOURCE.format(name=name, location=paper(data, name).resolve()) for name in PAPERS)
        (work / "nightdesk.toml").write_text(
            SETTINGS.format(model=bundles, backend=backend) + sources, encoding="utf-8"
        )
        fill(work, work / "first", (first, first), at_once=1)  # settles the backend
        for number in range(runs):
            whole = work / f"whole{number}"
            values["ours"].append(nights / fill(work, whole, (first, LAST), at_once=8) * 60)
            part = first, first + dt.timedelta(days=few - 1)
            values["peer"].append(few / fill(work, work / f"peer{number}", part, at_once=1) * 60)
        pieces = fill_in_pieces(work, work / "pieces", months(first, LAST), random.Random(seed))
        differ = [night for night in days(first, LAST) if not same(whole, work / "pieces", night)]
        if differ:
            raise NotTheSame(f"{len(differ)} of {nights} nights differ, {differ[0]} the first of them")
        rows = {
            name: pl.scan_parquet(whole / table / "*" / "*.parquet").select(pl.len()).collect().item()
            for name, table in (("headlines", "scored_articles"), ("mentions", "entity_mentions"), ("alerts", "alerts"))
        }
    return Figure(
        name="year",
        unit="nights/min",
        ours=sorted(values["ours"])[runs // 2],
        peer=sorted(values["peer"])[runs // 2],
        runs=values,
        also={"nights": nights, **rows, "pieces": pieces, "nights_that_differ": len(differ)},
        notes=[f"the peer: one night at once, the first {few} of the same nights"],
    )


def days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """Every date of the range."""
    return (first + dt.timedelta(days=number) for number in range((last - first).days + 1))


def months(first: dt.date, last: dt.date) -> list[Range]:
    """The range in parts of a month."""
    begins = list(days(first, last))[::MONTH]
    return [(begin, min(begin + dt.timedelta(days=MONTH - 1), last)) for begin in begins]


def fill_in_pieces(folder: Path, lake: Path, pieces: Sequence[Range], luck: random.Random) -> int:
    """Fill the pieces in any order, the second of them killed in the midst and run again; returns how many there were."""
    for number, piece in enumerate(luck.sample(pieces, len(pieces))):
        at_once = luck.choice((1, 3, 8, 20))
        if number == 1:
            fill(folder, lake, piece, at_once=3, killed_at=lake / "articles" / f"night={piece[0]}")
        fill(folder, lake, piece, at_once=at_once)
    return len(pieces)


def fill(folder: Path, lake: Path, span: Range, *, at_once: int, killed_at: Path | None = None) -> float:
    """Fill a range in a program of its own; returns its seconds. Where it is to be killed, once `killed_at` is there."""
    first, last = span
    environment = os.environ | {
        "NIGHTDESK_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "home" / "prefect"),
        "NIGHTDESK_SETTINGS": str(folder / "nightdesk.toml"),
        "NIGHTDESK_LAKE": str(lake),
    }
    asked = ("backfill", "--first", str(first), "--last", str(last), "--nights-at-once", str(at_once))
    begin = time.perf_counter()
    with (folder / "backfill.log").open("w+b") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", "flows", *asked], env=environment, cwd=Path(__file__).parents[1], stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        while killed_at is not None and program.poll() is None:
            if killed_at.exists():
                os.killpg(program.pid, signal.SIGKILL)
            time.sleep(0.2)
        if program.wait() and killed_at is None:
            log.seek(0)
            raise RuntimeError(f"the backfill failed:\n{log.read().decode(errors='replace')[-4000:]}")
    return time.perf_counter() - begin


def same(one: Path, other: Path, night: dt.date) -> bool:
    """Whether all tables of a night are equal in two lakes, the times of the runs left aside."""
    tables = sorted(path.name for path in one.iterdir() if not path.name.startswith("_") and path.is_dir())
    return all(_read(one / table, night).equals(_read(other / table, night)) for table in tables)


def _read(table: Path, night: dt.date) -> pl.DataFrame:
    frame = pl.read_parquet(table / f"night={night}" / "part-0.parquet", hive_partitioning=False)
    texts = [pl.col(name).str.replace_all(QUOTED, "") for name in ("row", "detail") if name in frame.columns]
    return frame.with_columns(texts).drop(CLOCK, strict=False)


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = reading(command(__doc__, runs=1))
    parser.add_argument("--nights", type=int, default=NIGHTS, help=f"({NIGHTS})")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the months (0)")
    start(measure, parser, given)


if __name__ == "__main__":
    main()
