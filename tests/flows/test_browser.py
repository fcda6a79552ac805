"""The forms and the run pages as a person meets them: a desk that runs, its Prefect UI in a real browser, no network beyond the loopback.

Each deployment's form is drawn, filled in and submitted; what was typed must be what the run is given. A wrong value must be shown at its field
and start nothing. One night is started from its form and must complete, with a page that says what happened. With the variable SCREENSHOTS
naming a folder, the pictures of docs/ are taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.by import By

from tests.flows.browsing import PROGRAMS, PROPERTY, Api, Ui, browser, redrawn
from tests.flows.operate.running import RunningDesk, desk_at, running
from tests.flows.test_forms import DEPLOYMENTS, form_of
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NIGHT = "2026-03-02"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[RunningDesk]:
    """A desk that runs, with everything deployed; a small model scores its nights."""
    if missing := sorted(name for name, path in PROGRAMS.items() if path is None):
        pytest.skip(f"needs {' and '.join(missing)} on the path (Debian: apt install chromium chromium-driver)")
    home = tmp_path_factory.mktemp("browser") / "home"
    with running(desk_at(home, NIGHTDESK_SCORING__MODEL=str(tiny_bundle))) as desk:
        done = desk.call("deploy")
        assert done.returncode == 0, done.stderr[-4000:]
        yield desk


@pytest.fixture(scope="module")
def api(desk: RunningDesk) -> Iterator[Api]:
    with desk.client() as client:
        yield Api(client=client)


@pytest.fixture(scope="module")
def deployments(api: Api) -> dict[str, str]:
    """The id of each deployment; the queues are paused, so that what the forms start is created and not run."""
    for queue in api.filter("/work_pools/nightdesk/queues"):
        api.pause(queue["name"], is_paused=True)
    return {one["name"]: one["id"] for one in api.filter("/deployments")}


@pytest.fixture(scope="module")
def ui(desk: RunningDesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with browser(desk, tmp_path_factory.mktemp("profile")) as one:
        yield one


@redrawn
def assert_drawn(ui: Ui, field: dict[str, Any], model: dict[str, Any]) -> None:
    drawn = ui.field(field.get("title") or model["title"])
    said = " ".join(field["description"].split(":")[0].split())  # a browser breaks lines where it likes
    assert said in drawn.text
    if field.get("format") == "date":
        assert drawn.find_elements(By.CSS_SELECTOR, "input[type=date]")
    if choices := field.get("enum"):
        assert set(choices) <= {one.text for one in drawn.find_elements(By.TAG_NAME, "option")}
    for inner in model.get("properties", {}).values():
        assert inner["title"] in drawn.text


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_form_draws_every_parameter_with_its_title_and_description(
    ui: Ui, deployments: dict[str, str], name: str
) -> None:
    ui.open(f"/deployments/deployment/{deployments[name]}/run", PROPERTY)
    schema = form_of(name)
    models = schema.get("definitions", {})
    for field in schema["properties"].values():
        model = models.get(field.get("$ref", "").rpartition("/")[2], {})
        assert_drawn(ui, field, model)
    if name == "nightly":
        ui.shoot("form_nightly", 1200)


# What is filled in by title, and what the run must be given by name.
FILLED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "backfill": (
        {"First": "2026-03-02", "Last": "2026-03-03", "An article's night": "first_seen"},
        {"first": "2026-03-02", "last": "2026-03-03", "by": "first_seen"},
    ),
    "rescore": (
        {"First": "2026-03-02", "Last": "2026-03-02"},
        {"first": "2026-03-02", "rescore": True},
    ),
    "retrain": ({"Plan": "best"}, {"plan": "best", "even_if_known": False}),
    "finetune": ({"Task": "ner", "Epochs": 2, "Workers": 0}, {"task": "ner", "recipe": {"epochs": 2}}),
    "adapt": ({"First night": "2026-03-02", "Steps": 3}, {"objectives": ["whole_word"], "recipe": {"steps": 3}}),
    "search": ({"Task": "sentiment", "Trials": 4}, {"task": "sentiment", "extent": {"trials": 4}}),
    "distil": ({"Teachers": ["champion"], "Student": "bilstm"}, {"student": "bilstm"}),
    "compress": (
        {"Task": "ner", "Method": "magnitude"},
        {"task": "ner", "compression": {"method": "magnitude"}},
    ),
    "combine": (
        {"Models": ["sentiment/1", "sentiment/2"], "How": "soup"},
        {"models": ["sentiment/1", "sentiment/2"], "how": "soup"},
    ),
    "promote": (
        {"Task": "ner", "Version": 2, "Reason": "better on our texts"},
        {"task": "ner", "version": 2, "reason": "better on our texts"},
    ),
    "rollback": ({"Task": "ner", "Reason": "worse"}, {"task": "ner", "reason": "worse"}),
    "cleanup": ({"Keep days": 7}, {"keep_days": 7, "dry_run": False}),
}


def test_every_deployment_is_started_from_its_form_by_a_test_here() -> None:
    assert set(FILLED) | {"nightly"} == set(DEPLOYMENTS)


@pytest.mark.parametrize("name", FILLED)
def test_each_flow_is_started_from_its_form_with_what_was_filled_in(
    ui: Ui, api: Api, deployments: dict[str, str], name: str
) -> None:
    filled, given = FILLED[name]
    ui.order(deployments[name], filled, until=lambda: bool(api.runs_of(deployments[name])))
    runs = api.runs_of(deployments[name])
    for run in runs:
        api.ask("POST", f"/flow_runs/{run['id']}/set_state", state={"type": "CANCELLED"}, force=True).raise_for_status()
    found = runs[0]["parameters"]
    assert {key: _part(found[key], value) for key, value in given.items()} == given


def _part(found: Any, wanted: Any) -> Any:
    return {key: found[key] for key in wanted} if isinstance(wanted, dict) else found


@pytest.mark.parametrize(
    ("name", "filled", "said"),
    [
        ("promote", {"Task": "ner", "Version": 0, "Reason": "x"}, "field 'version'"),
        ("rollback", {"Task": "ner"}, "'reason' is a required property"),
        ("finetune", {"Epochs": 0}, "field 'recipe.epochs'"),
        ("backfill", {"First": "2026-03-02"}, "'last' is a required property"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_named_and_starts_nothing(
    ui: Ui, api: Api, deployments: dict[str, str], name: str, filled: dict[str, Any], said: str
) -> None:
    """What is missing is said at the field; a number that is not allowed, in a notice with the field's name."""
    before = len(api.runs_of(deployments[name]))
    ui.order(deployments[name], filled, until=lambda: said in ui.text())
    if name == "promote":
        ui.shoot("form_refused", 1000)
    assert len(api.runs_of(deployments[name])) == before


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("nightly", {"night": "tomorrow"}, "night"),
        ("nightly", {"nigth": NIGHT}, "nigth"),
        ("promote", {"task": "ner", "version": 0, "reason": "x"}, "version"),
        ("finetune", {"recipe": {"learning_rate": -1}}, "recipe.learning_rate"),
    ],
)
def test_a_wrong_value_through_the_api_is_refused_and_named(
    api: Api, deployments: dict[str, str], name: str, given: dict[str, Any], field: str
) -> None:
    before = len(api.runs_of(deployments[name]))
    refused = api.ask("POST", f"/deployments/{deployments[name]}/create_flow_run", parameters=given)
    assert refused.status_code == 409
    assert field in refused.json()["detail"]
    assert len(api.runs_of(deployments[name])) == before


