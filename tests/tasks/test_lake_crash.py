"""A writer killed at any moment, while readers glob: they see the old night or the new one, and repair brings table and log together."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tasks.lake import Lake

NIGHT = date(2026, 11, 20)
ROWS = 20_000
KILLS = 12

WRITER = """
import sys
from datetime import date
import pyarrow as pa
from tasks.lake import Lake

lake = Lake.open(sys.argv[1])
last = lake.read("ticks", columns=["value"])["value"][0].as_py()
for value in range(last + 1, last + 10_000):
    table = pa.table({"value": pa.repeat(pa.scalar(value), 20_000), "noise": pa.array(range(20_000))})
    lake.commit({"ticks": table, "tocks": table}, night=date(2026, 11, 20), run_id=f"r{value}")
    if value == last + 1:
        print("go", flush=True)
"""


def table(value: int) -> pa.Table:
    return pa.table({"value": pa.repeat(pa.scalar(value), ROWS), "noise": pa.array(range(ROWS))})


class Reader(threading.Thread):
    """Globs as an analyst does, over and over, and keeps what it saw that no reader should see."""

    def __init__(self, root: str) -> None:
        super().__init__(daemon=True)
        self.glob = f"{root}/ticks/**/*.parquet"
        self.reads = 0
        self.versions: set[int] = set()
        self.wrong: list[object] = []
        self.done = threading.Event()

    def run(self) -> None:
        with duckdb.connect() as connection:
            connection.execute("SET threads = 1")
            query = f"SELECT count(*), min(value), max(value), sum(noise) FROM read_parquet('{self.glob}')"
            while not self.done.is_set():
                try:
                    ((count, low, high, total),) = connection.execute(query).fetchall()
                except duckdb.Error as error:
                    self.wrong.append(str(error))
                    continue
                self.reads += 1
                self.versions.add(low)
                if count != ROWS or low != high or total != sum(range(ROWS)):
                    self.wrong.append((count, low, high, total))


def kill_at_some_moment(root: str, chance: random.Random) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, root], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        time.sleep(chance.uniform(0, 0.4))
        writer.kill()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_killed_writer_leaves_readers_one_whole_version_and_repair_agrees_with_the_log(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    root = tmp_path / "lake"
    lake = Lake.open(str(root))
    lake.commit({"ticks": table(0), "tocks": table(0)}, night=NIGHT, run_id="r0")
    reader = Reader(str(root))
    reader.start()
    chance = random.Random(20261120)
    unfinished = 0
    for _ in range(KILLS):
        kill_at_some_moment(str(root), chance)
        stray = list((root / "_tmp").iterdir())
        mended = lake.repair()
        unfinished += bool(stray or mended)
        files = {name: lake.files(name) for name in ("ticks", "tocks")}
        for name, (held,) in files.items():
            assert digest(root / name / "night=2026-11-20" / "part-0.parquet") == digest(Path(held))
        assert lake.read("ticks").equals(lake.read("tocks")), "one commit, one version"
        assert not list((root / "_tmp").iterdir())
        assert lake.repair() == []
    reader.done.set()
    reader.join()
    assert not reader.wrong
    assert reader.reads > KILLS
    committed = {int(commit.stem.rpartition("-r")[2]) for commit in (root / "_commits").iterdir()}
    assert reader.versions <= committed
    assert len(reader.versions) >= 3
    assert unfinished, "some kills must hit a commit, or this shows nothing"
    for name, value in {"reads": reader.reads, "versions": len(reader.versions), "unfinished": unfinished}.items():
        record_property(name, value)


def test_no_reader_ever_misses_the_night_while_it_is_rewritten(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit({"ticks": table(0)}, night=NIGHT, run_id="r0")
    reader = Reader(str(tmp_path))
    reader.start()
    for value in range(1, 60):
        lake.commit({"ticks": table(value)}, night=NIGHT, run_id=f"r{value}")
    reader.done.set()
    reader.join()
    assert not reader.wrong
    assert reader.reads > 0


@pytest.mark.parametrize("step", [1, 2, 5, 7, 8, 9, 10, 12])  # before, at and after the record (7)
def test_a_commit_cut_off_at_each_of_its_steps_is_all_or_nothing(tmp_path: Path, step: int) -> None:
    root = tmp_path / "lake"
    lake = Lake.open(str(root))
    lake.commit({"ticks": table(0), "tocks": table(0)}, night=NIGHT, run_id="r0")
    code = f"""
import os
from datetime import date
from pathlib import Path
import pyarrow as pa
from tasks.lake import Lake
steps = 0
def dying(act):
    def once(*given, **named):
        global steps
        steps += 1
        if steps == {step}:
            os._exit(9)
        return act(*given, **named)
    return once
for name in ("replace", "hardlink_to", "chmod", "unlink"):
    setattr(Path, name, dying(getattr(Path, name)))
table = pa.table({{"value": pa.repeat(pa.scalar(1), {ROWS}), "noise": pa.array(range({ROWS}))}})
Lake.open({str(root)!r}).commit({{"ticks": table, "tocks": table}}, night=date(2026, 11, 20), run_id="r1")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    committed = lake.read("ticks")["value"][0].as_py()
    lake.repair()
    assert lake.read("ticks").equals(table(committed))
    for name in ("ticks", "tocks"):
        (held,) = lake.files(name)
        assert digest(root / name / "night=2026-11-20" / "part-0.parquet") == digest(Path(held))
    assert not list((root / "_tmp").iterdir())
    objects = {str(path) for path in (root / "_objects").rglob("*.parquet")}
    assert len(objects) == 2 * (committed + 1)
