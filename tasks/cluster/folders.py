"""The folder in which a Ray of our own has its sockets and logs: made for a session and removed after it.

A process that is killed removes nothing. So its folder holds a file that it keeps locked: the kernel frees the lock when it dies, and then the
next session, or the next night that is scored without Ray, removes the folder. That file's name makes the folder ours beyond doubt; without it
only an empty one goes, once it is a day old: that of a session killed before it had the file. Not covered: a folder that the settings name, which
stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "nd-"
RANDOM = "?" * 8  # what `mkdtemp` appends
OWNER = "nightdesk-session"  # no name that a person gives a file
DRAFT = f".{OWNER}"
ABANDONED_SECONDS = 86_400.0
LONGEST = 40  # characters; Ray's sockets add some 60 to it, and AF_UNIX allows 107


@contextmanager
def own_folder() -> Iterator[str]:
    """A short folder for the length of the block; what killed sessions left is removed first."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_parent()))
    try:
        draft = folder / DRAFT
        with draft.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            draft.rename(folder / OWNER)  # nobody sees it before it is locked
            yield str(folder)
    finally:
        _remove(folder)


def sweep() -> None:
    """Remove the folders of this user's sessions that were killed, and nothing that could be a person's own."""
    for owner in Path(_parent()).glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError), owner.open("rb") as file:  # of another user, in use, or gone meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_uid == os.getuid():
                _remove(owner.parent)
    for folder in Path(_parent()).glob(PREFIX + RANDOM):
        with suppress(OSError):
            found = folder.lstat()
            mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if mine and time.time() - found.st_mtime > ABANDONED_SECONDS:
                if _names(folder) == {DRAFT}:
                    (folder / DRAFT).unlink()
                folder.rmdir()  # refused where anything is in it


def _remove(folder: Path) -> None:
    """Remove a session's folder, its mark once all else is gone: where that is killed half way, the next one still knows whose it was."""
    with suppress(OSError):
        for part in folder.iterdir():
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part, ignore_errors=True)
            elif part.name != OWNER:
                part.unlink(missing_ok=True)
        if _names(folder) <= {OWNER}:
            shutil.rmtree(folder, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    return {part.name for part in folder.iterdir()}


def _parent() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST - len(PREFIX) - 9 else "/tmp"