@pytest.fixture(scope="module")
def night(ui: Ui, api: Api, deployments: dict[str, str]) -> dict[str, Any]:
    """A night that was started from its form, after it has completed."""
    ui.order(deployments["nightly"], {"Night": NIGHT}, until=lambda: bool(api.runs_of(deployments["nightly"])))
    run = api.runs_of(deployments["nightly"])[0]
    assert run["parameters"]["night"] == NIGHT
    api.pause("writers", is_paused=False)

    def ended() -> bool:
        return api.run(run["id"])["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")

    ui.wait(ended, seconds=900)
    found = api.run(run["id"])
    assert found["state"]["type"] == "COMPLETED", found["state"]["message"]
    return found


def test_the_run_and_its_last_state_say_which_night_and_what_it_gave(night: dict[str, Any]) -> None:
    assert night["name"] == f"nightly {NIGHT}"
    assert night["state"]["message"].startswith(f"night {NIGHT}: ")
    assert "articles" in night["state"]["message"]


def test_each_step_is_a_task_that_says_what_came_of_it(ui: Ui, api: Api, night: dict[str, Any]) -> None:
    said: dict[str, str] = {}

    def told() -> bool:  # states of tasks reach the server by events, a little after the run's own
        found = api.filter("/task_runs", task_runs={"flow_run_id": {"any_": [night["id"]]}})
        said.update({one["name"]: one["state"]["message"] or "" for one in found})
        return bool(said.get(f"notify {NIGHT}"))

    ui.wait(told)
    for step in ("ingest", "validate", "score", "validate scores", "watch", "validate alerts", "publish", "notify"):
        assert any(letter.isdigit() for letter in said[f"{step} {NIGHT}"]), f"{step} says {said[f'{step} {NIGHT}']!r}"
    assert said[f"validate {NIGHT}"] == "198 rows: 167 articles, 11 quarantined, 20 repeats"


