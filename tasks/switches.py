"""Switches that a library reads from the environment and from nowhere else, set for the length of a block.

Ray and MLflow can be told to report to nobody, Ray to listen on the loopback alone, and the tokenizers how many threads they have, by
environment variables only. The environment is written here and put back afterwards, or stays so in a worker's process; what this project
itself is told comes from `flows.settings`, never from here.

Not covered: threads of other work that start processes during the block; they inherit the variables, which do no harm there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ


@contextmanager
def switched(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the block, then put back what stood there before."""
    before = {name: environ.pop(name, None) for name in values}
    environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value


def switch(values: Mapping[str, str]) -> None:
    """Set variables for good, in a process that was started for one piece of work."""
    environ.update(values)
