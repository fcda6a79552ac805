"""What the registry says of a model's version, and how its words become ours. Knows no MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from data_contracts.errors import Fatal

GATE, DIGEST, SINCE, WITHDRAWN = "gate", "digest", "champion_since", "withdrawn"


class NoSuchModel(Fatal):
    """The registry has no model of that name."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One registered version of a task's model; `path` is its bundle, `gate` why it serves or does not.

    `since` is when it last became champion (ISO, UTC), `withdrawn` why it was taken back; empty where neither happened.
    """

    task: str
    version: int
    path: Path
    champion: bool
    gate: str
    digest: str
    metrics: Mapping[str, float]
    since: str = ""
    withdrawn: str = ""

    @property
    def name(self) -> str:
        """What `Registry.resolve` takes."""
        return f"{self.task}/{self.version}"


def version_of(task: str, found: Any, serving: object) -> Version:
    """MLflow's version as ours; `serving` is the number that the alias names."""
    prefix = "metric."
    return Version(
        task=task,
        version=int(found.version),
        path=local(str(found.source)),
        champion=str(found.version) == str(serving),
        gate=found.tags.get(GATE, ""),
        digest=found.tags.get(DIGEST, ""),
        since=found.tags.get(SINCE, ""),
        withdrawn=found.tags.get(WITHDRAWN, ""),
        metrics={
            name.removeprefix(prefix): float(value) for name, value in found.tags.items() if name.startswith(prefix)
        },
    )


def local(uri: str) -> Path:
    """The directory of an artifact address; only local and shared directories are served from."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise NoSuchModel(f"the model's files are at {uri}; allowed: a local or shared directory")
    return Path(unquote(parts.path))


def model_name(task: str) -> str:
    """What MLflow calls the model of a task."""
    return f"nightdesk-{task}"


def plain(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "_", name)
