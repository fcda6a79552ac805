"""What the worker's pod on Kubernetes does when it starts, done against a real Prefect server: pool, job template, deployments."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.manifests import BASE, ROOT, containers
from tests.flows.operate.bare import Bare, bare_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with bare_server(tmp_path_factory.mktemp("pool")) as bare:
        yield bare


def declare(server: Bare, image: str) -> str:
    """Run the script of the container that declares them; returns what it said."""
    script = containers("prefect-worker")[0]["command"][2]
    script = script.replace("/tmp/", f"{server.folder}/").replace("/etc/nightdesk/", f"{BASE}/")
    environ = server.environ | {
        "IMAGE": image,
        "NIGHTDESK_SETTINGS": str(BASE / "nightdesk.toml"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    done = subprocess.run(["bash", "-ec", script], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_the_pool_runs_every_deployment_in_the_image_of_the_worker(server: Bare) -> None:
    declare(server, "desk.example/nightdesk:1")
    pool = server.get("/work_pools/nightdesk")
    assert pool["type"] == "kubernetes"
    deployments = server.post("/deployments/filter", {})
    assert {one["work_pool_name"] for one in deployments} == {"nightdesk"}
    nightly = next(one for one in deployments if one["name"] == "nightly")
    run = server.post(f"/deployments/{nightly['id']}/create_flow_run", {"job_variables": {"memory": "16Gi"}})
    assert run["job_variables"]["memory"] == "16Gi"
    refused = server.ask("POST", f"/deployments/{nightly['id']}/create_flow_run", {"job_variables": {"memory": 16}})
    assert refused.is_client_error
    assert "'memory'" in refused.text

    server.ask("PATCH", "/work_pools/nightdesk", {"is_paused": True, "concurrency_limit": 3}).raise_for_status()
    said = declare(server, "desk.example/nightdesk:2")
    assert re.search(r": \d+ unchanged$", said.strip()), said
    pool = server.get("/work_pools/nightdesk")
    wanted = json.loads((BASE / "job-template.json").read_text().replace("IMAGE", "desk.example/nightdesk:2"))
    assert pool["base_job_template"] == wanted
    assert pool["is_paused"], "what a person has paused stays paused"
    assert pool["concurrency_limit"] == 3
