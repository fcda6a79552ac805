"""Scoring several nights ahead: the articles that wait in their staging areas are scored together, before each night is finished.

Scoring is the expensive part of a night and depends on nothing but the night's own articles, so nights can share it: a pool of actors that
is never idle between two nights of a group, and models that are opened once a group on Ray, once in all in this process. The results lie in
the nights' own shards, where `tasks.score` finds them, also after a run that was killed. A night whose articles change in between is scored
again by `tasks.score`.

Not covered: everything about a night that depends on the nights before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from models.batching import drawn
from tasks.backends import TEXTS
from tasks.lake import Lake
from tasks.pool import Pool
from tasks.score import Work
from tasks.step import step


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """How many articles of how many nights are scored now, in how many shards, and where: "nothing", "process" or "ray"."""

    nights: int
    rows: int
    shards: int
    where: str

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{self.rows} articles of {self.nights} nights in {self.shards} shards ({self.where})"


@step("score nights")
def score_nights(lake_url: str, *, nights: Sequence[dt.date], pool: Pool, rescore: Collection[dt.date] = ()) -> Ahead:
    """Score what is staged for `nights` and not scored yet, each as a whole; those of `rescore` also where they have scores."""
    lake = Lake.open(lake_url)
    work = {night: Work.of(lake, night, pool.digest, rescore=night in rescore, whole=True) for night in nights}
    shards = [shard for night, one in work.items() for shard in one.shards(lake.stage(night), pool.cluster)]
    where = "nothing"
    if shards:
        model = pool.model(lambda: _sample(work.values()), None)
        where = pool.finish(shards, model)
    rows = sum(shard.rows for shard in shards)
    return Ahead(nights=len(nights), rows=rows, shards=len(shards), where=where)


def _sample(work: Iterable[Work]) -> list[str]:
    """Texts of all nights, evenly drawn."""
    texts = [text for one in work for text in one.sample()]
    return [texts[place] for place in drawn(range(len(texts)), TEXTS)]
