"""Freed memory, given back to the system: what is scored chunk by chunk for hours must not leave the process larger with each.

glibc keeps what was freed in every thread's arena, in holes between what is still held, and its peak creeps up by some 100 bytes a row. Does
nothing where the C library has no `malloc_trim` (musl, macOS, Windows), whose allocators do so by themselves.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Ask the allocator for all whole pages that nobody holds; some milliseconds."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return None
