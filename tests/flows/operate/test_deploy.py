"""`nightdesk deploy` against a real server: everything is there, a second time changes nothing, and what is gone from the file goes."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from flows.operate.declared import FILE, DeclarationRefused, declared
from flows.operate.server import ServerRefused, ServerUnreachable, address, connected
from flows.sections import Operate
from flows.settings import Settings, load
from tests.flows.operate.bare import KEY, Bare, bare_server
from tests.loopback import Answer, serving
from tests.waiting import until

SECRET = "tok3n-of-the-hook"
SETTINGS = f"""
timezone = "Europe/Berlin"
[[sources]]
name = "files"
kind = "csv"
location = "{{night}}.csv"
timezone = "UTC"
[operate]
schedule = "5 23 * * *"
[alerting.sinks.apprise.urls]
desk = "json://127.0.0.1:9/{SECRET}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with bare_server(tmp_path_factory.mktemp("deploy")) as bare:
        (bare.folder / "nightdesk.toml").write_text(SETTINGS, encoding="utf-8")
        yield bare


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "desk.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return load(str(path))


def held(server: Bare, end: dt.datetime) -> dict[str, Any]:
    """Everything on the server that a deploy could change, without the times at which it was looked at or written.

    Runs are those until an end: whenever the first of a schedule becomes due, the server adds one to the last.
    """
    soon = {"flow_runs": {"expected_start_time": {"before_": end.isoformat()}}}
    return {
        "pools": server.post("/work_pools/filter", {}),
        "queues": [_still(one) for one in server.post("/work_pools/nightdesk/queues/filter", {})],
        "deployments": [_still(one) for one in server.post("/deployments/filter", {"sort": "NAME_ASC"})],
        "automations": server.post("/automations/filter", {}),
        "blocks": server.post("/block_documents/filter", {"include_secrets": True}),
        "variables": server.post("/variables/filter", {}),
        "runs": sorted(one["id"] for one in server.post("/flow_runs/filter", soon)),
    }


def _still(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in ("last_polled", "status", "updated")}


def scheduled(server: Bare) -> set[str]:
    """The deployments that the server has made runs for; those of one come at once, but it may look between two deployments."""
    names = {one["id"]: one["name"] for one in server.post("/deployments/filter", {})}
    asked = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return {names[one["deployment_id"]] for one in server.post("/flow_runs/filter", asked)}


@pytest.mark.slow
def test_a_second_deploy_changes_nothing_and_says_so(server: Bare) -> None:
    first = server.call("deploy")
    assert first.returncode == 0, first.stderr
    assert "made" in first.stdout
    until(lambda: scheduled(server) == {"nightly", "retrain", "cleanup"}, server.logs)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    before = held(server, end)
    assert before["runs"]
    second = server.call("deploy")
    assert second.returncode == 0, second.stderr
    assert "made" not in second.stdout
    assert "changed" not in second.stdout.replace("unchanged", "")
    assert held(server, end) == before
    assert not [text for text in (first.stdout, first.stderr, second.stdout) if SECRET in text or KEY in text]
    names = [one["name"] for one in before["automations"]]
    assert len(names) == len(set(names)) == 4
    limits = {one["name"]: one["concurrency_limit"] for one in before["queues"]}
    assert (limits["writers"], limits["models"], limits["chores"]) == (1, 1, None)


