"""Settings come from one file and the environment, and what is wrong is said."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from flows.settings import SAMPLE_SETTINGS, Settings, SettingsRefused, default_home, find_file, load, quiet
from flows.wiring import refuse_unknown_plugins

GOOD = """
timezone = "Europe/London"
[[sources]]
name = "wire"
kind = "rss"
location = "feeds/wire.{night}.xml"
"""


def write(folder: Path, text: str) -> str:
    path = folder / "desk.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_shipped_samples_settings_load() -> None:
    assert load(str(SAMPLE_SETTINGS)).sources


def test_prefect_is_not_imported_where_no_schedule_is_set() -> None:
    """It takes a second, and what the environment says of it must be set before."""
    script = f"import sys; from flows.settings import load; load({str(SAMPLE_SETTINGS)!r}); sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_the_example_settings_load() -> None:
    assert load(str(Path(__file__).parents[2] / "deployments" / "nightdesk.example.toml")).alerting.sinks


def test_a_relative_location_is_read_from_the_files_folder_and_names_the_night(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    assert settings.sources_of(dt.date(2026, 3, 2))[0].location == str(tmp_path / "feeds" / "wire.2026-03-02.xml")


def test_the_call_goes_before_the_environment_and_the_environment_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, f'lake = "{tmp_path}/a"\nkeep_raw = false\n{GOOD}')
    assert load(path).lake == f"{tmp_path}/a"
    monkeypatch.setenv("NIGHTDESK_LAKE", f"{tmp_path}/b")
    monkeypatch.setenv("NIGHTDESK_KEEP_RAW", "true")
    monkeypatch.setenv("NIGHTDESK_LIMITS__LOOKBACK_NIGHTS", "5")
    settings = load(path)
    assert (settings.lake, settings.keep_raw, settings.limits.lookback_nights) == (f"{tmp_path}/b", True, 5)
    assert load(path, lake="memory://c").lake == "memory://c"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("timezone = [", "is not TOML"),
        (GOOD + 'colour = "red"\n', "colour"),
        ("colour = 1\n" + GOOD, "colour"),
        (GOOD.replace("Europe/London", "Mars/Olympus"), "Mars/Olympus"),
        (GOOD + GOOD.partition("\n")[2].partition("\n")[2], "two sources are named wire"),
        ("timezone = 'UTC'\n", "sources"),
        (
            "[limits]\nmax_failed_share = 2\n" + GOOD.replace('timezone = "Europe/London"', ""),
            "limits.max_failed_share",
        ),
        (GOOD + '[alerting.sinks.apprise]\nurls = ["${NO_SUCH_SECRET}"]\n', "NO_SUCH_SECRET"),
        (GOOD + '[operate]\nschedule = "15 25 * * *"\n', r"operate\.schedule: .*no cron; allowed are .*15 25"),
        (GOOD + '[operate]\nretrain = "weekly"\n', r"operate\.retrain: .*no cron; allowed are .*weekly"),
        (GOOD + "[operate]\npages_port = 4200\n", "server_port, mlflow_port and pages_port are 4200, 5000, 4200"),
        (GOOD + "[operate]\nkeep_runs_days = 3\n", r"operate\.keep_runs_days: .*greater than or equal to 4"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsRefused, match=named):
        load(write(tmp_path, text))


def test_a_secret_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_HOOK", "json://localhost/x")
    settings = load(write(tmp_path, GOOD + '[alerting.sinks.apprise]\nurls = ["${DESK_HOOK}"]\n'))
    assert settings.alerting.sinks["apprise"]["urls"] == ["json://localhost/x"]


def test_a_secret_is_not_shown_with_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_HOOK", "sEcReT12345")
    for wrong in (
        '[alerting]\nsinks = "${DESK_HOOK}"\n',
        '[alerting.sink.apprise]\nurls = "${DESK_HOOK}"\n',
        'timezone = "${DESK_HOOK}"\n',
    ):
        text = wrong + GOOD.replace('timezone = "Europe/London"', "") if wrong.startswith("time") else GOOD + wrong
        with pytest.raises(SettingsRefused) as refused:
            load(write(tmp_path, text))
        assert "sEcReT12345" not in str(refused.value)


def test_a_misspelt_variable_is_refused_with_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_CUTOF", "21:00")
    with pytest.raises(SettingsRefused, match="did you mean NIGHTDESK_CUTOFF"):
        load(write(tmp_path, GOOD))


def test_a_relative_lake_in_the_file_starts_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(write(tmp_path, 'lake = "mine"\n' + GOOD)).lake == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[alerting.monitors.mood]\n", "mood"),
        ("[alerting.sinks.slak]\n", "slak"),
        ("[alerting.sinks.jsonl]\ncolour = 1\n", "colour"),
    ],
)
def test_an_unknown_plugin_is_refused_before_a_night_begins(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Fatal, match=named):
        refuse_unknown_plugins(load(write(tmp_path, GOOD + text), lake=str(tmp_path / "lake")))


def test_an_unknown_kind_of_source_is_refused_before_a_night_begins(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="fax"):
        refuse_unknown_plugins(load(write(tmp_path, GOOD.replace('"rss"', '"fax"')), lake=str(tmp_path / "lake")))


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="is not there"):
        find_file(str(tmp_path / "no.toml"), {})


def test_the_home_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = default_home({})
    monkeypatch.chdir(tmp_path)
    assert default_home({}) == before
    assert default_home({"NIGHTDESK_HOME": str(tmp_path)}) == tmp_path


def test_statistics_are_off_unless_the_user_set_them() -> None:
    environ = {"RAY_USAGE_STATS_ENABLED": "1", "PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    quiet(environ)
    assert environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert environ["DO_NOT_TRACK"] == "1"
    assert "PREFECT_HOME" not in environ


def test_the_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    assert isinstance(settings, Settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.keep_raw = True  # type: ignore[misc]
