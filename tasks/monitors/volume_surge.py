"""Raises an alert when far more is written about an entity tonight than usual, whatever the tone.

The count is the number of distinct stories tonight that mention the entity; it surges when it is at least `min_stories` and its robust
z-score against the entity's own last nights is at least `min_z` (both in prose in `tasks.surge` and `tasks.baseline`). It asks for more
history and volume than `negative_surge`, since being written about is less of an event. Not covered: the whole feed growing at once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from data_contracts.alerts import Alert
from tasks.monitors import NightView, raised
from tasks.surge import surges


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
    found = surges(
        view,
        sentiment=None,
        nights=config.nights,
        min_nights=config.min_nights,
        min_stories=config.min_stories,
        min_z=config.min_z,
    )
    past = len(view.nights(config.nights))
    return [
        raised(
            view,
            now,
            monitor="volume_surge",
            subject=surge.entity,
            severity="warning" if surge.z >= 2 * config.min_z else "info",
            message=(
                f"News about {surge.display_name} surged: {surge.stories} stories ({surge.articles} articles) tonight; the median "
                f"of the last {past} nights is {surge.baseline.median:g} (robust z {surge.z:.1f})."
            ),
            value=float(surge.stories),
            baseline=surge.baseline.median,
            threshold=max(float(config.min_stories), surge.baseline.count_at(config.min_z)),
            article_ids=surge.article_ids,
            of_model=True,
        )
        for surge in found
    ]
