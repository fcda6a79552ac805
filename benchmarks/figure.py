"""A benchmark's figure: what is measured, what it is held against, in the same run, and everything needed to measure it again.

Ours and the peer's run in turn, so that a machine that is busy for a while slows both; the figures are medians, and every run is kept. A benchmark is
a function `measure(...) -> Figure` whose keywords are the options of its command line:

    if __name__ == "__main__":
        start(measure, command(__doc__, rows=4096))

With --json the last line of standard output is the figure as one object; without, it is told in words. Exit codes: 0 measured (whether or not what
is to be reached was), 2 when something it needs is missing. Needs torch and numpy alone. Does not cover: what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from data_contracts.errors import NightdeskError
from models.backends.machine import machine

_HOME = Path(__file__).parents[1] / ".nightdesk"
_HARDWARE = ("cpu", "cores", "gpu")


class Missing(Exception):
    """Something that a benchmark needs is not here; the text says what, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured.

    `ours` and `peer` are medians in `unit`; `ratio` is ours over the peer's. `reach` is what it should be, such as "ratio >= 12" or "ours <= 45".
    `runs` has every run's value, by what ran. `notes` say what has to be known to read the figure; `also` are further numbers by name.
    """

    name: str
    unit: str
    ours: float
    peer: float | None = None
    reach: str = ""
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's; None without a peer."""
        return self.ours / self.peer if self.peer else None

    @property
    def reached(self) -> bool | None:
        """Whether `reach` is; None where nothing is to be reached."""
        if not self.reach:
            return None
        what, sign, limit = self.reach.split()
        value = self.ours if what == "ours" else self.ratio
        assert value is not None, self.reach
        assert (what in ("ours", "ratio"), sign in (">=", "<=")) == (True, True), self.reach
        return value >= float(limit) if sign == ">=" else value <= float(limit)

    def fields(self) -> dict[str, Any]:
        """Everything that it says, by name."""
        return asdict(self) | {"ratio": self.ratio, "reached": self.reached}

    def to_json(self) -> str:
        """One line, with the machine, the date, the command and the versions."""
        return json.dumps(self.fields() | circumstances())

    def told(self) -> str:
        """In words, a line each."""
        lines = [f"{self.name}: {number(self.ours)} {self.unit}"]
        if self.peer is not None and self.ratio is not None:
            lines.append(f"  the peer: {number(self.peer)} {self.unit}; ours over the peer's: {self.ratio:.2f}")
        if self.reach:
            lines.append(f"  to reach: {self.reach}; {'reached' if self.reached else 'NOT reached'}")
        lines += [f"  runs of {what}: {', '.join(map(number, values))}" for what, values in self.runs.items()]
        lines += [f"  {name}: {number(value)}" for name, value in self.also.items()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)]) + "\n"


def rates(contestants: Mapping[str, Callable[[], float]], *, runs: int) -> dict[str, list[float]]:
    """Units a second of every run, by contestant; each runs once to warm up, then all in turn. A contestant says how many units it did."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(1 + runs):
        for name, once in contestants.items():
            begin = time.perf_counter()
            done = once()
            took = time.perf_counter() - begin
            if number:
                found[name].append(done / took)
    return found


def against(name: str, unit: str, values: Mapping[str, Sequence[float]], **further: Any) -> Figure:
    """The figure of runs whose contestants are called "ours" and "peer", or of "ours" alone."""
    peer = median(values["peer"]) if "peer" in values else None
    return Figure(name=name, unit=unit, ours=median(values["ours"]), peer=peer, runs=values, **further)


def command(text: str | None, *, rows: int | None = None, runs: int = 5) -> argparse.ArgumentParser:
    """The options that benchmarks share; `rows` is how many are measured where nobody says, None where that is no option."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the figure as one JSON object, as the last line")
    parser.add_argument("--runs", type=int, default=runs, help=f"of each contestant, in turn ({runs})")
    if rows is not None:
        parser.add_argument("--rows", type=int, default=rows, help=f"({rows})")
    return parser


def reading(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the options of a benchmark that scores real texts with a trained model."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the public data sets, see benchmarks/texts.py; else the shipped sample's sentences, where they do",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("NIGHTDESK_HOME") or _HOME).expanduser().resolve() / "benchmarks",
        metavar="DIR",
        help="of copies of the models and their exports (NIGHTDESK_HOME/benchmarks)",
    )
    parser.add_argument(
        "--model", default="", metavar="DIR[,DIR]", help="bundles; else one of three heads, trained once on the sample"
    )
    parser.add_argument("--backend", default="auto", help="of models.backends.NAMES, or auto (auto)")
    return parser


def start(measure: Callable[..., Figure], parser: argparse.ArgumentParser, given: Sequence[str] | None = None) -> None:
    """Measure with the command line's options as keywords, and print the figure."""
    options = vars(parser.parse_args(given))
    as_json = options.pop("json")
    if options["runs"] < 1:
        parser.error(f"--runs is {options['runs']}; allowed is 1 or more, and for a figure to keep 5 or more")
    try:
        figure = measure(**options)
    except (Missing, NightdeskError) as reason:
        sys.stderr.write(f"cannot measure: {reason}\n")
        sys.exit(2)
    sys.stdout.write(f"{figure.to_json()}\n" if as_json else figure.told())


def circumstances() -> dict[str, Any]:
    """The machine, the date (UTC), the command and the versions."""
    found = machine()
    main = sys.modules["__main__"]
    ran = main.__spec__.name if main.__spec__ else Path(sys.argv[0]).name  # by python -m, or a command's own name
    return {
        "machine": {name: found[name] for name in _HARDWARE},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([*(["python", "-m"] if main.__spec__ else []), ran, *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version for name, version in found.items() if name not in _HARDWARE},
    }


def number(value: Any) -> str:
    """A number with three digits that count at least; anything else as it is."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
