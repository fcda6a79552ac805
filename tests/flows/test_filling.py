"""What a night of a backfill is published with when it is looked at again, and how soon a cancelled one stops; without models and servers."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.quarantine import CONTRACT as QUARANTINE
from data_contracts.scores import CONTRACT as SCORES
from flows import steps
from flows.filling import Filling
from flows.plan import Todo
from flows.settings import Settings, load
from flows.steps import NightRun
from tasks.context import Cancelled, until
from tasks.deal import placed
from tasks.fetch import Fetcher, Limits
from tasks.ingest import Ingested
from tasks.lake import Lake
from tasks.pool import Pool
from tasks.sources import json
from tests.rows import scored_article
from tests.tasks.test_watch import NIGHT, NOW, rows

SETTINGS = """
home = "home"
lake = "lake"
[alerting.monitors]
negative_surge = { min_stories = 2 }
[[sources]]
name = "wire"
kind = "json"
location = "wire.jsonl"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "desk.toml"
    file.write_text(SETTINGS)
    return load(str(file), lake=str(tmp_path / "lake"))


def test_a_night_looked_at_again_names_the_models_that_scored_it_whatever_is_champion_now(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("watch", "validate_alerts", "publish"):
        monkeypatch.setattr(steps, name, getattr(steps, name).fn)
    lake = Lake.open(settings.lake)
    before = rows(NIGHT - dt.timedelta(days=1), 1)
    lake.commit(before, night=NIGHT - dt.timedelta(days=1), run_id="before")
    of_model = {NOW - dt.timedelta(hours=1): "older", NOW: "newer"}
    scored = [
        scored_article(at, article_id=digest, run_date=NIGHT, model_digest=digest) for at, digest in of_model.items()
    ]
    tables = rows(NIGHT, 9) | {"scored_articles": SCORES.table(scored)}
    for name, table in (tables | {"quarantine": QUARANTINE.empty(), "daily_entity_sentiment": DAILY.empty()}).items():
        lake.stage(NIGHT).write(name, table)
    run = NightRun(settings=settings, night=NIGHT, now=NOW, run_id="first")
    assert run.publish().changed
    assert lake.read("alerts", nights=[NIGHT])["model_digest"].to_pylist() == ["newer"]
    published_at = lake.commits()[-1].time
    for name in ("articles", "source_counts", "alerts"):
        for moment in lake.read(name, nights=[NIGHT])["available_at"].to_pylist():
            assert NOW < moment <= published_at, f"{name}: available when it is published, not when the run began"
    lake.stage(NIGHT).clear()
    for name in ("articles", "source_counts"):
        lake.stage(NIGHT).write(name, lake.read(name, nights=[NIGHT]))
    again = replace(run, now=NOW + dt.timedelta(days=1), run_id="again")
    assert again.restage()
    assert not again.publish().changed


def test_what_is_made_ready_stops_after_the_step_at_hand(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read, judged = [], []
    nights = [NIGHT, NIGHT + dt.timedelta(days=1)]
    pool = cast(Pool, SimpleNamespace(bundles=()))
    filling = Filling(settings, pool, run_id="run", by_time=False, rescore=False)

    def ingest(run: NightRun, **given: object) -> Ingested:
        read.append(run.night)
        with filling:  # left when a run is cancelled
            pass
        return cast(Ingested, None)

    monkeypatch.setattr(NightRun, "ingest", ingest)
    monkeypatch.setattr(NightRun, "validate", lambda run, **given: judged.append(run.night))
    filling.prepare([Todo(night=night) for night in nights])
    assert (read, judged) == ([NIGHT], [])


def test_a_cancelled_backfill_leaves_the_document_at_hand(settings: Settings, tmp_path: Path) -> None:
    lines = "".join(f'{{"title": "story {number}", "published": "2026-03-20T08:00:00Z"}}\n' for number in range(50))
    (tmp_path / "wire.jsonl").write_text(lines, encoding="utf-8")
    filling = Filling(settings, cast(Pool, SimpleNamespace(bundles=())), run_id="run", by_time=True, rescore=False)
    filling._stop.set()
    assert filling.prepare([Todo(night=NIGHT)]) == []
    with until(filling._stop), pytest.raises(Cancelled):
        list(placed(settings.sources[0], json.read(settings.sources[0], Fetcher(Limits())), beside=True))
