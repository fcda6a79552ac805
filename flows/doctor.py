"""`nightdesk doctor`: the settings held against the real world, and what to do about what is not as a night needs it.

Looks, never mends; what it writes to try a place is gone again when it returns. It opens no connection except to the feeds, servers and
stores that the settings name. With `send_test` every sink gets one message that says it is a test; with `deep` Ray is started.

The order is that of a night: the machine, the settings, the places, the models, the feeds, the sinks, the server that starts it, the clock
that all of them saw, and the last night that came of it. While this home's desk runs, the settings file is the one that it goes by; where it was
started with another pool or lake than file and environment say here, or at other addresses, that is found.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from flows import doctor_clock, doctor_models, doctor_news, doctor_places, doctor_server
from flows.findings import Finding, said
from flows.nights import last_ended
from flows.operate.server import file_for
from flows.operate.starting import OtherDesk
from flows.settings import Settings, find_file, load
from flows.wiring import refuse_unknown_plugins
from tasks.secrecy import struck_out

LOCK = Path(__file__).resolve().parents[1] / "constraints.txt"


def examine(
    settings_file: str | None, lake: str | None, *, send_test: bool = False, deep: bool = False
) -> Iterator[Finding]:
    """Look at everything a night needs, one after the other; never raises for what it finds, and shows no secret."""
    now = dt.datetime.now(dt.UTC)
    yield from _whatever("machine", _machine())
    try:
        given, settings_file = settings_file, file_for(settings_file)
        if given is None and settings_file is not None and (here := find_file(None, os.environ)) != Path(settings_file):
            found = f"{settings_file}, as long as the desk runs; `nightdesk run` would go by {here} here"
            remedy = f"`nightdesk down`, then `nightdesk up --settings {here}`, if that is meant"
            yield Finding(what="the desk's settings", good=False, found=found, remedy=remedy, needed=False)
    except OtherDesk as error:
        remedy = "what follows is about the file that was given"
        yield Finding(what="the desk's settings", good=False, found=str(error), remedy=remedy, needed=False)
    except Exception:  # found again below, where it belongs
        pass
    try:
        settings = load(settings_file, lake=lake)
    except Exception as error:  # a file that may not be read raises what the system says
        remedy = "mend the file or the variable it names"
        yield Finding(what="settings", good=False, found=said(error), remedy=remedy)
        return
    for finding in _whatever("settings", _of(settings, settings_file, now, send_test=send_test, deep=deep)):
        yield replace(finding, found=struck_out(finding.found), remedy=struck_out(finding.remedy))


def _whatever(what: str, part: Iterator[Finding]) -> Iterator[Finding]:
    """A part's findings; what it raises all the same is one too, and the parts after it are looked at."""
    try:
        yield from part
    except Exception as error:
        found = f"could not be looked at to the end: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        remedy = "mend what it names; where nothing is wrong with that, nightdesk is: report it"
        yield Finding(what=what, good=False, found=found, remedy=remedy)


def _of(
    settings: Settings, settings_file: str | None, now: dt.datetime, *, send_test: bool, deep: bool
) -> Iterator[Finding]:
    night = last_ended(now, settings.zone, settings.cutoff)
    found = f"{find_file(settings_file, os.environ)}; the last night that ended is {night}"
    yield Finding(what="settings", good=True, found=found)
    yield _plugins(settings)
    registry = True
    for finding in _whatever("places", doctor_places.examine(settings)):
        registry &= finding.good or finding.what != "database mlflow" or settings.tracking_uri is not None
        yield finding
    yield from _whatever("models", doctor_models.examine(settings, deep=deep, registry=registry))
    witnesses: list[doctor_clock.Witness] = []
    yield from _whatever("sources", doctor_news.sources(settings, night, witnesses))
    yield from _whatever("sinks", doctor_news.sinks(settings, night, now, send_test=send_test))
    yield from _whatever("server", doctor_server.examine(settings, now, witnesses))
    yield from _whatever("clock", doctor_clock.examine(settings, now, witnesses))
    yield from _whatever("last night", doctor_server.last_night(settings, night, now))


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    yield Finding(what="Python", good=right, found=version, remedy="" if right else "use Python 3.11")
    yield _packages()
    import torch

    gpus = torch.cuda.device_count()
    here = f"{gpus} GPU: {torch.cuda.get_device_name(0)}" if gpus else f"no GPU, {os.cpu_count()} CPUs"
    yield Finding(what="computing", good=True, found=f"torch {torch.__version__}, {here}")


def _packages() -> Finding:
    if not LOCK.is_file():
        found = "no constraints.txt is here to compare with: this is no checkout"
        remedy = "install with the constraints.txt of the checkout that the package was built from"
        return Finding(what="packages", good=False, found=found, remedy=remedy, needed=False)
    differing = list(_unlike_the_lock())
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
    return Finding(
        what="packages",
        good=not differing,
        found="; ".join(differing[:5]) + more if differing else "as locked",
        remedy="make install" if differing else "",
        needed=False,
    )


def _unlike_the_lock() -> Iterator[str]:
    """Packages whose installed version is not the locked one."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        try:
            wanted = Requirement(line)
            have = importlib.metadata.version(wanted.name)
        except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
            continue
        if not wanted.specifier.contains(have.partition("+")[0], prereleases=True):
            yield f"{wanted.name} is {have}, locked {wanted.specifier}"


def _plugins(settings: Settings) -> Finding:
    """Whether every name is known; in a lake in memory, since what is wrong with the desk's own is the lake's finding."""
    try:
        refuse_unknown_plugins(settings.model_copy(update={"lake": "memory://doctor"}))
        named = len(settings.sources) + len(settings.alerting.monitors) + len(settings.alerting.sinks)
        return Finding(what="plugins", good=True, found=f"{named} sources, monitors and sinks are known")
    except Exception as error:  # a plugin of one's own raises what it likes as it is imported
        return Finding(
            what="plugins", good=False, found=said(error), remedy="mend the name or the settings it is given"
        )
