"""`nightdesk status`: what of a running desk runs, since when, where, and whether it works. It changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from flows.operate import places, supervised
from flows.operate.probes import works


@dataclass(frozen=True, kw_only=True)
class Health:
    """A program; `state` is supervisord's, or SILENT for one that runs and does not work (`flows.operate.probes`)."""

    name: str
    state: str
    pid: int
    uptime_seconds: float
    url: str
    answers: bool

    def fields(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def health(home: Path) -> list[Health]:
    """Every program that is kept running in this home; none where nothing is."""
    where, found = places.recall(home), supervised.states(home)
    urls = {} if where is None else {"server": where.ui_url, "mlflow": where.mlflow_url, "pages": where.pages_url}
    told = []
    for one in found.values():
        good = where is not None and works(where, one)
        state = "SILENT" if one.state == "RUNNING" and not good else one.state
        told.append(
            Health(
                name=one.name,
                state=state,
                pid=one.pid,
                uptime_seconds=one.uptime_seconds,
                url=urls.get(one.name, ""),
                answers=good,
            )
        )
    return told
