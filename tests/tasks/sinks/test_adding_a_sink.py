"""The page on adding a sink is true: its file takes a night's alerts as it stands, its settings are accepted."""

import datetime as dt
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import tasks.sinks
from data_contracts.alerts import CONTRACT, Alert
from tasks.lake import Lake
from tasks.notify import notify
from tasks.plugins import configure

PAGE = (Path(__file__).parents[3] / "docs" / "adding_a_sink.md").read_text("utf-8")
NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_sink_of_the_page_takes_a_night_once_and_its_settings_are_allowed(tmp_path, monkeypatch) -> None:
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "folder.py").write_text(block("python"), "utf-8")
    monkeypatch.setattr(tasks.sinks, "__path__", [*tasks.sinks.__path__, str(tmp_path / "plugin")])
    lake = Lake.open(str(tmp_path / "lake"))
    alert = Alert(alert_key="m:s:2026-03-20", run_date=NIGHT, monitor="m", subject="s", severity="info", message="1 thing.",
                  article_ids=[], created_at=NOW, available_at=NOW)  # fmt: skip
    lake.commit({"alerts": CONTRACT.table([alert])}, night=NIGHT, run_id="run")
    given = {"folder": {"path": str(tmp_path / "spool")}}
    try:
        runs = [notify.fn(lake.root, night=NIGHT, now=NOW, sinks=given, cooldown_hours=1.0).sent for _ in range(2)]
        for name, settings in tomllib.loads(block("toml"))["alerting"]["sinks"].items():
            configure("tasks.sinks", name, settings)
    finally:
        sys.modules.pop("tasks.sinks.folder", None)
    assert runs == [1, 0]
    (file,) = (tmp_path / "spool").iterdir()
    assert json.loads(file.read_text("utf-8"))["message"] == "1 thing."


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tasks|tests)/[\w/]+\.py)`", PAGE)) - {"tasks/sinks/folder.py"})
)
def test_the_files_it_names_are_there(path: str) -> None:
    assert (Path(__file__).parents[3] / path).is_file()
