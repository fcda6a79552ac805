"""No secret is told: a night with one in every place that can hold one, and everything it leaves searched for them."""

import datetime as dt
import inspect
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from data_contracts.errors import Fatal, Retriable
from flows import settings as desk_settings
from tasks import secrecy
from tasks.hosts import redacted
from tasks.secrecy import keep, struck_out, unspoken
from tests.flows.conftest import Desk, settled
from tests.flows.test_forms import DEPLOYMENTS
from tests.loopback import Answer, Site, serving
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

NIGHT = "2026-03-02"
PLACES = (
    "QUERY",
    "USER",
    "PATH",
    "GOOD_PATH",
    "LOCAL",
    "SINK_PASSWORD",
    "SINK_PATH",
    "SINK_FILE",
    "DATABASE",
    "TRACKING",
)
SECRETS = {f"SECRET_{place}": f"sentinel+{place.lower().replace('_', '.')}!" for place in PLACES}
LITERAL = "sentinel-written-in-the-file"


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Secrets of one test are none of the next."""
    factory = logging.getLogRecordFactory()
    monkeypatch.setattr(secrecy, "_kept", ())
    yield
    logging.setLogRecordFactory(factory)


def settings_of(folder: Path, site: Site, bundle: Path) -> str:
    port = site.url.rpartition(":")[2]
    return f"""
        tracking_uri = "http://desk:${{SECRET_TRACKING}}@127.0.0.1:{port}"
        [operate]
        database = "postgresql://desk:${{SECRET_DATABASE}}@127.0.0.1:1"
        [limits]
        max_failed_share = 0.5
        [scoring]
        model = "{bundle}"
        [[sources]]
        name = "query"
        kind = "rss"
        location = "{site.url}/gone?key=${{SECRET_QUERY}}&other={LITERAL}"
        allow_private = true
        [[sources]]
        name = "user"
        kind = "rss"
        location = "http://{LITERAL}:${{SECRET_USER}}@127.0.0.1:{port}/gone"
        allow_private = true
        [[sources]]
        name = "path"
        kind = "rss"
        location = "{site.url}/${{SECRET_PATH}}/broken.xml"
        allow_private = true
        [[sources]]
        name = "refused"
        kind = "rss"
        location = "{site.url}/${{SECRET_PATH}}/refused.xml"
        [[sources]]
        name = "good"
        kind = "json"
        location = "{site.url}/${{SECRET_GOOD_PATH}}/good.jsonl"
        allow_private = true
        [[sources]]
        name = "local"
        kind = "csv"
        location = "{folder}/${{SECRET_LOCAL}}/gone.csv"
        [alerting.monitors.source_failed]
        [alerting.sinks.jsonl]
        path = "/proc/${{SECRET_SINK_FILE}}/alerts.jsonl"
        [alerting.sinks.apprise]
        urls = {{ desk = "json://desk:${{SECRET_SINK_PASSWORD}}@127.0.0.1:1/${{SECRET_SINK_PATH}}/x" }}
    """


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a night said and left."""

    said: str
    returncode: int
    folder: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Told:
    folder = tmp_path_factory.mktemp("secrets")
    desk = Desk(home=folder / "home", lake=folder / "lake", guard_log=folder / "outbound.log")
    row = {"body": "bolt losses", "published": f"{NIGHT}T12:00:00Z"}
    rows = [
        row | {"title": f"acme said {word}", "url": f"https://news.example/{word}"}
        for word in ("profit", "fraud", "growth")
    ]
    rows.append(rows[0] | {"published": "soon"})
    with serving() as site:
        site.pages[f"/{SECRETS['SECRET_PATH']}/broken.xml"] = Answer(body=b"<rss><channel>")
        delivered = "\n".join(map(json.dumps, rows)).encode()
        site.pages[f"/{SECRETS['SECRET_GOOD_PATH']}/good.jsonl"] = Answer(body=delivered)
        (folder / "desk.toml").write_text(settings_of(folder, site, tiny_bundle))
        done = desk.call(
            "run", "--night", NIGHT, "--settings", str(folder / "desk.toml"), PREFECT_LOGGING_LEVEL="DEBUG",
            PREFECT_LOGGING_ROOT_LEVEL="DEBUG", PREFECT_LOGGING_TO_API_ENABLED="true", **SECRETS,
        )  # fmt: skip
    return Told(said=done.stdout + done.stderr, returncode=done.returncode, folder=folder)


def texts_of(path: Path) -> Iterator[str]:
    """What is written in a file: a Parquet file's rows, and its bytes."""
    if path.suffix == ".parquet":
        yield json.dumps(pq.read_table(path, partitioning=None).to_pylist(), default=str)
    yield path.read_bytes().decode("utf-8", "replace")


@pytest.mark.slow
def test_the_night_met_every_trouble_that_could_tell_a_secret(told: Told) -> None:
    assert told.returncode == 1
    assert "AlertsUndelivered" in told.said
    table = told.folder / "lake" / "source_counts" / f"night={NIGHT}" / "part-0.parquet"
    counts = {row["source"]: row for row in pq.read_table(table, partitioning=None).to_pylist()}
    assert {name for name, row in counts.items() if row["failed"]} == {"query", "user", "path", "refused", "local"}
    assert counts["good"]["articles"] == 3
    assert "/***/refused.xml" in counts["refused"]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("secret", [*SECRETS.values(), LITERAL])
