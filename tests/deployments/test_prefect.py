"""The deployments as `prefect deploy` reads them: its reader leaves out what it does not understand and says so; of ours it leaves out nothing."""

import io
from pathlib import Path
from typing import Any

import yaml
from prefect.cli.deploy._config import _load_deploy_configs_and_actions
from rich.console import Console

from tests.deployments.manifests import DEPLOYMENTS

FILE = DEPLOYMENTS / "prefect.yaml"
HOW_MANY = 13
BY_ITSELF = {"nightly", "retrain", "cleanup"}


def read(file: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any], str]:
    """The deployments by name, the actions, and what the reader complains of."""
    said = io.StringIO()
    found, actions = _load_deploy_configs_and_actions(file, console=Console(file=said))
    return {one["name"]: one for one in found}, actions, said.getvalue()


def test_prefect_s_own_reader_takes_every_deployment_as_it_is_written() -> None:
    found, actions, said = read(FILE)
    assert said == ""
    assert len(found) == HOW_MANY
    written = {one["name"]: one for one in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]}
    assert found.keys() == written.keys()
    for name, one in found.items():
        for field in ("entrypoint", "description", "tags", "parameters"):
            assert one.get(field) == written[name].get(field), name
        assert one["work_pool"]["work_queue_name"] == written[name]["work_pool"]["work_queue_name"]
        times = [(each["cron"], each["timezone"], each["slug"]) for each in one.get("schedules", [])]
        assert times == [(each["cron"], each["timezone"], each["slug"]) for each in written[name].get("schedules", [])]
    assert {name for name, one in found.items() if one.get("schedules")} == BY_ITSELF
    assert actions["pull"] == [], "else Prefect would make up a step that looks for a checkout"


def test_prefect_s_own_reader_would_say_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE.read_text(encoding="utf-8").replace("cron:", "kron:"), encoding="utf-8")
    found, _, said = read(file)
    assert not found
    assert "schedules" in said
