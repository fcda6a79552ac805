"""The version of a lake's layout, in `_lake.json`, so that an old program does not misread or spoil a newer lake."""

from __future__ import annotations

import json

from tasks.lake.errors import LakeDamaged, LakeTooNew
from tasks.lake.names import FORMAT_FILE
from tasks.lake.store import Store

VERSION = 1


def require_known(store: Store) -> bool:
    """True when the lake has a layout this program knows, False when it has none yet; raises `LakeTooNew` for a newer one."""
    data = store.read(FORMAT_FILE)
    if data is None:
        return False
    try:
        found = int(json.loads(data)["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise LakeDamaged(f"{store.address(FORMAT_FILE)} cannot be read: {error}") from error
    if found > VERSION:
        raise LakeTooNew(
            f"the lake {store.root} has layout version {found}, this program knows up to {VERSION}; use a newer one"
        )
    return True


def ensure(store: Store) -> None:
    """Write the version into a lake that has none; raise `LakeTooNew` when it is newer."""
    if not require_known(store):
        store.write(FORMAT_FILE, json.dumps({"format": VERSION}).encode())
