"""The doctor finds and never falls over what it finds: places that it may not enter, sources and clocks that break, people who are not told."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.retrain  # noqa: F401  (what is imported later is imported by nobody, who may not read it)
import tasks.sources.json  # noqa: F401
from flows import doctor, doctor_clock, doctor_models, doctor_news, doctor_places, doctor_server
from flows.doctor import examine
from flows.findings import Finding
from flows.settings import Settings
from tests.flows.conftest import WIRE, Made
from tests.shutting import shut

NOW = dt.datetime(2026, 3, 3, 12, 0, tzinfo=dt.UTC)
NIGHT = dt.date(2026, 3, 2)
APPRISE = '[alerting.sinks.apprise]\nurls = {{ desk = "{url}" }}\n'
JSONL = '[alerting.sinks.jsonl]\npath = "_alerts/alerts.jsonl"\n'


def found_by(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


# Places


def test_a_home_and_a_lake_below_a_folder_that_may_not_be_entered_are_found(made: Made, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    settings = made(top=f'lake = "{closed / "lake"}"', home=closed / "home")
    with shut(closed):
        found = found_by(doctor_places.examine(settings))
    for place in ("home", "lake"):
        assert (found[place].good, found[place].needed) == (False, True)
        assert str(closed / place) in found[place].found
    assert "Permission denied" in found["home"].found
    assert "right to write" in found["home"].remedy
    assert "disk" not in found, "the room below cannot be seen, and the places' own findings say why"


def test_a_place_that_no_file_system_takes_is_found_and_the_other_is_looked_at(made: Made, tmp_path: Path) -> None:
    settings = made(top=f'lake = "{tmp_path / "lake"}"', home=tmp_path / ("h" * 300) / "home")
    found = found_by(doctor_places.examine(settings))
    assert not found["home"].good
    assert "File name too long" in found["home"].found
    assert found["lake"].good
    assert "free for lake" in found["disk"].found


def test_a_disk_whose_room_cannot_be_asked_stops_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: object) -> object:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(doctor_places.shutil, "disk_usage", stale)
    found = found_by(doctor_places.examine(made()))
    assert found["home"].good
    assert "disk" not in found


def test_a_database_s_driver_that_breaks_is_found(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(url: object) -> object:
        raise RuntimeError("the driver broke\nand says more")

    monkeypatch.setattr(doctor_places, "connection", broken)
    settings = made(f'{WIRE}[operate]\ndatabase = "postgresql://desk@127.0.0.1:9"\n')
    found = found_by(doctor_places.examine(settings))
    assert found["database mlflow"].found == "RuntimeError: the driver broke"
    assert found["database mlflow"].needed


# Models


def test_a_labelled_folder_that_may_not_be_entered_is_found(made: Made, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    settings = made(f'{WIRE}[operate]\nlabelled = "{closed / "labelled"}"\n')
    with shut(closed):
        found = doctor_models._labelled(settings)
    assert (found.good, found.needed) == (False, False)
    assert "Permission denied" in found.found
    assert "operate.labelled" in found.remedy


def test_a_labelled_folder_of_a_user_whom_nobody_knows_is_found(made: Made) -> None:
    found = doctor_models._labelled(made(f'{WIRE}[operate]\nlabelled = "~no-such-user/labelled"\n'))
    assert (found.good, found.needed) == (False, False)
    assert "~no-such-user/labelled" in found.found


def test_a_trunk_that_cannot_be_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(name: str) -> Path:
        raise PermissionError(13, "Permission denied", "model.safetensors")

    monkeypatch.setattr("models.encoder.locate", unreadable)
    found = doctor_models._trunk()
    assert (found.good, found.remedy) == (False, "make install")
    assert "model.safetensors" in found.found


def test_without_room_for_a_temporary_folder_the_model_is_a_finding(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**given: object) -> object:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(doctor_models.tempfile, "TemporaryDirectory", full)
    monkeypatch.setattr(doctor_models, "_champions", lambda settings: iter(()))
    found = found_by(doctor_models._serving(made()))
    assert not found["model"].good
    assert "No usable temporary directory" in found["model"].found
    assert "TMPDIR" in found["model"].remedy


# Feeds and their clocks


def test_a_source_below_a_folder_that_may_not_be_entered_is_found(made: Made, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    settings = made(f'[[sources]]\nname = "wire"\nkind = "json"\nlocation = "{closed}/in/wire.jsonl"\n')
    with shut(closed):
        found = found_by(doctor_news.sources(settings, NIGHT, []))["source wire"]
    assert (found.good, found.needed) == (False, False)
    assert str(closed) in found.found


def test_a_reader_that_breaks_is_found_and_the_next_source_is_asked(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object) -> Iterator[object]:
        raise ZeroDivisionError("an odd feed")

    monkeypatch.setattr(doctor_news, "reader", lambda kind: breaks)
    found = found_by(doctor_news.sources(made(WIRE + WIRE.replace("wire", "second")), NIGHT, []))
    for name in ("source wire", "source second"):
        assert found[name].found.endswith(": ZeroDivisionError"), "its text may hold a key of the feed's address"
        assert not found[name].needed


@pytest.mark.parametrize("zone", ["+99999999999999", "+9999", "-0000", "nowhere"])
def test_a_server_whose_date_is_absurd_is_no_witness(zone: str) -> None:
    assert not list(doctor_clock.witness("feed", {"date": f"Mon, 02 Mar 2026 12:00:00 {zone}"}))


# Who is told


@pytest.mark.parametrize("sinks", [JSONL, JSONL + "[alerting.sinks.apprise]\nurls = {}\n"])
def test_a_desk_whose_alerts_only_stand_in_a_file_is_told_so(made: Made, sinks: str) -> None:
    found = found_by(doctor_news.sinks(made(WIRE + sinks), NIGHT, NOW, send_test=False))
    assert found["sink jsonl"].good
    assert (found["people"].good, found["people"].needed) == (False, False)
    assert "watchdog" in found["people"].found
    assert "[alerting.sinks.apprise]" in found["people"].remedy


@pytest.mark.parametrize("others", ["", JSONL])
def test_a_desk_with_a_place_for_people_is_not(made: Made, others: str) -> None:
    settings = made(WIRE + others + APPRISE.format(url="json://127.0.0.1:9/desk"))
    assert "people" not in found_by(doctor_news.sinks(settings, NIGHT, NOW, send_test=False))


def test_a_desk_without_any_sink_is_told_so_once(made: Made) -> None:
    assert list(found_by(doctor_news.sinks(made(), NIGHT, NOW, send_test=False))) == ["sinks"]


# The whole


def test_a_settings_file_that_may_not_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_machine", lambda: iter(()))
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "desk.toml").write_text(WIRE, encoding="utf-8")
    with shut(closed):
        findings = list(examine(str(closed / "desk.toml"), None))
    assert findings[-1].what == "settings"
    assert not findings[-1].good
    assert "Permission denied" in findings[-1].found


def test_a_settings_file_of_a_user_whom_nobody_knows_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_machine", lambda: iter(()))
    findings = list(examine("~no-such-user/desk.toml", None))
    assert findings[-1].what == "settings"
    assert not findings[-1].good


def test_whatever_a_part_raises_is_a_finding_without_secrets_and_the_parts_after_it_are_looked_at(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hunter2-is-no-password"
    monkeypatch.setenv("DESK_SECRET", secret)
    made(f'{WIRE}[alerting.sinks.apprise]\nurls = {{ desk = "json://127.0.0.1:9/${{DESK_SECRET}}" }}\n')

    def breaks(*given: object, **more: object) -> Iterator[Finding]:
        yield Finding(what="before", good=True, found="looked at")
        raise ZeroDivisionError(f"with {secret}")

    for module in (doctor_places, doctor_models, doctor_clock, doctor_server):
        monkeypatch.setattr(module, "examine", breaks)
    for module, part in ((doctor_news, "sources"), (doctor_news, "sinks"), (doctor_server, "last_night")):
        monkeypatch.setattr(module, part, breaks)
    found = [one for one in examine(str(tmp_path / "desk.toml"), None) if "ZeroDivisionError" in one.found]
    assert [one.what for one in found] == ["places", "models", "sources", "sinks", "server", "clock", "last night"]
    assert all(one.needed and not one.good for one in found)
    assert secret not in str(found)


def test_a_plugin_of_one_s_own_that_cannot_be_imported_is_a_finding(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(settings: Settings) -> None:
        raise SyntaxError("invalid syntax in tasks/sinks/own.py")

    monkeypatch.setattr(doctor, "refuse_unknown_plugins", breaks)
    found = doctor._plugins(made())
    assert (found.good, found.needed) == (False, True)
    assert "tasks/sinks/own.py" in found.found


def test_the_lock_and_the_machine_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*given: object) -> Iterator[str]:
        raise PermissionError(13, "Permission denied", "constraints.txt")
        yield ""

    monkeypatch.setattr(doctor, "_unlike_the_lock", unreadable)
    found = found_by(examine("no-such.toml", None))
    assert "constraints.txt" in found["machine"].found
    assert not found["settings"].good
