"""The workbench of one night: tables of a run in progress, under `_staging/night=D/`, seen by no reader of the lake.

Each table is written whole or not at all, so a step that finds its table here may trust it. Nothing here is published:
that is what `Lake.commit` does. Two runs of one night would share the bench; the night's lock keeps them apart, and a process that held it and
may have lost it changes nothing here any more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import Fatal
from tasks.lake import parquet
from tasks.lake.names import STAGING, night_lock, staged
from tasks.lake.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One table of one night: what steps hand each other. `path` is what a reader opens, `rows` counts its rows."""

    table: str
    night: date
    path: str
    rows: int

    @property
    def said(self) -> str:
        """The count in words."""
        return f"{self.rows} {self.table.replace('_', ' ')}"


class Stage:
    """The staged tables of one night. A name may have segments, such as `shards/0001`."""

    def __init__(self, store: Store, night: date) -> None:
        self._store = store
        self.night = night

    def write(self, name: str, table: pa.Table) -> Partition:
        """Stage `table` under `name`, in place of what was there; raises `NightLocked` where this process may have lost the night's lock."""
        relative = staged(self.night, name)
        with self._store.scratch(relative) as path:
            parquet.write(table, path)
            self._store.require_lock(night_lock(self.night))
            self._store.place(path, relative)
        return Partition(table=name, night=self.night, path=self.path(name), rows=table.num_rows)

    def read(self, name: str) -> pa.Table:
        """The staged table `name`."""
        data = self._store.read(staged(self.night, name))
        if data is None:
            raise Fatal(
                f"nothing is staged as {name!r} for night {self.night} ({self.path(name)}); "
                f"there is: {', '.join(self.names()) or 'nothing'}"
            )
        return pq.read_table(pa.BufferReader(data))

    def exists(self, name: str) -> bool:
        """True when `name` is staged."""
        return name in self.names()

    def names(self) -> list[str]:
        """What is staged, sorted."""
        folder = f"{STAGING}/night={self.night.isoformat()}/"
        return sorted(
            path.removeprefix(folder).removesuffix(".parquet") for path in self._store.find(folder.rstrip("/"))
        )

    def path(self, name: str) -> str:
        """What a reader opens to see `name`."""
        return self._store.address(staged(self.night, name))

    def clear(self, keep: Collection[str] = ()) -> None:
        """Remove everything but the tables named in `keep`; a name also keeps what lies below it. Raises `NightLocked` as `write` does."""
        for name in self.names():
            if not any(name == kept or name.startswith(f"{kept}/") for kept in keep):
                self._store.require_lock(night_lock(self.night))
                self._store.remove(staged(self.night, name))