@pytest.mark.slow
def test_the_next_nights_are_scheduled_at_the_settings_time_in_their_zone(server: Bare) -> None:
    assert server.call("deploy").returncode == 0
    asked = {
        "deployments": {"name": {"any_": ["nightly"]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    runs = until(lambda: server.post("/flow_runs/filter", asked), server.logs)
    local = [
        dt.datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Europe/Berlin")) for run in runs
    ]
    assert {(moment.hour, moment.minute) for moment in local} == {(23, 5)}
    days = [moment.date() for moment in local]
    assert [b - a for a, b in itertools.pairwise(days)] == [dt.timedelta(days=1)] * (len(days) - 1)
    assert "nightdesk" in runs[0]["tags"], "the watchdog finds runs by the tag of their deployment"


@pytest.mark.slow
def test_a_wrong_parameter_is_refused_with_the_field_named(server: Bare) -> None:
    assert server.call("deploy").returncode == 0
    found = server.get("/deployments/name/nightly/nightly")
    answer = server.ask("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": {"by": "moon"}})
    assert answer.status_code == 409
    assert "by" in answer.json()["detail"]
    assert "moon" in answer.json()["detail"]


@pytest.mark.slow
def test_what_is_gone_from_the_file_goes_and_what_is_somebody_elses_stays(server: Bare, settings: Settings) -> None:
    assert server.call("deploy").returncode == 0
    before = {one["name"]: one for one in server.post("/deployments/filter", {})}
    theirs = server.post("/automations/", _automation("mine"))
    like_ours = server.post("/automations/", _automation("nightdesk: mine"))
    flow = server.post("/flows/", {"name": "theirs"})
    server.post(
        "/deployments/", {"name": "theirs", "flow_id": flow["id"], "entrypoint": "a.b", "work_pool_name": "nightdesk"}
    )
    server.post(f"/deployments/{before['cleanup']['id']}/pause_deployment", {})
    by_hand = {
        "schedule": {"interval": 3600, "timezone": "UTC"},
        "active": False,
        "parameters": {"night": "2026-03-02"},
    }
    server.post(f"/deployments/{before['nightly']['id']}/schedules", [by_hand])
    written = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    written["deployments"] = [one for one in written["deployments"] if one["name"] != "search"]
    nightly = next(one for one in written["deployments"] if one["name"] == "nightly")
    del nightly["schedules"]
    changed = server.folder / "changed.yaml"
    changed.write_text(yaml.safe_dump(written), encoding="utf-8")
    without_sink = server.folder / "without.toml"
    without_sink.write_text(SETTINGS[: SETTINGS.index("[alerting")], encoding="utf-8")

    done = server.call("deploy", "--file", str(changed), "--settings", str(without_sink))
    assert done.returncode == 0, done.stderr
    after = {one["name"]: one for one in server.post("/deployments/filter", {})}
    assert set(before) - set(after) == {"search"}
    assert "theirs" in after
    (stays,) = after["nightly"]["schedules"]
    assert (stays["slug"], stays["schedule"]["interval"], stays["active"]) == (None, 3600, False)
    assert stays["parameters"] == by_hand["parameters"]
    assert after["nightly"]["id"] == before["nightly"]["id"]
    assert after["cleanup"]["paused"], "what a person has paused stays paused"
    automations = {one["id"]: one["name"] for one in server.post("/automations/filter", {})}
    assert {theirs["id"], like_ours["id"]} <= set(automations)
    assert "nightdesk: the watchdog is silent" not in automations.values()
    blocks = server.post("/block_documents/filter", {})
    assert not [one for one in blocks if one["name"].startswith("nightdesk-place-")]

    again = server.call("deploy")
    assert again.returncode == 0, again.stderr
    restored = {one["name"]: one for one in server.post("/deployments/filter", {})}
    assert {one["schedule"].get("cron") for one in restored["nightly"]["schedules"]} == {"5 23 * * *", None}
    third = server.call("deploy").stdout.replace("unchanged", "")
    assert "changed" not in third
    assert "made" not in third
    for one in restored["nightly"]["schedules"]:
        if one["slug"] is None:
            server.ask("DELETE", f"/deployments/{before['nightly']['id']}/schedules/{one['id']}").raise_for_status()
    assert restored["cleanup"]["paused"]
    server.post(f"/deployments/{before['cleanup']['id']}/resume_deployment", {})


def _automation(name: str) -> dict[str, Any]:
    trigger = {"type": "event", "posture": "Reactive", "expect": ["a.b"], "threshold": 1, "within": 0}
    return {"name": name, "trigger": trigger, "actions": [{"type": "do-nothing"}]}


@pytest.mark.slow
def test_a_server_that_cannot_be_used_is_named_with_what_to_do(server: Bare, settings: Settings) -> None:
    refused = server.call("deploy", PREFECT_API_AUTH_STRING="desk:wrong")
    assert refused.returncode == 1
    assert "PREFECT_API_AUTH_STRING" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "wrong" not in refused.stderr
    with (
        pytest.raises(ServerUnreachable, match="no Prefect server answers"),
        connected("http://127.0.0.1:9/api", settings),
    ):
        pass


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(body=b"<html>a shop</html>"), "is no Prefect API"),
        (Answer(status=404), "is no Prefect API"),
        (Answer(status=401), "PREFECT_API_AUTH_STRING"),
        (Answer(body=b'"3.1.4"'), "an older version"),
        (Answer(body=b'"4.0.0"'), "a newer version"),
    ],
    ids=["a page", "nothing", "a key", "older", "newer"],
)
def test_another_program_or_version_is_refused(answer: Answer, said: str, settings: Settings) -> None:
    with serving() as site:
        site.pages["/api/admin/version"] = answer
        with pytest.raises(ServerRefused, match=said), connected(site.url, settings):
            pass


def test_an_address_may_leave_out_the_api_and_must_not_hold_a_key() -> None:
    assert address("http://127.0.0.1:4200") == address("http://127.0.0.1:4200/api/") == "http://127.0.0.1:4200/api"
    for wrong in ("127.0.0.1:4200", "ftp://127.0.0.1", ""):
        with pytest.raises(ServerRefused, match="is no address"):
            address(wrong)
    with pytest.raises(ServerRefused) as refused:
        address("http://desk:hidden@127.0.0.1:4200/api")
    assert "hidden" not in str(refused.value)


def test_the_file_holds_the_settings_defaults_and_the_settings_go_before_it(settings: Settings) -> None:
    written = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    crons = {
        one["slug"]: one["cron"] for deployment in written["deployments"] for one in deployment.get("schedules", ())
    }
    assert (crons["nightly"], crons["retrain"]) == (Operate().schedule, Operate().retrain)
    assert written["definitions"]["pool"]["name"] == Operate().pool
    found = {one.slug: one for deployment in declared(settings).deployments for one in deployment.schedules}
    assert (found["nightly"].cron, found["nightly"].timezone) == ("5 23 * * *", "Europe/Berlin")
    assert (found["retrain"].cron, found["retrain"].timezone) == (Operate().retrain, "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("deployments: []", "definitions"),
        ("definitions: {pool: {name: a}, queues: {w: {priority: 0}}}", "Queue.priority"),
    ],
    ids=["broken", "no pool", "a queue"],
)
def test_a_wrong_file_is_refused_with_the_place_named(text: str, said: str, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DeclarationRefused, match=said):
        declared(settings, tmp_path / "wrong.yaml")
