"""Raises an alert when an entity has far more negative news tonight than it usually has.

The count is the number of distinct stories tonight whose articles are negative and mention the entity; it surges when it is at least
`min_stories` and its robust z-score against the entity's own last nights is at least `min_z` (both in prose in `tasks.surge` and
`tasks.baseline`). One earlier night is enough; without any, nothing is raised. Not covered: the sentiment towards the entity itself where
an article names several; the article's sentiment stands for all of them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from data_contracts.alerts import Alert
from tasks.monitors import NightView
from tasks.surge import surge_alerts


@dataclass(frozen=True, kw_only=True)
class Config:
    """When negative news is a surge.

    Attributes:
        nights: earlier nights that make the baseline; those that exist count.
        min_nights: earlier nights without which nothing is raised.
        min_stories: negative stories about the entity tonight without which nothing is raised.
        min_z: least robust z-score; from twice this on the alert is critical.
    """

    nights: int = 28
    min_nights: int = 1
    min_stories: int = 5
    min_z: float = 3.0


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """One alert for each entity whose negative news surges tonight, the strongest first."""
    return surge_alerts(
        view, config, now, monitor="negative_surge", sentiment="negative", usual="warning", grave="critical"
    )
