"""How long does a whole night take beside its scoring: 10,000 articles from their files to the report, with nothing but what every night does?

Each run is a program of its own, as `nightdesk run` is, on a fresh lake: the full articles of the crypto-market news as JSON lines and headlines of
Reuters as CSV, all published on one night. Ours: the seconds of the program less those of its scoring, so its start, Prefect, contracts,
duplicates, monitors, publishing and report. The peer: the seconds of scoring (`tasks.score`, from cutting shards to gathered results,
Ray's start and the model's opening included). Beside them each step's seconds. A first run, which also settles the backend, does not count.

    python -m benchmarks.night --data DIR --json
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import texts
from benchmarks.desk import bundles_of
from benchmarks.figure import Figure, command, reading, start

ROWS = 10_000
NIGHT = dt.date(2026, 3, 2)
STEPS = ("ingest", "validate", "score", "validate_scores", "watch", "validate_alerts", "publish", "report", "notify")
SETTINGS = """
timezone = "America/New_York"
[[sources]]
name = "articles"
kind = "json"
location = "articles.jsonl"
[sources.fields]
title = "title"
body = "body"
url = "url"
published = "published"
[[sources]]
name = "headlines"
kind = "csv"
location = "headlines.csv"
header = false
[sources.fields]
published = 0
title = 1
url = 2
[scoring]
model = "{model}"
backend = "{backend}"
"""


def measure(
    *,
    rows: int = ROWS,
    runs: int = 5,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
) -> Figure:
    """Seconds; the shipped sample's sentences as headlines where there is no `data`."""
    bundles = ",".join(str(path.resolve()) for path in bundles_of(model, home))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_sources(work, data, rows)
        (work / "nightdesk.toml").write_text(SETTINGS.format(model=bundles, backend=backend), encoding="utf-8")
        done = [run_once(work, work / f"lake{number}") for number in range(1 + runs)][1:]
    values = {
        "ours": [one["program"] - one["scoring"] for one in done],
        "peer": [one["scoring"] for one in done],
    }
    steps = {f"seconds_of_{name}": median(one[name] for one in done) for name in (*STEPS, "start")}
    return Figure(
        name="night",
        unit="s",
        ours=median(values["ours"]),
        peer=median(values["peer"]),
        reach="ours <= 45",
        runs=values,
        also={"articles": done[0]["articles"], "mentions": done[0]["mentions"], "where": done[0]["where"], **steps},
        notes=["the peer: the same night's own scoring"],
    )


def write_sources(folder: Path, data: Path | None, rows: int) -> None:
    """`rows` articles of one night: the full ones first, then headlines."""
    full = texts.articles(data, 0)[:rows] if data is not None else []
    short = texts.headlines(data, rows - len(full))
    end = dt.datetime.combine(NIGHT, dt.time(12), dt.UTC)
    times = [(end - dt.timedelta(seconds=5 * number)).isoformat() for number in range(rows)]
    with (folder / "articles.jsonl").open("w", encoding="utf-8") as file:
        for number, (title, body) in enumerate(full):
            address = f"https://news.example/article/{number}"
            row = {"title": title, "body": body, "url": address, "published": times[number]}
            file.write(json.dumps(row) + "\n")
    with (folder / "headlines.csv").open("w", encoding="utf-8", newline="") as file:
        for number, (title, _) in enumerate(short, start=len(full)):
            csv.writer(file).writerow([times[number], title, f"https://news.example/headline/{number}"])


def run_once(folder: Path, lake: Path) -> dict[str, Any]:
    """One night in a program of its own -> seconds by step, of the whole program, and what it gave."""
    environment = os.environ | {
        "NIGHTDESK_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "home" / "prefect"),
        "NIGHTDESK_SETTINGS": str(folder / "nightdesk.toml"),
        "NIGHTDESK_LAKE": str(lake),
    }
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.night import night; night()"],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"the night failed:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**told, "program": took, "start": took - sum(told[name] for name in STEPS)}


def night() -> None:
    """In the program of its own: run the night, each step timed, and print the seconds."""
    from flows.settings import load, quiet

    quiet()
    from flows import nightly, steps
    from tasks.lake import Lake
    from tasks.pool import Pool

    seconds: dict[str, Any] = {"scoring": 0.0}
    where: list[str] = []

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            given = function(*args, **kwargs)
            seconds[name] = time.perf_counter() - begin
            if name == "scoring":
                where.append(given)
            return given

        return call

    for step in STEPS:
        setattr(steps, step, timed(step, getattr(steps, step)))
    Pool.finish = timed("scoring", Pool.finish)  # type: ignore[method-assign]
    nightly.nightly(night=NIGHT)
    lake = Lake.open(load().lake)
    rows = {
        name: lake.read(table, nights=[NIGHT], columns=["run_date"]).num_rows
        for name, table in (("articles", "scored_articles"), ("mentions", "entity_mentions"))
    }
    print(json.dumps({**seconds, **rows, "where": ",".join(where)}))  # noqa: T201 - for the program that started this one


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    start(measure, reading(command(__doc__, rows=ROWS)), given)


if __name__ == "__main__":
    main()
