"""What run pages are made of: steps that say what came of them, counts by source that agree, and no secret in a link.

The pages themselves are looked at in tests/flows/test_browser.py; here the same is read from the temporary server that the command line starts.
"""

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.artifacts import by_source, concluded, mlflow_link, page_link, totals
from flows.settings import load
from tasks.lake import Lake
from tasks.step import said_of, step
from tests.flows.conftest import NIGHTS, Desk
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures
NIGHT = NIGHTS[1]


@dataclass(frozen=True)
class Counted:
    rows: int

    @property
    def said(self) -> str:
        return f"{self.rows} rows"


def test_a_result_says_its_own_line_and_several_say_theirs_in_turn() -> None:
    assert said_of(Counted(3)) == "3 rows"
    assert said_of((Counted(3), Counted(4))) == "3 rows; 4 rows"
    assert said_of("report.html") == "report.html"
    assert said_of(None) is said_of(()) is said_of(7) is None


def test_outside_a_run_a_step_and_a_flow_give_their_plain_result() -> None:
    @step("count")
    def count(rows: int) -> Counted:
        return Counted(rows)

    assert count.fn(3) == Counted(3)
    assert concluded(Counted(3)) == Counted(3)


def test_links_name_no_user_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path))
    settings = load().model_copy(update={"tracking_uri": "https://desk:hunter2@mlflow.example"})
    assert mlflow_link(settings) == "https://mlflow.example"
    assert "hunter2" not in page_link(settings, "s3://key:hunter2@bucket/lake/_reports/2026-03-02/report.html")
    assert page_link(settings, str(tmp_path / "report.html")) == (tmp_path / "report.html").as_uri()
    assert mlflow_link(load()) is None


@pytest.fixture(scope="module")
def desk(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A night of the sample, run at the command line with a small model."""
    folder = tmp_path_factory.mktemp("pages")
    fresh = Desk(home=folder / "home", lake=folder / "lake", guard_log=folder / "outbound.log")
    done = fresh.run_nights(NIGHT, NIGHTDESK_SCORING__MODEL=str(tiny_bundle))
    assert done.returncode == 0, done.stderr[-4000:]
    return fresh


@pytest.fixture
def kept(desk: Desk) -> Iterator[sqlite3.Connection]:
    """What the temporary server of `nightdesk run` kept."""
    with closing(sqlite3.connect(f"file:{desk.home / 'prefect' / 'prefect.db'}?mode=ro", uri=True)) as connection:
        yield connection


@pytest.mark.slow
def test_counts_by_source_add_up(desk: Desk) -> None:
    *rows, everything = by_source(Lake.open(str(desk.lake)), dt.date.fromisoformat(NIGHT))
    for column in ("rows in", "of other nights", "repeated", "quarantined", "kept", "scored"):
        assert everything[column] == sum(int(row[column]) for row in rows), column
    for row in (*rows, everything):
        left_out = ("of other nights", "repeated", "quarantined", "kept")
        assert row["rows in"] == sum(int(row[column]) for column in left_out), row["source"]
        assert row["scored"] == row["kept"]
    alerts = Lake.open(str(desk.lake)).read("alerts", nights=[dt.date.fromisoformat(NIGHT)]).num_rows
    assert everything["alerts"] == alerts
    assert any(row["alerts"] for row in rows) == bool(alerts)


@pytest.mark.slow
def test_a_run_on_the_temporary_server_says_the_same_as_the_lake(desk: Desk, kept: sqlite3.Connection) -> None:
    said = kept.execute(
        "SELECT message FROM flow_run JOIN flow_run_state ON flow_run_state.id = flow_run.state_id WHERE flow_run.name = ?",
        (f"nightly {NIGHT}",),
    ).fetchall()
    lake = Lake.open(str(desk.lake))
    assert (f"night {NIGHT}: {totals(lake, dt.date.fromisoformat(NIGHT))}",) in said
    tables = kept.execute("SELECT data FROM artifact WHERE key = ?", (f"night-{NIGHT}-sources",)).fetchall()
    assert by_source(lake, dt.date.fromisoformat(NIGHT)) in [json.loads(json.loads(data)) for (data,) in tables]
    for name in ("ingest", "score"):
        (percent,) = kept.execute("SELECT data FROM artifact WHERE key = ?", (f"{name}-{NIGHT}-progress",)).fetchone()
        assert float(percent) == 100.0
