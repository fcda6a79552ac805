"""Processes of this machine: whether one has ended, and ending some. Not covered: which ones, and other users' (nobody may look at those)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

KILLED_SECONDS = 60  # until the kernel has taken a killed process away


def lives(process: psutil.Process) -> bool:
    """False for one that has ended, also where nobody has asked yet how.

    A killed process with threads is called a zombie as soon as its first thread has ended; the last one to end gives its ports back.
    """
    try:
        return bool(process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1))
    except psutil.AccessDenied:  # it is there, and another user's
        return True
    except psutil.Error:
        return False


def end(processes: Sequence[psutil.Process], *, patience_seconds: float = 0) -> None:
    """Ask the processes to end, and kill those that have not after the patience; returns when none is left."""
    if patience_seconds:
        for process in processes:
            with suppress(psutil.Error):
                process.terminate()
        processes = _left(processes, patience_seconds)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    _left(processes, KILLED_SECONDS)


def _left(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for the processes to end; returns those that have not in time."""
    until = time.monotonic() + seconds
    while (left := [one for one in processes if lives(one)]) and time.monotonic() < until:
        time.sleep(0.1)
    return left
