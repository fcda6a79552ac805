"""Before a night begins: every plugin that the settings name is there and takes the settings it is given; and what a backend is held against.

A name that is only resolved when it is used would cost a scored night before it is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from data_contracts.labels import TASKS
from flows.settings import SAMPLE, Settings
from tasks import notify, watch
from tasks.backends import BackendConfig
from tasks.lake import Lake
from tasks.sources import reader


def refuse_unknown_plugins(settings: Settings) -> None:
    """Resolve the sources' kinds, the monitors and the sinks; nothing is read, sent or written.

    Raises:
        Fatal: a name has no file, or its own settings are not allowed; the text lists what there is.
    """
    for source in settings.sources:
        reader(source.kind)
    watch.prepare(settings.alerting.monitors)
    notify.prepare(settings.alerting.sinks, Lake.open(settings.lake))


def backend_of(
    settings: Settings, name: str | None = None, *, dev: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> BackendConfig:
    """What computes the models, `name` or as the settings say, held against float32 on dev files by task, where none are given the shipped ones."""
    labelled: dict[str, tuple[Path, ...]] = {task: (SAMPLE / "labelled" / f"{task}.dev.jsonl",) for task in TASKS}
    labelled.update({task: tuple(map(Path, paths)) for task, paths in dev.items()})
    return BackendConfig(name=name or settings.scoring.backend, labelled=labelled, cache=settings.home)
