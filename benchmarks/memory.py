"""Does the memory that scoring takes grow with what is scored? Headlines by the hundred thousand, Parquet to Parquet, by batches.

Real headlines are drawn, each with a number of its own, so that none is a copy. Every size is scored in a process of its own, whose largest resident
memory the kernel keeps (VmHWM); the file is written and the backend settled before that process starts. Ours is the peak of the largest size, the
peer that of the smallest. One run each: it is a peak, and a million headlines take many minutes.

    python -m benchmarks.memory --data DIR --json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import parquet, texts
from benchmarks.desk import TOKEN_BUDGET, bundles_of, desk
from benchmarks.figure import Figure, Missing, command, reading, start
from models.engine import Predictor

SIZES = (10_000, 100_000, 1_000_000)
_STATUS = Path("/proc/self/status")
_CALIBRATED = 1024  # headlines that a backend is settled on


def measure(
    *,
    sizes: Sequence[int] = SIZES,
    runs: int = 1,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
) -> Figure:
    """Peak resident memory in MiB; of several runs of a size the largest."""
    if not _STATUS.is_file():
        raise Missing("the kernel does not tell a process's largest memory here; Linux does, in /proc/self/status")
    bundles = [path.resolve() for path in bundles_of(model, home)]
    held = desk(
        bundles,
        backend,
        texts=list(texts.varied(data, _CALIBRATED)),
        labelled=texts.labelled(data),
        home=home,
    )
    paths, peaks, took = ",".join(map(str, bundles)), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            file = parquet.write(texts.varied(data, size), Path(folder) / "texts.parquet")
            found = [_child(paths, backend, home, file) for _ in range(runs)]
            peaks[str(size)], took[str(size)] = [one["mib"] for one in found], [one["seconds"] for one in found]
    first, last = max(peaks[str(sizes[0])]), max(peaks[str(sizes[-1])])
    return Figure(
        name="memory",
        unit="MiB",
        ours=last,
        peer=first,
        reach="ratio <= 1.15",
        runs=peaks,
        also={"backend": held.backend, "seconds": took},
        notes=[
            f"ours: the peak of {sizes[-1]:,} headlines; the peer: that of {sizes[0]:,}; each in a process of its own"
        ],
    )


def _child(paths: str, backend: str, home: Path, file: Path) -> dict[str, float]:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--score", paths, backend, str(home.resolve()), str(file)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def score(paths: str, backend: str, home: str, file: str) -> dict[str, float]:
    """In the process that is measured: score the file; its seconds, and the largest resident memory so far in MiB."""
    begin = time.perf_counter()
    predictor = Predictor(paths.split(","), token_budget=TOKEN_BUDGET, backend=backend, cache=Path(home))
    done = parquet.score(predictor, Path(file), Path(file).parent)
    lines = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines())
    return {"rows": done.rows, "seconds": time.perf_counter() - begin, "mib": int(lines["VmHWM"].split()[0]) / 1024}


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = reading(command(__doc__, runs=1))
    parser.add_argument(
        "--sizes", type=_numbers, default=SIZES, metavar="N,N,...", help=f"({','.join(map(str, SIZES))})"
    )
    start(measure, parser, given)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--score"]:
        sys.stdout.write(json.dumps(score(*sys.argv[2:])) + "\n")
    else:
        main()
