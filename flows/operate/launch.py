"""How supervisord starts a program: what a killed predecessor left is ended first, what it needs is waited for, then it takes this process.

`python -m flows.operate.launch [--sweep HOME] [--await URL] NAME -- COMMAND...`. A killed MLflow leaves a child that keeps its port, so that its
successor could never start; a worker without a server gives up after a while. Waiting here has no end: supervision goes on until `down`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from flows.operate import leftovers
from flows.operate.probes import answers
from tasks import processes

POLL_SECONDS = 1.0


def launch(arguments: list[str]) -> None:
    """Become the command; never returns."""
    at = arguments.index("--")
    command = arguments[at + 1 :]
    parser = argparse.ArgumentParser(prog="flows.operate.launch", description="Start a supervised program.")
    parser.add_argument("--sweep", type=Path, metavar="HOME", help="end what a predecessor in this home left")
    parser.add_argument("--await", dest="url", help="wait until this URL answers")
    parser.add_argument("name")
    asked = parser.parse_args(arguments[:at])
    if asked.sweep:
        processes.end(leftovers.of_desk(asked.sweep, program=asked.name))
    while asked.url and not answers(asked.url):
        time.sleep(POLL_SECONDS)
    os.execv(command[0], command)


if __name__ == "__main__":
    launch(sys.argv[1:])
