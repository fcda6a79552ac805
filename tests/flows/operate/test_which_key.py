"""The desk's key is sent to the desk alone, a user's own to the server that he names; what he chose is not overwritten.

And the desk's own server is changed by the desk's own settings file.
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import __version__
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows import settings as desk_settings
from flows.operate import places
from flows.operate.chosen import server_chosen
from flows.operate.places import Places
from flows.operate.server import connected, file_for
from flows.operate.starting import OtherDesk
from flows.settings import SAMPLE_SETTINGS, Settings, load, quiet
from tests.loopback import Answer, Site, serving

DESK = "nightdesk:key-of-the-desk"
OWN = "somebody:key-of-a-user"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        found.pages["/api/admin/version"] = Answer(body=f'"{__version__}"'.encode())
        yield found


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    places.folder(tmp_path / "home").mkdir(parents=True)
    places.auth_file(tmp_path / "home").write_text(f"{DESK}\n", encoding="utf-8")
    return load(str(SAMPLE_SETTINGS))


def desk_runs(monkeypatch: pytest.MonkeyPatch, home: Path, url: str) -> Places:
    """As far as the commands of this process can tell."""
    rest = dict.fromkeys(("lake", "pool", "ui_url", "pages_url", "mlflow_url"), "")
    desk = Places(home=str(home), settings_file=str(home / "desk.toml"), api_url=url, **rest)
    monkeypatch.setattr(places, "running", lambda _: desk)
    monkeypatch.setattr(desk_settings, "running", lambda _: desk)
    return desk


def sent(site: Site, settings: Settings, given: str | None, *, url: str | None, key: str | None) -> str | None:
    """The key that the site is sent where Prefect's own settings are these."""
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: key}), connected(given, settings):
        pass
    return site.asked[-1][1].get("authorization")


def basic(key: str) -> str:
    return "Basic " + b64encode(key.encode()).decode()


@pytest.mark.parametrize("running", [True, False])
def test_the_desks_key_is_not_sent_to_another_server_that_is_named(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    desk = "http://127.0.0.1:9/api"
    if running:
        desk_runs(monkeypatch, settings.home, desk)
    assert sent(site, settings, site.url, url=desk, key=DESK) is None
    assert sent(site, settings, site.url, url=None, key=None) is None


def test_the_desk_is_sent_its_key_where_the_user_has_none(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_runs(monkeypatch, settings.home, f"{site.url}/api")
    for given, url, key in ((None, None, None), (site.url, None, None), (None, f"{site.url}/api", DESK)):
        assert sent(site, settings, given, url=url, key=key) == basic(DESK)


def test_a_users_own_key_is_sent_to_the_server_that_he_names(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_runs(monkeypatch, settings.home, "http://127.0.0.1:9/api")
    assert sent(site, settings, site.url, url=None, key=OWN) == basic(OWN)
    assert sent(site, settings, None, url=f"{site.url}/api", key=OWN) == basic(OWN)
    assert sent(site, settings, None, url=f"{site.url}/api", key=DESK) == basic(DESK), "both are named together"


def test_what_the_environment_names_is_not_overwritten_while_a_desk_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_runs(monkeypatch, settings.home, "http://127.0.0.1:9/api")
    home = {"NIGHTDESK_HOME": str(settings.home), "PREFECT_PROFILES_PATH": str(settings.home / "none.toml")}
    plain, keyed, other = (
        dict(home),
        home | {"PREFECT_API_AUTH_STRING": OWN},
        home | {"PREFECT_API_URL": "http://a/api"},
    )
    for environ in (plain, keyed, other):
        quiet(environ)
    assert (plain["PREFECT_API_URL"], plain["PREFECT_API_AUTH_STRING"]) == (desk.api_url, DESK)
    assert (keyed["PREFECT_API_URL"], keyed["PREFECT_API_AUTH_STRING"]) == (desk.api_url, OWN)
    assert (other["PREFECT_API_URL"], other.get("PREFECT_API_AUTH_STRING")) == ("http://a/api", None)


def test_a_server_of_the_active_profile_goes_before_the_desk(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk_runs(monkeypatch, settings.home, "http://127.0.0.1:9/api")
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://a/api"\n[profiles.b]\n', encoding="utf-8"
    )
    environ = {"NIGHTDESK_HOME": str(settings.home), "PREFECT_HOME": str(tmp_path)}
    quiet(environ)
    assert "PREFECT_API_URL" not in environ
    assert "PREFECT_API_AUTH_STRING" not in environ
    assert not server_chosen(environ | {"PREFECT_PROFILE": "b"})


@pytest.mark.parametrize("text", ["", "active = [", 'profiles = "a"', 'active = "a"\n[profiles.b]'])
def test_profiles_that_name_no_server_choose_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "profiles.toml").write_text(text, encoding="utf-8")
    assert not server_chosen({"PREFECT_HOME": str(tmp_path)})


@pytest.fixture
def desk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A desk that runs with a settings file of its own; beside it is another file."""
    for name in ("desk.toml", "other.toml"):
        (settings.home / name).write_bytes(SAMPLE_SETTINGS.read_bytes())
    return desk_runs(monkeypatch, settings.home, "http://127.0.0.1:9/api")


def test_the_desks_server_is_changed_by_the_desks_own_settings_where_none_are_named(desk: Places) -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        assert file_for(None) == file_for(None, "http://127.0.0.1:9") == desk.settings_file
        assert file_for(desk.settings_file) == desk.settings_file
    with temporary_settings({PREFECT_API_URL: desk.api_url}):
        assert file_for(None) == desk.settings_file


@pytest.mark.parametrize("from_environment", [True, False])
def test_the_desks_server_is_not_changed_by_other_settings(
    desk: Places, monkeypatch: pytest.MonkeyPatch, from_environment: bool
) -> None:
    other = str(Path(desk.home) / "other.toml")
    if from_environment:
        monkeypatch.setenv("NIGHTDESK_SETTINGS", other)
    with temporary_settings({PREFECT_API_URL: None}):
        with pytest.raises(OtherDesk, match=r"goes by .*desk\.toml, given is .*other\.toml"):
            file_for(None if from_environment else other)
        assert file_for(desk.settings_file) == desk.settings_file


def test_another_server_is_changed_by_any_settings(desk: Places) -> None:
    other = str(Path(desk.home) / "other.toml")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:8/api"}):
        assert (file_for(None), file_for(other)) == (None, other)
    with temporary_settings({PREFECT_API_URL: None}):
        assert (file_for(None, "http://127.0.0.1:8"), file_for(other, "http://127.0.0.1:8")) == (None, other)
