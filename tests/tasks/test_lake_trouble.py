"""What may go wrong with a lake: other runs, dead runs, damage, a full disk, a read-only one."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.lake import ClockBehind, Lake, LakeDamaged, LakeFull, LakeReadOnly, LakeTooNew, NightLocked
from tests.rows import files_below, ticks

NIGHT = date(2026, 11, 20)
NEXT = NIGHT + timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def test_a_second_run_of_a_night_is_refused_by_name(lake: Lake) -> None:
    with lake.lock(NIGHT, run_id="first"):
        with (
            pytest.raises(NightLocked, match=rf"2026-11-20.*pid {os.getpid()}.*run_id first.*since 20"),
            lake.lock(NIGHT),
        ):
            pass
        with lake.lock(NEXT):
            pass
    with lake.lock(NIGHT):
        pass


def test_the_lock_of_a_killed_process_is_free_at_once(lake: Lake) -> None:
    code = (
        "import sys, time; from datetime import date; from tasks.lake import Lake\n"
        f"with Lake.open({lake.root!r}).lock(date(2026, 11, 20), run_id='doomed'):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(NightLocked, match=f"pid {other.pid}.*run_id doomed"), lake.lock(NIGHT):
            pass
        other.kill()
    with lake.lock(NIGHT):
        pass


def test_repair_puts_back_what_is_missing_or_altered_and_then_rests(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1), "tocks": ticks(2)}, night=NIGHT, run_id="r1")
    missing, altered = (Path(lake.root, name, "night=2026-11-20/part-0.parquet") for name in ("ticks", "tocks"))
    missing.unlink()
    altered.unlink()
    pq.write_table(ticks(7), altered)
    assert {partition.path for partition in lake.repair()} == {str(missing), str(altered)}
    assert pq.read_table(altered, partitioning=None).equals(ticks(2))
    assert missing.is_file()
    assert lake.repair() == []


def test_repair_removes_what_dead_runs_left_and_nothing_of_the_living(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    gone = subprocess.Popen(["true"])
    gone.wait()
    unasked = subprocess.Popen(["true"])  # how it ended, so that the kernel keeps its number
    os.waitid(os.P_PID, unasked.pid, os.WEXITED | os.WNOWAIT)
    host, wait = os.uname().nodename, threading.Event()
    thread = threading.Thread(target=wait.wait)  # its number is no process's
    thread.start()
    for name in (f"a.{gone.pid}", f"z.{unasked.pid}", f"t.{thread.native_id}", f"b.{os.getpid()}"):
        Path(lake.root, "_tmp", f"{name}.{host}").write_bytes(b"PAR1")
    Path(lake.root, "_tmp", "c.1.elsewhere").write_bytes(b"PAR1")
    orphan = Path(lake.root, "_objects/ticks/2026-11-20/dead-0123456789ab.parquet")
    orphan.write_bytes(b"PAR1")
    lake.repair()
    wait.set()
    unasked.wait()
    assert files_below(lake, "_tmp") == {f"_tmp/b.{os.getpid()}.{host}", "_tmp/c.1.elsewhere"}
    assert not orphan.exists()
    assert lake.read("ticks").equals(ticks(1))


def test_a_missing_object_is_named(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    Path(lake.files("ticks")[0]).unlink()
    with pytest.raises(LakeDamaged, match=r"r1-.*parquet is missing"):
        lake.repair()


def test_a_failure_right_after_the_record_costs_nothing_that_it_names(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_the_record(folder: Path) -> None:
        if folder.name == "_commits":
            raise KeyboardInterrupt

    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    with monkeypatch.context() as patched:
        patched.setattr("tasks.lake.local._sync_folder", stop_at_the_record)
        with pytest.raises(KeyboardInterrupt):
            lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    assert lake.read("ticks").equals(ticks(2))
    (partition,) = lake.repair()
    assert pq.read_table(partition.path, partitioning=None).equals(ticks(2))


def test_publishing_copies_where_links_are_not_possible(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    (partition,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert pq.read_table(partition.path, partitioning=None).equals(ticks(1))
    assert lake.repair() == []


def test_a_lake_of_a_newer_version_is_refused(lake: Lake) -> None:
    lake.write_state("x", "y")
    Path(lake.root, "_lake.json").write_text('{"format": 99}')
    with pytest.raises(LakeTooNew, match="layout version 99, this program knows up to 1"):
        Lake.open(lake.root)
    with pytest.raises(LakeTooNew):
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")


def test_a_garbled_commit_record_is_named(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    Path(lake.root, "_commits/99990101T000000.000000Z-x.json").write_text("{")
    with pytest.raises(LakeDamaged, match="99990101"):
        Lake.open(lake.root).nights("ticks")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


NOISE = pa.table({"value": pa.array([os.urandom(700) for _ in range(3000)], pa.binary())})


def test_a_full_disk_is_named_and_costs_nothing_published(small_disk: Path) -> None:
    lake = Lake.open(str(small_disk / "lake"))
    lake.commit({"ticks": NOISE.slice(0, 10)}, night=NIGHT, run_id="r1")
    with pytest.raises(LakeFull, match=r"no space left.*_objects/tocks"):
        lake.commit({"ticks": NOISE.slice(0, 20), "tocks": NOISE}, night=NIGHT, run_id="r2")
    assert lake.read("ticks").equals(NOISE.slice(0, 10))
    assert files_below(lake, "_tmp") == set()
    assert len(files_below(lake, "_objects")) == 1, "the finished half of the commit is gone too"
    lake.commit({"ticks": NOISE.slice(0, 20)}, night=NIGHT, run_id="r3")
    assert lake.read("ticks").num_rows == 20


def test_a_file_size_limit_is_named_like_a_full_disk(lake: Lake) -> None:
    code = (
        "import os, resource, sys; from datetime import date; import pyarrow as pa; from tasks.lake import Lake, LakeFull\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "table = pa.table({'value': pa.array([os.urandom(700) for _ in range(3000)], pa.binary())})\n"
        f"try: Lake.open({lake.root!r}).commit({{'ticks': table}}, night=date(2026, 11, 20), run_id='r1')\n"
        "except LakeFull as error: sys.exit(f'full: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.startswith("full: no space left"), done.stderr
    assert files_below(lake, "_tmp") == set()
    assert lake.nights("ticks") == []


def test_a_disk_too_full_for_the_name_of_a_locks_holder_is_named(lake: Lake) -> None:
    code = (
        "import resource, sys; from datetime import date; from tasks.lake import Lake, LakeFull\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        f"    with Lake.open({lake.root!r}).lock(date(2026, 11, 20)): pass\n"
        "except LakeFull as error: sys.exit(f'full: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.startswith(f"full: no space left while writing {lake.root}/_locks/night=2026-11-20"), done.stderr
    with lake.lock(NIGHT):
        pass


def test_a_read_only_lake_can_be_read_and_says_so_when_written(small_disk: Path) -> None:
    lake = Lake.open(str(small_disk / "lake"))
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    lake = Lake.open(str(small_disk / "lake"))
    assert lake.read("ticks").equals(ticks(1))
    with pytest.raises(LakeReadOnly, match="cannot write"):
        lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    with pytest.raises(LakeReadOnly, match="cannot write"), lake.lock(NIGHT):
        pass
    with pytest.raises(LakeReadOnly, match="cannot write"):
        lake.stage(NIGHT).write("ticks", ticks(1))


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 20, 22, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=365)], ids=["an hour", "a year"])
def test_a_clock_that_was_set_back_is_told_and_the_lakes_own_time_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, back: timedelta
) -> None:
    watch = Watch()
    lake = Lake.open(str(tmp_path / "lake"), clock=watch)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    first = watch.time
    watch.time -= back
    assert lake.now() > first, "what is written now does not look older than what was known"
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    assert f"the clock of this machine is {back}" in caplog.text
    assert "behind the last commit" in caplog.text
    assert lake.read("ticks").equals(ticks(2))
    assert lake.read("ticks", as_of=first).equals(ticks(1))
    assert lake.files("ticks", as_of=first - timedelta(seconds=1)) == []
    watch.time = first + timedelta(days=1)
    lake.commit({"ticks": ticks(3)}, night=NIGHT, run_id="r3")
    assert [commit.run_id for commit in lake.commits()] == ["r1", "r2", "r3"]
    assert lake.read("ticks", as_of=first + timedelta(hours=1)).equals(ticks(2))


def test_a_clock_far_behind_the_lake_is_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    watch = Watch()
    lake = Lake.open(str(tmp_path / "lake"), clock=watch)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    watch.time -= timedelta(hours=23)
    lake.now(at_most_behind=timedelta(days=1))
    watch.time -= timedelta(hours=2)
    with pytest.raises(ClockBehind, match=r"says 2026-11-19 21:15 UTC, but the last commit .* at 2026-11-20 22:15"):
        lake.now(at_most_behind=timedelta(days=1))


def test_a_clock_a_little_behind_that_of_another_machine_is_nothing_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    lake = Lake.open(str(tmp_path / "lake"), clock=watch)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    watch.time -= timedelta(minutes=4)
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    assert "clock" not in caplog.text
