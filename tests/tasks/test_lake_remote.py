"""The same lake behind a URL: no rename, a lease instead of a kernel lock. In memory, and on local files through fsspec."""

import errno
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event

import pyarrow as pa
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import LocalFileSystem as ArrowLocal

from data_contracts.errors import Fatal, Retriable
from tasks.lake import FileMissing, Lake, LakeFull, LakeMissing, LakeReadOnly, LakeUnreachable, NightLocked
from tasks.lake.remote import RemoteStore

NIGHT = date(2026, 11, 20)
NEXT = NIGHT + timedelta(days=1)


def ticks(*values: int) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64())})


@pytest.fixture
def bucket() -> str:
    """The URL of a fresh folder of fsspec's memory file system."""
    return f"memory://bucket-{uuid.uuid4().hex}/lake"


@pytest.fixture(params=["memory", "fsspec", "pyarrow"])
def lake(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> Lake:
    if request.param == "memory":
        Lake.open(bucket).write_state("made", "yes")
        return Lake.open(bucket)
    filesystem = LocalFileSystem() if request.param == "fsspec" else ArrowFSWrapper(ArrowLocal())
    return Lake(RemoteStore(filesystem, str(tmp_path), str(tmp_path)))


def test_commits_are_read_back_rewritten_and_published(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1), "tocks": ticks(2)}, night=NIGHT, run_id="r1", publish=False)
    assert lake.tables() == []
    lake.commit({"ticks": ticks(1), "tocks": ticks(2)}, night=NIGHT, run_id="r1")
    (partition,) = lake.commit({"ticks": ticks(5, 6)}, night=NIGHT, run_id="r2")
    lake.commit({"ticks": ticks(7)}, night=NEXT, run_id="r3")
    assert partition.path == f"{lake.root}/ticks/night=2026-11-20/part-0.parquet"
    assert lake.tables() == ["ticks", "tocks"]
    assert lake.nights("ticks") == [NIGHT, NEXT]
    assert lake.read("ticks").equals(ticks(5, 6, 7))
    with lake.filesystem.open(partition.path) as file:
        assert pa.parquet.read_table(file).equals(ticks(5, 6))
    assert lake.repair() == []


def test_the_past_states_files_and_the_stage_work_too(lake: Lake) -> None:
    before = datetime.now(UTC)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert lake.files("ticks", as_of=before) == []
    lake.write_state("a b", "text")
    assert lake.read_state("a b") == "text"
    assert lake.read_file(lake.write_file("_reports/r.html", b"<p>").removeprefix(f"{lake.root}/")) == b"<p>"
    stage = lake.stage(NIGHT)
    stage.write("shards/1", ticks(4))
    assert stage.read("shards/1").equals(ticks(4))
    stage.clear()
    assert stage.names() == []


