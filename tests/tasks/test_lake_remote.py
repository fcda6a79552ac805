"""The same lake behind a URL: no rename, a lease instead of a kernel lock. In memory, and on local files through fsspec."""

import errno
import json
import uuid
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
from tasks.lake import Lake, LakeFull, LakeMissing, LakeReadOnly, LakeUnreachable, NightLocked
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


def test_a_living_run_renews_its_lease(bucket: str) -> None:
    lake = Lake.open(bucket)
    store = RemoteStore(lake.filesystem, bucket.removeprefix("memory:/"), bucket, lease=timedelta(seconds=0.09))
    path = f"{bucket}/_locks/x"
    with store.lock("_locks/x", night="x", run_id="r", now=datetime.now(UTC)):
        first = json.loads(lake.filesystem.cat_file(path))["until"]
        for _ in range(100):
            if json.loads(lake.filesystem.cat_file(path))["until"] > first:
                break
            Event().wait(0.02)
        assert json.loads(lake.filesystem.cat_file(path))["until"] > first
    assert not lake.filesystem.exists(path)


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
