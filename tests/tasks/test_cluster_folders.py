"""Ray's folder is gone after a session, and after a session that was killed as soon as the next one looks."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.cluster.folders import OWNER, own_folder, sweep

HOLDER = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from tasks.cluster.folders import own_folder
with own_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nt-", dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)


def test_a_folder_lasts_as_long_as_its_session(parent: Path) -> None:
    with own_folder() as folder:
        (Path(folder) / "log").touch()
        assert Path(folder).parent == parent
        with own_folder() as other:
            assert other != folder
        sweep()
        assert (Path(folder) / "log").exists()
    assert list(parent.iterdir()) == []


def test_what_a_killed_session_left_goes_with_the_next_and_what_is_in_use_stays(parent: Path) -> None:
    stranger = parent / "nd-of-somebody"
    stranger.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            held = Path(holder.stdout.readline().strip())
            sweep()
            assert held.is_dir(), "it is in use"
        finally:
            holder.kill()
        holder.wait(60)
        assert held.is_dir(), "who is killed removes nothing"
        sweep()
    assert list(parent.iterdir()) == [stranger]


def test_what_was_killed_before_it_had_its_mark_goes_once_it_is_a_day_old(parent: Path) -> None:
    bare, begun, young = parent / "nd-abcdefgh", parent / "nd-ijklmnop", parent / "nd-qrstuvwx"
    for folder in (bare, begun, young):
        folder.mkdir()
    (begun / f".{OWNER}").touch()
    for folder in (bare, begun):
        make_old(folder)
    sweep()
    assert list(parent.iterdir()) == [young]


def test_a_persons_own_folder_stays_however_it_is_called(parent: Path) -> None:
    own, with_owner, with_draft = parent / "nd-research", parent / "nd-theirown", parent / "nd-wishlist"
    for folder, names in ((own, ["thesis"]), (with_owner, ["owner", "deed"]), (with_draft, [f".{OWNER}", "poem"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("years of work")
        make_old(folder)
    (parent / "nd-alinkto").symlink_to(own)
    before = sorted(parent.rglob("*"))
    sweep()
    assert sorted(parent.rglob("*")) == before


def make_old(folder: Path) -> None:
    long_ago = time.time() - 100_000
    os.utime(folder, (long_ago, long_ago))


def test_a_folder_keeps_its_mark_until_all_else_is_gone(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = shutil.rmtree

    def all_but_the_session(path: Path, **given: bool) -> None:
        """As where a dying Ray still writes into it."""
        for part in path.iterdir():
            if part.is_file():
                part.unlink()

    with monkeypatch.context() as patched:
        with own_folder() as folder:
            (Path(folder) / "session").mkdir()
            (Path(folder) / "session" / "late").mkdir()
            patched.setattr(shutil, "rmtree", all_but_the_session)
        assert (Path(folder) / OWNER).exists()
        patched.setattr(shutil, "rmtree", removed)
    sweep()
    assert list(parent.iterdir()) == []


def test_the_mark_goes_last(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parent / "nd-killed"
    (folder / "session").mkdir(parents=True)
    (folder / "latest").symlink_to(folder / "session")
    for name in ("a.log", OWNER, "z.log"):
        (folder / name).touch()
    removed, seen = shutil.rmtree, []

    def looking(path: Path, **given: bool) -> None:
        if path == folder:
            seen.append([part.name for part in folder.iterdir()])
        removed(path, **given)

    monkeypatch.setattr(shutil, "rmtree", looking)
    sweep()
    assert seen == [[OWNER]]
    assert not folder.exists()
