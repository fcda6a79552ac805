"""The page on adding a monitor is true: its file runs as it stands, its settings are accepted."""

import datetime as dt
import re
import sys
import tomllib
from pathlib import Path

import pytest

import tasks.monitors
from data_contracts.article import CONTRACT, Article
from tasks.lake import Lake
from tasks.plugins import names
from tasks.watch import watch

PAGE = (Path(__file__).parents[3] / "docs" / "adding_a_monitor.md").read_text("utf-8")
NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_monitor_of_the_page_runs(tmp_path, monkeypatch) -> None:
    (tmp_path / "long_silence.py").write_text(block("python"), "utf-8")
    monkeypatch.setattr(tasks.monitors, "__path__", [*tasks.monitors.__path__, str(tmp_path)])
    assert "long_silence" in names("tasks.monitors")
    lake = Lake.open(str(tmp_path / "lake"))
    old = NOW - dt.timedelta(hours=13)
    article = Article(article_id="a", version=1, content_hash="h", run_date=NIGHT, source="wire", title="t", published_at=old,
                      first_seen_at=NOW, available_at=NOW, repeats=0, row_id="r")  # fmt: skip
    lake.stage(NIGHT).write("articles", CONTRACT.table([article]))
    monitors = tomllib.loads(block("toml"))["alerting"]["monitors"]
    try:
        partition = watch.fn(lake.root, night=NIGHT, now=NOW, monitors=monitors, model_digest=None)
    finally:
        sys.modules.pop("tasks.monitors.long_silence", None)
    assert partition.rows == 1
    (alert,) = lake.stage(NIGHT).read("alerts").to_pylist()
    assert alert["message"] == "The newest article of the night is 13 hours old; the limit is 12."


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tasks|tests)/[\w/]+\.py)`", PAGE)) - {"tasks/monitors/long_silence.py"})
)
def test_the_files_it_names_are_there(path: str) -> None:
    assert (Path(__file__).parents[3] / path).is_file()
