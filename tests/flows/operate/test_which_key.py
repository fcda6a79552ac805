"""The desk's key is sent to the desk alone, a user's own to the server that he names; what he chose is not overwritten.

And the desk's own server is changed by the desk's own settings file.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prefect import __version__
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows import settings as desk_settings
from flows.commands.deploy import deploy
from flows.operate import places, server
from flows.operate.chosen import server_chosen
from flows.operate.places import Places
from flows.operate.server import ServerRefused, ServerUnreachable, address, connected, file_for
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


def test_each_name_of_the_loopback_means_the_desk_that_listens_there(
    site: Site, settings: Settings, desk: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = site.url.rpartition(":")[2]
    desk_runs(monkeypatch, settings.home, f"{site.url}/api")
    for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        url = f"http://{name}:{port}"
        assert sent(site, settings, url, url=None, key=None) == basic(DESK)
        assert sent(site, settings, None, url=f"{url}/api", key=None) == basic(DESK)
        assert file_for(None, url) == str(settings.home / "desk.toml")


@pytest.mark.parametrize(
    ("desk_at", "given"),
    [
        ("http://192.0.2.1:{port}/api", "http://localhost:{port}"),
        ("http://127.0.0.2:{port}/api", "http://localhost:{port}"),
        ("https://127.0.0.1:{port}/api", "http://localhost:{port}"),
        ("http://127.0.0.1:9/api", "http://localhost:{port}"),
        ("http://127.0.0.1:{port}/other", "http://localhost:{port}"),
    ],
    ids=["elsewhere", "beside", "scheme", "port", "path"],
)
def test_a_desk_that_does_not_listen_on_the_loopback_there_is_not_meant_by_its_names(
    desk_at: str, given: str, site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = site.url.rpartition(":")[2]
    desk_runs(monkeypatch, settings.home, desk_at.format(port=port))
    assert sent(site, settings, given.format(port=port), url=None, key=None) is None


@pytest.mark.parametrize("wrong", ["http://localhost:port", "http://localhost:70000", "http://[::1", "http://a:0"])
def test_an_address_whose_host_or_port_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ServerRefused, match="is no address"):
        address(wrong)
    with pytest.raises(ServerRefused) as refused:
        address(wrong.replace("://", "://desk:hidden@"))
    assert "hidden" not in str(refused.value)


def test_deploy_says_which_server_it_changes_and_loudly_where_it_is_not_the_desks(
    desk: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "http://127.0.0.1:8/api"
    monkeypatch.setattr(places, "running", lambda _: replace(desk, pool="nightdesk"))
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(ServerUnreachable):
        deploy()
    assert f"deploying to {desk.api_url}: the desk that runs in {desk.home}" in (said := capsys.readouterr().err)
    assert "not to the desk" not in said
    with temporary_settings({PREFECT_API_URL: other}):
        with pytest.raises(ServerUnreachable):
            deploy()
        assert f"deploying to {other}: named by the active Prefect profile" in (said := capsys.readouterr().err)
        assert f"not to the desk that runs here: the desk that runs in {desk.home} has its own server" in said
        assert f"--server {desk.api_url}" in said
        monkeypatch.setenv("PREFECT_API_URL", other)
        assert server.choose(None, Path(desk.home)).why == "named by PREFECT_API_URL of the environment"
        assert server.choose("http://127.0.0.1:7", Path(desk.home)).why == "named by --server"


def test_the_desks_server_is_given_no_work_for_a_pool_from_which_its_worker_takes_none(
    desk: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "running", lambda _: replace(desk, pool="started-with"))
    with temporary_settings({PREFECT_API_URL: None}):
        with pytest.raises(OtherDesk, match="for the pool started-with, given is nightdesk") as refused:
            deploy()
        assert "NIGHTDESK_OPERATE__POOL" in str(refused.value)
        monkeypatch.setenv("NIGHTDESK_OPERATE__POOL", "started-with")
        with pytest.raises(ServerUnreachable):
            deploy()
    monkeypatch.delenv("NIGHTDESK_OPERATE__POOL")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:8/api"}), pytest.raises(ServerUnreachable):
        deploy()