def test_what_the_night_says_holds_no_secret(told: Told, secret: str) -> None:
    found = [line for line in told.said.splitlines() if secret in line]
    assert not found, found[:3]


@pytest.mark.slow
def test_nothing_that_the_night_leaves_holds_a_secret(told: Told) -> None:
    """The lake, the home with Prefect's database (logs, parameters, states, artifacts), the report."""
    files = [path for path in settled(told.folder) if path.name != "desk.toml"]
    assert {".parquet", ".db", ".html"} <= {path.suffix for path in files}
    secrets = [*SECRETS.values(), LITERAL]
    found = [
        f"{path.relative_to(told.folder)}: {text[max(0, text.index(secret) - 100) :][:200]!r}"
        for path in files
        for text in texts_of(path)
        for secret in secrets
        if secret in text
    ]
    assert not found, "\n".join(found[:5])
    databases = [text for path in files if path.suffix == ".db" for text in texts_of(path)]
    assert any("/***/refused.xml" in text for text in databases), "the log is in Prefect's database"


def test_a_secret_is_struck_out_of_logs_whoever_writes_them_and_of_their_tracebacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(["pass/word+1"])
    logger = logging.getLogger("somebody.else")
    try:
        raise ConnectionError("https://host/pass%2Fword%2B1/feed")
    except ConnectionError:
        logger.exception("asked %s", "https://host/pass/word+1/feed")
    (record,) = caplog.records
    assert record.getMessage() == "asked https://host/***/feed"
    assert record.exc_text is not None
    assert record.exc_text.endswith("ConnectionError: https://host/***/feed")
    assert "word" not in caplog.text


def test_an_error_keeps_its_class_and_loses_the_secret_in_it_and_in_its_causes() -> None:
    class Away(Retriable):
        pass

    def asked() -> None:
        try:
            raise ValueError("hunter22 is wrong")
        except ValueError as error:
            raise Away("no answer from hunter22") from error

    keep(["hunter22"])
    with pytest.raises(Away, match=r"^no answer from \*\*\*$") as caught, unspoken():
        asked()
    assert str(caught.value.__cause__) == "*** is wrong"


def test_an_error_whose_text_cannot_be_changed_becomes_one_of_ours() -> None:
    keep(["hunter22"])
    with pytest.raises(Fatal, match=r"^FileNotFoundError: .*'/\*\*\*/x'$") as caught, unspoken():
        Path("/hunter22/x").read_bytes()
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_what_ends_a_flow_holds_no_secret_when_it_becomes_the_state_of_its_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
    body = inspect.unwrap(flow.fn)

    def refuse(*given: object, **named: object) -> None:
        raise ConnectionError("API request to http://desk:hunter22@127.0.0.1:9/api/2.0 failed")

    for called in {"quiet", "load"} & set(body.__globals__):
        monkeypatch.setitem(body.__globals__, called, refuse)
    keep(["hunter22"])
    with pytest.raises(ConnectionError, match=r"desk:\*\*\*@127"):
        flow.fn(**{one.name: None for one in inspect.signature(body).parameters.values() if one.default is one.empty})


def test_a_flow_still_takes_its_parameters_as_its_signature_types_them() -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(DEPLOYMENTS["backfill"]["entrypoint"])
    taken = flow.validate_parameters({"first": "2026-03-02", "last": "2026-03-03", "nights_at_once": "4"})
    assert (taken["first"], taken["nights_at_once"]) == (dt.date(2026, 3, 2), 4)


def test_a_secret_inside_another_is_struck_out_after_it() -> None:
    keep(["hunter", "hunter22"])
    assert struck_out("hunter22 hunter") == "*** ***"


def test_short_values_are_in_every_text_and_stay() -> None:
    keep(["a", ""])
    assert struck_out("a night") == "a night"


def test_the_settings_keep_what_they_read_as_a_secret_and_the_passwords_of_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('[[sources]]\nname = "a"\nkind = "rss"\nlocation = "https://a.example/${FEED_TOKEN}/feed"\n')
    monkeypatch.setenv("FEED_TOKEN", "token-of-the-feed")
    monkeypatch.setenv("NIGHTDESK_OPERATE__DATABASE", "postgresql://desk:pa%40ss-word@db.example:5432")
    settings = desk_settings.load(str(file))
    assert redacted(settings.sources[0].location) == "https://a.example/***/feed"
    assert struck_out("pa@ss-word pa%40ss-word") == "*** ***"


@pytest.mark.parametrize("written", ["pa#ss-word", "pa/ss-word", "pa%2Fss-word"])
@pytest.mark.parametrize("name", ["NIGHTDESK_OPERATE__DATABASE", "NIGHTDESK_TRACKING_URI", "NIGHTDESK_LAKE"])
def test_a_password_in_an_address_is_kept_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, written: str
) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('[[sources]]\nname = "a"\nkind = "rss"\nlocation = "a.xml"\n')
    monkeypatch.setenv(name, f"postgresql://desk:{written}@a.example:5432")
    desk_settings.load(str(file))
    assert struck_out(f"({written})") == "(***)"
