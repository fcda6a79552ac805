"""The lake on S3: a real client and a real server on the loopback, killed writers, a store that refuses, and one that is away."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3
import pyarrow as pa
import pytest
import s3fs

from tasks.lake import (
    Lake,
    LakeMissing,
    LakeReadOnly,
    LakeRefused,
    LakeTooNew,
    LakeUnreachable,
    NightLocked,
    Partition,
)
from tests.object_store import ObjectStore, serving_s3
from tests.rows import ticks

NIGHT = date(2026, 11, 20)
NEXT = NIGHT + timedelta(days=1)
PART = 5 << 20  # bytes: the least that S3 takes as a part
NOISE = 3 * PART


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with serving_s3() as found:
        yield found


@pytest.fixture(autouse=True)
def _environment(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As an operator sets it, and nothing else; clients that are kept from before asked another environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def lake(store: ObjectStore) -> Lake:
    bucket = f"desk-{uuid4().hex}"
    s3fs.S3FileSystem().mkdir(bucket)
    return Lake.open(f"s3://{bucket}/of the desk/lake")


def uploads(lake: Lake) -> list[str]:
    """The keys of uploads in parts that were begun and not ended."""
    found = lake.filesystem.call_s3("list_multipart_uploads", Bucket=lake.root.split("/")[2])
    return [one["Key"] for one in found.get("Uploads", [])]


def noise(size: int) -> pa.Table:
    return pa.table({"value": pa.array([os.urandom(PART // 8) for _ in range(size // (PART // 8))], pa.binary())})


def test_commits_are_read_back_rewritten_published_and_known_as_of_a_time(lake: Lake) -> None:
    before = datetime.now(UTC)
    lake.commit({"ticks": ticks(1), "tocks": ticks(2)}, night=NIGHT, run_id="r1", publish=False)
    assert lake.tables() == []
    lake.commit({"ticks": ticks(1), "tocks": ticks(2)}, night=NIGHT, run_id="r1")
    between = lake.now()
    (partition,) = lake.commit({"ticks": ticks(5, 6)}, night=NIGHT, run_id="r2")
    lake.commit({"ticks": ticks(7)}, night=NEXT, run_id="r3")
    assert partition.path == f"{lake.root}/ticks/night=2026-11-20/part-0.parquet"
    assert lake.nights("ticks") == [NIGHT, NEXT]
    assert lake.read("ticks").equals(ticks(5, 6, 7))
    assert lake.read("ticks", as_of=between).equals(ticks(1))
    assert lake.files("ticks", as_of=before) == []
    with lake.filesystem.open(partition.path) as file:
        assert pa.parquet.read_table(file).equals(ticks(5, 6))
    assert lake.repair() == []


def test_states_files_and_the_stage(lake: Lake) -> None:
    lake.write_state("a b", "text")
    assert lake.read_state("a b") == "text"
    assert lake.read_file(lake.write_file("_reports/r.html", b"<p>").removeprefix(f"{lake.root}/")) == b"<p>"
    stage = lake.stage(NIGHT)
    stage.write("shards/1", ticks(4))
    assert stage.read("shards/1").equals(ticks(4))
    stage.clear()
    assert stage.names() == []


def test_repair_puts_back_what_is_missing_and_what_is_older_than_its_object(lake: Lake) -> None:
    (first,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    stale = lake.filesystem.cat_file(first.path)
    (second,) = lake.commit({"ticks": ticks(2)}, night=NEXT, run_id="r2")
    lake.filesystem.rm_file(second.path)
    lake.filesystem.pipe_file(first.path, stale + b" ")
    assert {partition.path for partition in lake.repair()} == {first.path, second.path}
    assert lake.repair() == []


def test_a_large_file_goes_up_in_parts_and_is_seen_with_the_last_of_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: PART)
    table = noise(NOISE)
    (partition,) = lake.commit({"ticks": table}, night=NIGHT, run_id="r1")
    parts = lake.filesystem.info(lake.files("ticks")[0])["ETag"].strip('"').rpartition("-")[2]
    assert int(parts) > 2
    assert lake.read("ticks").equals(table)
    with lake.filesystem.open(partition.path) as file:
        assert pa.parquet.read_table(file).equals(table)
    assert lake.repair() == []
    assert uploads(lake) == []


WRITER = """
import os, signal, sys
from datetime import date
import pyarrow as pa, s3fs.core
from tasks.lake import Lake

