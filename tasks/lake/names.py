"""Where things lie in a lake, and which names are allowed. Pure; paths are relative to the lake's root, with slashes.

<table>/night=2026-11-20/part-0.parquet         what analysts glob: one file a table and night
_objects/<table>/<night>/<run>-<hash>.parquet   the immutable files behind them
_commits/<time>-<run>.json                      the log: one file a commit
_staging/night=2026-11-20/<name>.parquet        work in progress of one night
_state/<name>  _reports/  _rejected/            small files beside the tables
_locks/  _tmp/  _lake.json                      locks, unfinished files, the layout's version
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from urllib.parse import quote

from tasks.lake.errors import BadName

OBJECTS = "_objects"
COMMITS = "_commits"
STAGING = "_staging"
STATE = "_state"
LOCKS = "_locks"
TEMPORARY = "_tmp"
FORMAT_FILE = "_lake.json"

TABLE = re.compile(r"[a-z][a-z0-9_]{0,99}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SEGMENT = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9._=@+ -]{0,199}")
TIME = "%Y%m%dT%H%M%S.%fZ"


def table_name(name: str) -> str:
    """`name` itself, if it can be a table's folder."""
    if not TABLE.fullmatch(name):
        raise BadName(f"table name {name!r} is not allowed: a small letter, then small letters, digits and underscores")
    return name


def run_name(run_id: str) -> str:
    """`run_id` itself, if it can be part of a file name."""
    if not RUN.fullmatch(run_id):
        raise BadName(f"run_id {run_id!r} is not allowed: 1 to 100 letters, digits, '.', '_', '-', the first no sign")
    return run_id


def relative_path(path: str) -> str:
    """`path` itself, if it stays inside the lake."""
    if not path or not all(SEGMENT.fullmatch(part) for part in path.split("/")):
        raise BadName(
            f"path {path!r} is not allowed: letters, digits and '._=@+ -', parts joined by '/', none starting with '.'"
        )
    return path


def free_file(path: str) -> str:
    """`path` itself, if it is a place for reports and the like: in a folder that begins with `_`, not one of the lake's."""
    top, slash, _ = relative_path(path).partition("/")
    if not slash or not top.startswith("_") or top in {OBJECTS, COMMITS, STAGING, STATE, LOCKS, TEMPORARY}:
        raise BadName(
            f"path {path!r} is not allowed for a free file: a folder such as _reports/ or _rejected/, "
            "never a table's folder (readers glob it) nor one of the lake's own"
        )
    return path


def published(table: str, night: date) -> str:
    """Where readers find one night of `table`."""
    return f"{table}/night={night.isoformat()}/part-0.parquet"


def object_file(table: str, night: date, run_id: str, sha256: str) -> str:
    """Where the immutable file lies; the hash is in its name because a run may commit a night's table twice."""
    return f"{OBJECTS}/{table}/{night.isoformat()}/{run_id}-{sha256[:12]}.parquet"


def commit_file(commit: str) -> str:
    """Where the record of `commit` lies."""
    return f"{COMMITS}/{commit}.json"


def commit_name(time: datetime, run_id: str) -> str:
    """A name that sorts by time."""
    return f"{time.astimezone(UTC).strftime(TIME)}-{run_id}"


def staged(night: date, name: str) -> str:
    """Where a staged table lies."""
    return f"{STAGING}/night={night.isoformat()}/{relative_path(name)}.parquet"


def state_file(name: str) -> str:
    """Where a state lies; any name will do, odd characters are escaped."""
    if not name:
        raise BadName("a state needs a name, got an empty one")
    return f"{STATE}/{quote(name, safe='@+=').replace('.', '%2E')}"


def night_lock(night: date) -> str:
    """Where a night's lock lies."""
    return f"{LOCKS}/night={night.isoformat()}"
