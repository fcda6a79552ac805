"""What this process may not read, whoever runs it: root, who reads everything, is nobody meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def shut(place: Path) -> Iterator[None]:
    """A folder that this process may not enter, or a file that it may not read, for the length of the block."""
    mode = place.stat().st_mode
    place.chmod(0o000)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        place.chmod(mode)