url, method, times, size, part = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
call, seen = s3fs.core.S3FileSystem._call_s3, []
async def dying(self, name, *args, **kwargs):
    seen.append(name)
    if seen.count(method) == times and name == method:
        os.kill(os.getpid(), signal.SIGKILL)
    return await call(self, name, *args, **kwargs)
s3fs.core.S3FileSystem._call_s3 = dying
s3fs.core.calculate_chunksize = lambda *_, **__: part
table = pa.table({"value": pa.array([os.urandom(part // 8) for _ in range(size // (part // 8))], pa.binary())})
Lake.open(url).commit({"ticks": table}, night=date(2026, 11, 20), run_id="doomed")
"""


def killed_writer(lake: Lake, folder: Path, method: str, times: int = 1) -> None:
    """A process that commits a large table and is killed at this call to the store; it leaves no temporary file in `folder`."""
    arguments = [sys.executable, "-c", WRITER, lake.root, method, str(times), str(NOISE), str(PART)]
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("method", "times"), [("upload_part", 2), ("complete_multipart_upload", 1)])
def test_a_writer_killed_during_an_upload_shows_nothing_and_a_repair_ends_the_upload(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, times: int
) -> None:
    table = noise(PART)
    lake.commit({"ticks": table}, night=NEXT, run_id="r1")
    before = lake.filesystem.find(lake.root)
    killed_writer(lake, tmp_path, method, times)
    lake = Lake.open(lake.root)
    assert lake.filesystem.find(lake.root) == before
    assert lake.nights("ticks") == [NEXT]
    (begun,) = uploads(lake)
    assert "/_objects/ticks/2026-11-20/doomed-" in begun
    with monkeypatch.context() as patched:  # the server dates every upload to 2010
        patched.setattr("tasks.lake.remote.ORPHAN_AGE", timedelta(days=365 * 100))
        lake.repair()
        assert uploads(lake) == [begun], "a live writer may be at it"
    lake.repair()
    assert uploads(lake) == []
    assert lake.read("ticks").equals(table)


@pytest.mark.parametrize(("method", "committed"), [("complete_multipart_upload", False), ("copy_object", True)])
def test_a_writer_killed_before_the_record_leaves_the_old_night_and_after_it_a_repair_publishes_the_new(
    lake: Lake, tmp_path: Path, method: str, committed: bool
) -> None:
    """The first copy into place comes after the record, which is the commit."""
    lake.commit({"ticks": noise(PART)}, night=NIGHT, run_id="r1")
    old = lake.read("ticks")
    killed_writer(lake, tmp_path, method)
    lake = Lake.open(lake.root)
    assert {partition.table for partition in lake.repair()} == ({"ticks"} if committed else set())
    assert lake.read("ticks").equals(old) is not committed
    assert lake.repair() == []


def test_a_second_run_of_a_night_is_refused_until_the_first_ends(lake: Lake) -> None:
    with lake.lock(NIGHT, run_id="first"):
        with pytest.raises(NightLocked, match=r"2026-11-20.*run_id first, since 20.*until 20"), lake.lock(NIGHT):
            pass
        with lake.lock(NEXT):
            pass
    with lake.lock(NIGHT):
        pass


@pytest.mark.parametrize("lapsed", [False, True], ids=["free", "lapsed"])
def test_of_many_runs_that_want_a_night_at_once_exactly_one_gets_it(lake: Lake, lapsed: bool) -> None:
    runs = 6
    if lapsed:
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        old = {
            "token": "t",
            "pid": 1,
            "host": "h",
            "run_id": "dead",
            "since": long_ago.isoformat(),
            "until": long_ago.isoformat(),
        }
        lake.filesystem.pipe_file(f"{lake.root}/_locks/night=2026-11-20", json.dumps(old).encode())
    for _ in range(3):
        start, end = threading.Barrier(runs), threading.Barrier(runs)
        got: list[int] = []
        refused: list[int] = []

        def want(number: int) -> None:
            mine = Lake.open(lake.root)
            start.wait(60)  # noqa: B023 - the threads of a round end within it
            try:
                with mine.lock(NIGHT, run_id=f"run-{number}"):
                    got.append(number)  # noqa: B023
                    end.wait(60)  # noqa: B023
            except NightLocked:
                refused.append(number)  # noqa: B023
                end.wait(60)  # noqa: B023

        threads = [threading.Thread(target=want, args=(number,)) for number in range(runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), len(refused)) == (1, runs - 1)


def test_a_lease_taken_over_by_another_is_not_written_over(lake: Lake) -> None:
    """A run that was suspended for longer than its lease must not take the night back from who has it now."""
    store = lake._store
    store.create("_locks/x", b"first")  # type: ignore[attr-defined]
    tag = store.tag("_locks/x")  # type: ignore[attr-defined]
    store.write("_locks/x", b"second")
    with pytest.raises(OSError, match="pre-conditions"):
        store.replace("_locks/x", b"first again", tag=tag)  # type: ignore[attr-defined]
    assert store.read("_locks/x") == b"second"


def test_a_bucket_that_is_not_there_is_named_and_never_made(store: ObjectStore) -> None:
    lake = Lake.open("s3://no-such-bucket/lake")
    assert lake.nights("ticks") == []
    with pytest.raises(LakeMissing, match=r"no bucket for s3://no-such-bucket/lake"):
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    with pytest.raises(LakeMissing), lake.lock(NIGHT):
        pass
    assert not s3fs.S3FileSystem().exists("no-such-bucket")


def test_a_lake_of_a_newer_version_is_refused(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    lake.filesystem.pipe_file(f"{lake.root}/_lake.json", b'{"format": 99}')
    with pytest.raises(LakeTooNew, match=r"s3://.* has layout version 99, this program knows up to 1"):
        Lake.open(lake.root)


@pytest.fixture
def reader(store: ObjectStore, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From here on, the server asks who one is; this process may read the bucket and write nothing."""
    bucket = lake.root.split("/")[2]
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    iam = boto3.client("iam")
    name = f"analyst-{uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    allowed = {
        "Effect": "Allow",
        "Action": ["s3:Get*", "s3:List*"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    iam.put_user_policy(
        UserName=name, PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    s3fs.S3FileSystem.clear_instance_cache()
    _ask_who_one_is(store, after=0)
    yield
    _ask_who_one_is(store, after=float("inf"))


def _ask_who_one_is(store: ObjectStore, *, after: float) -> None:
    """From so many further requests on."""
    asked = Request(
        f"{store.url}/moto-api/reset-auth", data=str(after).encode(), headers={"Content-Type": "text/plain"}
    )
    with urlopen(asked, timeout=60):
        pass


def test_a_lake_that_may_only_be_read_is_read_and_says_so_when_written(lake: Lake, reader: None) -> None:
    lake = Lake.open(lake.root)
    assert lake.read("ticks").equals(ticks(1))
    with pytest.raises(LakeReadOnly, match=r"cannot write s3://"):
        lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    with pytest.raises(LakeReadOnly, match=r"cannot write s3://.*_locks"), lake.lock(NIGHT):
        pass
    assert Lake.open(lake.root).read("ticks").equals(ticks(1))


def test_a_key_that_the_store_does_not_know_is_told_from_an_empty_lake(
    lake: Lake, reader: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "misspelt-secret")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(LakeRefused, match=r"may not be read.*check the credentials") as caught:
        Lake.open(lake.root)
    assert "misspelt-secret" not in str(caught.value)


def test_no_credentials_at_all_are_told_from_an_empty_lake(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # a person's own keys lie there
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(LakeRefused, match="asks for credentials"):
        Lake.open(lake.root)


def test_a_store_that_is_away_for_a_moment_costs_the_moment(store: ObjectStore, lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    store.process.send_signal(signal.SIGSTOP)
    back = threading.Timer(2.0, store.process.send_signal, args=(signal.SIGCONT,))
    back.start()
    try:
        (partition,) = lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    finally:
        back.join()
    assert isinstance(partition, Partition)
    assert lake.read("ticks").equals(ticks(2))


def test_a_store_that_stays_away_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_s3() as gone:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", gone.url)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(LakeUnreachable, match=r"no answer for s3://bucket/lake"):
        Lake.open("s3://bucket/lake")
