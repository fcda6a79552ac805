"""What a server is to hold of ours, read from deployments/prefect.yaml and composed with the settings; nothing is asked of a server here.

The file is Prefect's own, so that `prefect deploy` reads it too; under `definitions` it also says the pool's type and the queues with their
limits. The pool's name, the time zone of all schedules, and when the schedules named `nightly` and `retrain` are due come from the settings.
Not covered: Prefect's build, push and pull steps. A worker runs the installed package, in a checkout or an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.errors import Fatal
from flows.settings import PACKAGE, Settings

IN_A_WHEEL = PACKAGE / "operate" / "prefect.yaml"
FILE = IN_A_WHEEL if IN_A_WHEEL.is_file() else PACKAGE.parent / "deployments" / "prefect.yaml"
TAG = "nightdesk"  # every deployment of ours has it, and so has each of their runs
NIGHTLY = "nightly"  # the name of a night's flow, of its deployment and of its schedule


class DeclarationRefused(Fatal):
    """The file of deployments is not there or says something that is not allowed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Queue(_Part):
    """A work queue of the pool."""

    priority: int = Field(ge=1)
    concurrency_limit: int | None = Field(None, ge=1)
    description: str = ""


class Pool(_Part):
    """The pool's type; its name comes from the settings."""

    name: str
    type: str = "process"


class Schedule(_Part):
    """When a deployment runs by itself; `slug` tells it from another of the same deployment."""

    cron: str
    timezone: str
    slug: str
    active: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict)


class PoolOf(_Part):
    """Where a deployment's runs wait, and the variables of their job."""

    name: str
    work_queue_name: str
    job_variables: dict[str, Any] = Field(default_factory=dict)


class Deployment(_Part):
    """One deployment."""

    name: str
    entrypoint: str
    description: str
    work_pool: PoolOf
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Pool, queues by name, and deployments, as the settings have them; `version` is the package's."""

    pool: Pool
    queues: Mapping[str, Queue]
    deployments: tuple[Deployment, ...]
    version: str


def declared(settings: Settings, file: Path = FILE) -> Declared:
    """What the file says, under the settings.

    Raises:
        DeclarationRefused: there is no such file, or it says something that is not allowed; the text names the place.
    """
    try:
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeclarationRefused(
            f"the deployments in {file} cannot be read: {error.strerror}; name the checkout's deployments/prefect.yaml with --file"
        ) from None
    except yaml.YAMLError as error:
        raise DeclarationRefused(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    try:
        definitions = written["definitions"]
        pool = Pool(**definitions["pool"]).model_copy(update={"name": settings.operate.pool})
        queues = {name: Queue(**queue) for name, queue in definitions["queues"].items()}
        deployments = tuple(_composed(Deployment(**one), settings) for one in written["deployments"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([error.title, *map(str, first["loc"])])
        raise DeclarationRefused(f"{file}: {where}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DeclarationRefused(
            f"{file}: {error}; needed are `definitions` with pool and queues, and `deployments`"
        ) from None
    if strays := sorted({one.work_pool.work_queue_name for one in deployments} - set(queues)):
        raise DeclarationRefused(f"{file}: no queue {', '.join(strays)}; there are {', '.join(queues)}")
    return Declared(pool=pool, queues=queues, deployments=deployments, version=version("nightdesk"))


def _composed(one: Deployment, settings: Settings) -> Deployment:
    """The deployment with the settings' pool and times, and our tag."""
    crons = {NIGHTLY: settings.operate.schedule, "retrain": settings.operate.retrain}
    times = [
        schedule.model_copy(update={"cron": crons.get(schedule.slug, schedule.cron), "timezone": settings.timezone})
        for schedule in one.schedules
    ]
    pool = one.work_pool.model_copy(update={"name": settings.operate.pool})
    return one.model_copy(
        update={"schedules": tuple(times), "work_pool": pool, "tags": tuple(dict.fromkeys((TAG, *one.tags)))}
    )