def test_repair_publishes_what_a_dead_run_did_not(lake: Lake) -> None:
    (old,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    stale = lake.filesystem.cat_file(old.path)
    (new,) = lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    (next_night,) = lake.commit({"ticks": ticks(3)}, night=NEXT, run_id="r2")
    lake.filesystem.rm_file(next_night.path)
    lake.filesystem.pipe_file(new.path, stale + b" ")
    assert {partition.path for partition in lake.repair()} == {new.path, next_night.path}
    assert lake.repair() == []


def test_a_file_of_the_same_size_that_is_older_than_its_object_is_replaced(bucket: str) -> None:
    lake = Lake.open(bucket)
    (old,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    published = lake.filesystem.cat_file(old.path)
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    lake.filesystem.pipe_file(old.path, published)
    lake.filesystem.store[lake.filesystem._strip_protocol(old.path)].created -= timedelta(hours=1)
    assert [partition.path for partition in lake.repair()] == [old.path]


@pytest.mark.parametrize(("moment", "repaired"), [("unpublished", 0), ("publish", 1)])
def test_a_repair_leaves_readers_what_another_run_commits_meanwhile(
    bucket: str, monkeypatch: pytest.MonkeyPatch, moment: str, repaired: int
) -> None:
    """Before it looks what is in place, and once it has looked and is about to copy."""
    lake, other, once = Lake.open(bucket), Lake.open(bucket), iter([True])
    (partition,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    if moment == "publish":
        lake.filesystem.rm_file(partition.path)
    looked_or_copied = getattr(lake._store, moment)

    def late(*given: object) -> object:
        if next(once, False):
            other.commit({"ticks": ticks(1, 2, 3)}, night=NIGHT, run_id="r2")
        return looked_or_copied(*given)

    monkeypatch.setattr(lake._store, moment, late)
    assert len(lake.repair()) == repaired
    with lake.filesystem.open(partition.path) as file:
        assert pa.parquet.read_table(file).equals(ticks(1, 2, 3))
    assert lake.repair() == []


DOOMED = """
import os, signal
from datetime import date
import fsspec, pyarrow as pa
from tasks.lake import Lake

lake = Lake.open("memory://desk/lake")
lake.filesystem.put_file = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
lake.stage(date(2026, 11, 20)).write("articles", pa.table({"value": [1]}))
"""


def test_a_writer_that_is_killed_leaves_no_temporary_file(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", DOOMED], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_young_orphans_stay_and_old_ones_go(bucket: str) -> None:
    lake = Lake.open(bucket)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    orphan = f"{lake.root}/_objects/ticks/2026-11-20/dead-0123456789ab.parquet"
    lake.filesystem.pipe_file(orphan, b"PAR1")
    lake.repair()
    assert lake.filesystem.exists(orphan)
    lake.filesystem.store[lake.filesystem._strip_protocol(orphan)].created -= timedelta(days=2)
    lake.repair()
    assert not lake.filesystem.exists(orphan)
    assert lake.read("ticks").equals(ticks(1))


def test_a_second_run_of_a_night_is_refused_until_the_first_ends(lake: Lake) -> None:
    with lake.lock(NIGHT, run_id="first"):
        with pytest.raises(NightLocked, match=r"2026-11-20.*run_id first, since 20.*until 20"), lake.lock(NIGHT):
            pass
        with lake.lock(NEXT):
            pass
    with lake.lock(NIGHT):
        pass


def test_the_lease_of_a_dead_run_can_be_taken_over_once_it_has_run_out(bucket: str) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    lake = Lake.open(bucket, clock=lambda: now)
    with lake.lock(NIGHT, run_id="first"):
        path = f"{lake.root}/_locks/night=2026-11-20"
        left_behind = lake.filesystem.cat_file(path)
    lake.filesystem.pipe_file(path, left_behind)
    now += timedelta(minutes=14)
    with pytest.raises(NightLocked, match="run_id first"), lake.lock(NIGHT):
        pass
    now += timedelta(minutes=2)
    with lake.lock(NIGHT, run_id="second"):
        assert json.loads(lake.filesystem.cat_file(path))["run_id"] == "second"


@pytest.fixture
def _renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few milliseconds, of a lease that lasts as long as ever."""
    monkeypatch.setattr("tasks.lake.lease.RENEWED_AFTER", 1e-5)
    monkeypatch.setattr("tasks.lake.lease.TRIED_AGAIN_AFTER", 1e-5)


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        Event().wait(0.02)
    pytest.fail("a minute was not enough")


@pytest.mark.usefixtures("_renewed_often")
def test_a_living_run_renews_its_lease(bucket: str) -> None:
    lake = Lake.open(bucket)
    path = f"{bucket}/_locks/night=2026-11-20"
    with lake.lock(NIGHT):
        first = json.loads(lake.filesystem.cat_file(path))["until"]
        wait_until(lambda: json.loads(lake.filesystem.cat_file(path))["until"] > first)
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert not lake.filesystem.exists(path)
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")


@pytest.mark.usefixtures("_renewed_often")
def test_a_run_that_lost_its_lease_commits_nothing_and_leaves_the_next_holders_alone(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    lake, other = Lake.open(bucket), Lake.open(bucket)
    path = f"{bucket}/_locks/night=2026-11-20"
    with lake.lock(NIGHT, run_id="first"), lake.lock(NEXT, run_id="first"):
        theirs = json.loads(lake.filesystem.cat_file(path)) | {"token": "theirs", "run_id": "second"}

        def lost() -> bool:
            lake.filesystem.pipe_file(path, json.dumps(theirs).encode())  # again, where a renewal came in between
            return "was lost to" in caplog.text

        wait_until(lost)
        for mine in (lake, other):
            with pytest.raises(NightLocked, match=r"night=2026-11-20 was taken over.*nothing more was written"):
                mine.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
        other.commit({"ticks": ticks(2)}, night=NEXT, run_id="r1")
    assert json.loads(lake.filesystem.cat_file(path))["run_id"] == "second"
    assert lake.nights("ticks") == [NEXT]
    lake.commit({"ticks": ticks(3)}, night=NIGHT, run_id="second")


def test_a_lease_that_is_about_to_run_out_is_good_for_no_commit_and_is_not_removed(bucket: str) -> None:
    """As after a process was suspended, or could not renew; who wants the night may have it by the time a removal arrives."""
    store = RemoteStore(MemoryFileSystem(), bucket.removeprefix("memory:/"), bucket, lease=timedelta(0))
    lake = Lake(store)
    with lake.lock(NIGHT), pytest.raises(NightLocked, match="could not be renewed in time"):
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert store.read("_locks/night=2026-11-20") is not None
    with Lake.open(bucket).lock(NIGHT, run_id="next"):
        pass


def test_a_run_that_lost_its_lease_leaves_the_bench_to_the_next_holder(bucket: str) -> None:
    theirs = Lake.open(bucket).stage(NIGHT)
    theirs.write("articles", ticks(1))
    mine = Lake(RemoteStore(MemoryFileSystem(), bucket.removeprefix("memory:/"), bucket, lease=timedelta(0)))
    with mine.lock(NIGHT):
        with pytest.raises(NightLocked, match="nothing more was written"):
            mine.stage(NIGHT).write("articles", ticks(2))
        with pytest.raises(NightLocked, match="nothing more was written"):
            mine.stage(NIGHT).clear()
        mine.stage(NEXT).write("articles", ticks(3))
    assert theirs.read("articles").equals(ticks(1))
    mine.stage(NIGHT).write("articles", ticks(4))


def test_a_store_that_is_away_when_a_lease_is_released_fails_no_night(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> bytes:
        raise ConnectionResetError("reset")

    lake = Lake.open(bucket)
    with monkeypatch.context() as patched:
        with lake.lock(NIGHT):
            lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
            patched.setattr(MemoryFileSystem, "cat_file", away)
        assert "could not be released" in caplog.text
    assert lake.published(NIGHT)


def test_a_lease_whose_answer_was_lost_is_held(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = MemoryFileSystem.pipe_file

    def answer_lost(*given: object, **named: object) -> None:
        write(*given, **named)
        raise ConnectionResetError("reset")

    lake = Lake.open(bucket)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "pipe_file", answer_lost)
        with (
            lake.lock(NIGHT, run_id="first"),
            pytest.raises(NightLocked, match="run_id first"),
            Lake.open(bucket).lock(NIGHT),
        ):
            pass
        patched.setattr(MemoryFileSystem, "pipe_file", away_before_it_is_written)
        with pytest.raises(LakeUnreachable), lake.lock(NEXT):
            pass
    assert lake.filesystem.find(f"{bucket}/_locks") == []


def away_before_it_is_written(*_: object, **__: object) -> None:
    raise ConnectionResetError("reset")


def test_only_a_free_file_that_is_not_there_is_missing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.open(bucket)
    with pytest.raises(FileMissing, match=r"there is no file memory://.*_alerts/a\.jsonl"):
        lake.read_file("_alerts/a.jsonl")
    monkeypatch.setattr(MemoryFileSystem, "cat_file", away_before_it_is_written)
    with pytest.raises(LakeUnreachable):
        lake.read_file("_alerts/a.jsonl")


@pytest.mark.parametrize(
    ("trouble", "meaning", "text"),
    [
        (PermissionError("Access Denied"), LakeReadOnly, r"cannot write memory://.*Access Denied"),
        (OSError(errno.ENOSPC, "Quota"), LakeFull, r"no space left while writing memory://"),
        (ConnectionRefusedError("refused"), LakeUnreachable, r"no answer for memory://.*refused"),
        (FileNotFoundError("NoSuchBucket"), LakeMissing, r"no bucket for memory://.*NoSuchBucket"),
    ],
)
def test_what_a_store_says_becomes_an_error_of_the_lake(
    bucket: str, trouble: OSError, meaning: type[Exception], text: str
) -> None:
    class Troubled(MemoryFileSystem):  # type: ignore[misc]
        protocol = "s3"

        def put_file(self, *_: object, **__: object) -> None:
            raise trouble

    lake = Lake(RemoteStore(Troubled(), bucket.removeprefix("memory:/"), bucket))
    with pytest.raises(meaning, match=text):
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert Lake.open(bucket).nights("ticks") == []


def test_only_a_store_without_an_answer_is_worth_another_try() -> None:
    assert issubclass(LakeUnreachable, Retriable)
    assert not any(issubclass(kind, Retriable) for kind in (LakeFull, LakeMissing, LakeReadOnly, NightLocked))


def test_a_file_url_is_a_local_lake(tmp_path: Path) -> None:
    lake = Lake.open(f"file://{tmp_path}/lake")
    (partition,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert partition.path == f"{tmp_path}/lake/ticks/night=2026-11-20/part-0.parquet"
    assert Path(partition.path).is_file()


def test_an_unknown_scheme_is_refused_with_both_reasons() -> None:
    with pytest.raises(Fatal, match=r"no file system for nosuch://x.*fsspec says.*pyarrow says"):
        Lake.open("nosuch://x/y")
