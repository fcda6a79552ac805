"""Raises an alert when far more is written about an entity tonight than usual, whatever the tone.

The count is the number of distinct stories tonight that mention the entity; it surges when it is at least `min_stories` and its robust
z-score against the entity's own last nights is at least `min_z` (both in prose in `tasks.surge` and `tasks.baseline`). It asks for more
history and volume than `negative_surge`, since being written about is less of an event. Not covered: the whole feed growing at once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from data_contracts.alerts import Alert
from tasks.monitors import NightView
from tasks.surge import surge_alerts


@dataclass(frozen=True, kw_only=True)
class Config:
    """When volume is a surge.

    Attributes:
        nights: earlier nights that make the baseline; those that exist count.
        min_nights: earlier nights without which nothing is raised.
        min_stories: stories about the entity tonight without which nothing is raised.
        min_z: least robust z-score; from twice this on the alert is a warning, below it is for information.
    """

    nights: int = 28
    min_nights: int = 3
    min_stories: int = 10
    min_z: float = 3.0


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """One alert for each entity whose volume surges tonight, the strongest first."""
    return surge_alerts(view, config, now, monitor="volume_surge", sentiment=None, usual="info", grave="warning")
