"""`nightdesk doctor`: what is installed, found and writable, and what to do about what is not.

Looks, never mends. It opens no connection except to the feeds and servers that the settings name.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from data_contracts.errors import NightdeskError
from data_contracts.labels import NIGHT_TASKS
from flows.nights import last_ended
from flows.settings import Settings, find_file, load
from flows.wiring import refuse_unknown_plugins

MIN_FREE_GIB = 5.0
LOCK = Path(__file__).resolve().parents[1] / "constraints.txt"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `needed` says whether a night can run without it."""

    what: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = True


def examine(settings_file: str | None, lake: str | None) -> list[Finding]:
    """Look at everything a night needs; never raises for what it finds."""
    findings = list(_machine())
    try:
        settings = load(settings_file, lake=lake)
    except NightdeskError as error:
        return [
            *findings,
            Finding(what="settings", good=False, found=str(error), remedy="mend the file or the variable it names"),
        ]
    night = last_ended(dt.datetime.now(dt.UTC), settings.zone, settings.cutoff)
    findings.append(
        Finding(
            what="settings",
            good=True,
            found=f"{find_file(settings_file, os.environ)}; the last night that ended is {night}",
        )
    )
    return [
        *findings,
        *_plugins(settings),
        *_places(settings),
        *_trunk(),
        *_champions(settings),
        *_sources(settings, night),
    ]


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    yield Finding(what="Python", good=right, found=version, remedy="" if right else "use Python 3.11")
    differing = list(_unlike_the_lock())
    yield Finding(
        what="packages",
        good=not differing,
        found="as locked"
        if not differing
        else "; ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else ""),
        remedy="" if not differing else "make install",
        needed=False,
    )
    import torch

    gpus = torch.cuda.device_count()
    found = f"torch {torch.__version__}, " + (
        f"{gpus} GPU: {torch.cuda.get_device_name(0)}" if gpus else f"no GPU, {os.cpu_count()} CPUs"
    )
    yield Finding(what="computing", good=True, found=found)


def _unlike_the_lock() -> Iterator[str]:
    """Packages whose installed version is not the locked one."""
    if not LOCK.is_file():
        return
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        try:
            wanted = Requirement(line)
            have = importlib.metadata.version(wanted.name)
        except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
            continue
        if not wanted.specifier.contains(have.partition("+")[0], prereleases=True):
            yield f"{wanted.name} is {have}, locked {wanted.specifier}"


def _plugins(settings: Settings) -> Iterator[Finding]:
    try:
        refuse_unknown_plugins(settings)
        named = len(settings.sources) + len(settings.alerting.monitors) + len(settings.alerting.sinks)
        yield Finding(what="plugins", good=True, found=f"{named} sources, monitors and sinks are known")
    except NightdeskError as error:
        yield Finding(what="plugins", good=False, found=str(error), remedy="mend the name or the settings it is given")


def _places(settings: Settings) -> Iterator[Finding]:
    yield _writable("home", settings.home)
    if "://" in settings.lake:
        yield _remote_lake(settings.lake)
    else:
        yield _writable("lake", Path(settings.lake))
    free = shutil.disk_usage(_existing(settings.home)).free / 2**30
    roomy = free >= MIN_FREE_GIB
    remedy = "" if roomy else f"keep {MIN_FREE_GIB:.0f} GiB free"
    yield Finding(what="disk", good=roomy, found=f"{free:.0f} GiB free", remedy=remedy, needed=False)


def _existing(path: Path) -> Path:
    """The path or its nearest parent that is there."""
    return next(p for p in (path, *path.parents) if p.exists())


def _writable(what: str, path: Path) -> Finding:
    folder = _existing(path)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding(
                what=what, good=True, found=f"{path}, writable" + ("" if folder == path else " (not made yet)")
            )
    except OSError as error:
        return Finding(
            what=what,
            good=False,
            found=f"{path}: {error.strerror}",
            remedy="give this user the right to write there, or name another place",
        )


def _remote_lake(url: str) -> Finding:
    from tasks.lake import Lake

    try:
        nights = Lake.open(url).nights("articles")
        return Finding(what="lake", good=True, found=f"{url}: {len(nights)} published nights")
    except Exception as error:
        return Finding(
            what="lake", good=False, found=f"{url}: {error}", remedy="check the URL, the credentials and the endpoint"
        )


def _trunk() -> Iterator[Finding]:
    from models.encoder import DEFAULT_TRUNK, locate

    try:
        found = locate(DEFAULT_TRUNK)
        yield Finding(what="trunk", good=True, found=f"{DEFAULT_TRUNK}: {found}, hash as published")
    except NightdeskError as error:
        yield Finding(what="trunk", good=False, found=str(error), remedy="make install")


def _champions(settings: Settings) -> Iterator[Finding]:
    from models.bundle import load as load_bundle
    from tasks.registry import Registry

    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    for task in NIGHT_TASKS:
        try:
            path = registry.champion(task)
            found = (
                f"digest {load_bundle(path).digest[:12]}"
                if path
                else "none yet: the next night fine-tunes one on the shipped sample"
            )
            remedy = "" if path else f"nightdesk finetune --task {task}"
            yield Finding(what=f"champion {task}", good=path is not None, found=found, remedy=remedy, needed=False)
        except Exception as error:
            yield Finding(
                what=f"champion {task}",
                good=False,
                found=f"{type(error).__name__}: {error}",
                remedy="nightdesk finetune registers a new one",
            )


def _sources(settings: Settings, night: dt.date) -> Iterator[Finding]:
    """Ask each source for its first row, as a night would."""
    from tasks.fetch import Fetcher, Limits
    from tasks.hosts import redacted
    from tasks.sources import Delivered, reader

    for source in settings.sources_of(night):
        limits = Limits(
            timeout_seconds=source.timeout_seconds, max_bytes=source.max_bytes, allow_private=source.allow_private
        )
        fetcher = Fetcher(limits)
        try:
            first = next(iter(reader(source.kind)(source, fetcher)), None)
            good = isinstance(first, Delivered) and first.parse_error is None
            found = (
                "delivers"
                if good
                else str(getattr(first, "error", None) or getattr(first, "parse_error", None) or "is empty")
            )
        except NightdeskError as error:
            good, found = False, str(error)
        finally:
            fetcher.close()
        remedy = "" if good else "a night goes on without it, and says so"
        yield Finding(
            what=f"source {source.name}",
            good=good,
            found=f"{redacted(source.location)}: {found}",
            remedy=remedy,
            needed=False,
        )
