"""Watch the pipeline itself from the command line."""

from __future__ import annotations

import signal
from threading import Event, Thread
from typing import Annotated

import typer

from flows.commands.options import SettingsOption

EXAMPLES = "Examples:  nightdesk watchdog    nightdesk watchdog --server http://127.0.0.1:4200/api --every 60"


def watchdog(
    server: Annotated[
        str | None,
        typer.Option(help="The Prefect server's address; else PREFECT_API_URL, else this home's own while it runs."),
    ] = None,
    settings: SettingsOption = None,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 15,
) -> None:
    """Tell the sinks of nights that failed, crashed, are late or did not run, each once. `nightdesk up` keeps one running."""
    asked_to_stop, stop = {signal.SIGTERM, signal.SIGINT}, Event()
    # Waited for, and so never in the middle of a message: before anything is imported that starts threads, which inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, asked_to_stop)
    from flows.operate import logs
    from flows.operate.watchdog import Watchdog
    from flows.settings import find_file, inherited, load

    chosen = load(settings)
    logs.begin(chosen.operate.log_format)
    dog = Watchdog(chosen, server=server, file=find_file(settings, inherited()))
    watching = Thread(target=dog.watch, args=(stop,), kwargs={"every_seconds": every})
    watching.start()
    signal.sigwait(asked_to_stop)
    stop.set()
    watching.join()
