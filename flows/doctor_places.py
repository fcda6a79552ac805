"""The places of a desk, held against the world: home, lake, disk and databases. Part of `nightdesk doctor`.

A place is tried by writing a small file there, which is removed again. Of a lake the log is read as well: one that is damaged or too new can
be written to all the same.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

from sqlalchemy import make_url, text

from data_contracts.errors import NightdeskError
from flows.findings import Finding
from flows.operate.databases import connection
from flows.settings import Settings
from tasks.hosts import redacted
from tasks.lake import Lake, LakeDamaged, LakeTooNew
from tasks.lake.store import open_store

MIN_FREE_GIB = 5.0
LEAST_FREE_GIB = 0.5  # a night needs that much at once: its tables, Ray's memory on disk, the exports of a model
ACCESS = "check the place, the credentials and the endpoint, and that this user may read, write and delete there"
REMEDIES = {
    LakeTooNew: "install the nightdesk that wrote it, or a newer one: docs/runbook.md, Upgrade",
    LakeDamaged: "bring back the file that it names: docs/runbook.md, Restore from a lost disk",
}


def examine(settings: Settings) -> Iterator[Finding]:
    """Every place that the settings name."""
    yield _writable("home", settings.home)
    places = {"home": settings.home}
    if "://" not in settings.lake:
        places["lake"] = Path(settings.lake)
    yield _lake(settings.lake)
    yield from _disks(places)
    if settings.operate.database:
        yield _database(settings, "prefect")
        yield _database(settings, "mlflow")


def _existing(path: Path) -> Path:
    """The path or its nearest parent that is there.

    Raises:
        OSError: the system does not say whether it is, as below a folder that this user may not enter.
    """
    return next(p for p in (path, *path.parents) if p.exists())


def _disks(places: dict[str, Path]) -> Iterator[Finding]:
    """The room on each disk, once a disk; of a place that cannot be looked at its own finding tells."""
    by_disk: dict[int, tuple[float, list[str]]] = {}
    for name, path in places.items():
        with suppress(OSError):
            folder = _existing(path)
            free_gib = shutil.disk_usage(folder).free / 2**30
            by_disk.setdefault(folder.stat().st_dev, (free_gib, []))[1].append(name)
    for free, names in by_disk.values():
        roomy = free >= MIN_FREE_GIB
        yield Finding(
            what="disk",
            good=roomy,
            found=f"{free:.1f} GiB free for {' and '.join(names)}",
            remedy="" if roomy else f"keep {MIN_FREE_GIB:.0f} GiB free; docs/runbook.md says what may go",
            needed=free < LEAST_FREE_GIB,
        )


def _writable(what: str, path: Path) -> Finding:
    try:
        folder = _existing(path)
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding(
                what=what, good=True, found=f"{path}, writable" + ("" if folder == path else " (not made yet)")
            )
    except OSError as error:
        return Finding(
            what=what,
            good=False,
            found=f"{path}: {error.strerror or error}",
            remedy="give this user the right to write there, or name another place",
        )


def _lake(url: str) -> Finding:
    """A lake of either kind: its log, and a file that is written there."""
    remote = "://" in url
    try:
        nights = len(Lake.open(url).published_nights())
        if remote:
            _written_and_removed(url)
    except Exception as error:  # whatever a store raises is what was found
        remedy = next((said for kind, said in REMEDIES.items() if isinstance(error, kind)), ACCESS)
        return Finding(what="lake", good=False, found=f"{redacted(url)}: {_first_line(error)}", remedy=remedy)
    written = Finding(what="lake", good=True, found=f"{redacted(url)}, writable")
    found = written if remote else _writable("lake", Path(url))
    return replace(found, found=f"{found.found}: {nights} published nights") if found.good else found


def _written_and_removed(url: str) -> None:
    probe, store = f"_doctor/{uuid4().hex}", open_store(url)
    store.write(probe, b"nightdesk doctor")
    kept = store.read(probe)
    store.remove(probe)
    if kept != b"nightdesk doctor" or store.read(probe) is not None:
        raise OSError("what was written cannot be read back, or not be removed")


def _database(settings: Settings, whose: Literal["prefect", "mlflow"]) -> Finding:
    what = f"database {whose}"
    try:
        with connection(make_url(settings.operate.database_of(whose))) as line:
            version = line.execute(text("SHOW server_version")).scalar_one()
        return Finding(what=what, good=True, found=f"PostgreSQL {version}")
    except Exception as error:  # whatever a database's driver raises is what was found
        remedy = "start PostgreSQL, mend operate.database, or let `nightdesk up` make the database"
        return Finding(what=what, good=False, found=_first_line(error), remedy=remedy)


def _first_line(error: BaseException) -> str:
    said = str(error).strip().partition("\n")[0]
    return said if isinstance(error, NightdeskError) else f"{type(error).__name__}: {said}"
