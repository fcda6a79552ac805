"""Wait for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 400  # of a machine that does five other things


def until(
    true: Callable[[], Any], said: Callable[[], object] = str, *, seconds: float = PATIENCE_SECONDS, pause: float = 0.3
) -> Any:
    """Wait until it is true; returns what it gave. Fails the test after so many seconds, with what `said` tells then."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s: {said()}"
        time.sleep(pause)
    return found