def test_the_night_has_its_counts_by_source_and_links_that_answer(
    desk: RunningDesk, api: Api, night: dict[str, Any]
) -> None:
    artifacts = api.artifacts_of(night["id"])
    rows = {row["source"]: row for row in json.loads(artifacts[f"night-{NIGHT}-sources"]["data"])}
    everything = rows.pop("all")
    assert len(rows) == 4
    for column in ("rows in", "of other nights", "repeated", "quarantined", "kept", "scored"):
        assert everything[column] == sum(row[column] for row in rows.values()), column
    assert everything["rows in"] == sum(
        everything[column] for column in ("of other nights", "repeated", "quarantined", "kept")
    )
    assert everything["scored"] == everything["kept"] > 0
    tables = {row["table"]: row for row in json.loads(artifacts[f"night-{NIGHT}-tables"]["data"])}
    assert Path(tables["scored_articles"]["path"]).is_file()
    assert tables["(MLflow)"]["path"] == desk.mlflow_url
    summary = artifacts[f"night-{NIGHT}-summary"]["data"]
    report = f"{desk.pages_url}/reports/{NIGHT}/report.html"
    assert tables["(report)"]["path"] == report
    assert f"[Report]({report})" in summary
    assert f"[MLflow]({desk.mlflow_url})" in summary
    assert httpx.get(report, trust_env=False).status_code == 200
    assert {artifacts[f"{step}-{NIGHT}-progress"]["data"] for step in ("ingest", "score")} == {100.0}


def test_the_pages_of_the_run_and_of_its_counts_show_it(ui: Ui, api: Api, night: dict[str, Any]) -> None:
    ui.open(f"/runs/flow-run/{night['id']}", "body")
    ui.wait(lambda: f"nightly {NIGHT}" in ui.text() and f"validate {NIGHT}" in ui.text())
    ui.shoot("run_page", 1150)
    counts = api.artifacts_of(night["id"])[f"night-{NIGHT}-sources"]["id"]
    ui.open(f"/artifacts/artifact/{counts}", "table")
    ui.wait(lambda: "quarantined" in ui.text() and "bulletin" in ui.text())
    ui.shoot("run_counts", 850)


def test_no_artifact_holds_the_key(desk: RunningDesk, api: Api, night: dict[str, Any]) -> None:
    assert desk.auth.partition(":")[2] not in json.dumps(api.artifacts_of(night["id"]))


def test_the_browser_asked_nobody_but_the_desk_and_the_server_nobody_at_all(ui: Ui, desk: RunningDesk) -> None:
    ui.open("/dashboard", "body")
    assert ui.asked() == {"127.0.0.1"}
    log = Path(desk.environ["GUARD_LOG"])
    assert not log.exists(), log.read_text()[:4000]
