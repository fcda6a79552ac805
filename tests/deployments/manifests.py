"""The files under deployments, as the tests read them: Kubernetes documents, the pods in them, and the Job of a flow run as its worker makes it."""

import asyncio
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = ROOT / "deployments"
BASE = DEPLOYMENTS / "kubernetes" / "base"
IN_IMAGE = "/opt/nightdesk"  # where the image has the checkout
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)

Document = dict[str, Any]


@cache
def documents() -> tuple[Document, ...]:
    """Every Kubernetes object of the base."""
    files = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
    return tuple(document for path in files for document in yaml.safe_load_all(path.read_text()))


def named(kind: str, name: str) -> Document:
    """The object of that kind and name."""
    return next(d for d in documents() if d["kind"] == kind and d["metadata"]["name"] == name)


@cache
def job() -> Document:
    """What the Kubernetes worker hands to the API for a flow run of a deployment, image and all."""
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((BASE / "job-template.json").read_text().replace("IMAGE", "nightdesk:0.1.0"))
    values = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}  # as the deployments say
    nobody = PrefectClient("http://127.0.0.1:9/api")  # without one, Prefect would start a server to ask for blocks
    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(template, values, client=nobody)
    )
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), name="nightly 2026-03-02", flow_id=uuid4()))
    made: Document = configuration.job_manifest
    return made


def pod_names() -> list[str]:
    """Every pod that is ever started: of the Deployments, of Ray's groups, of a flow run."""
    return [
        *(d["metadata"]["name"] for d in documents() if d["kind"] == "Deployment"),
        "ray head",
        "ray workers",
        "flow run",
    ]


def pod(name: str) -> Document:
    """What is in the pod of that name; that of a flow run as the worker makes it."""
    ray = named("RayCluster", "ray")["spec"]
    if name == "ray head":
        owner = ray["headGroupSpec"]
    elif name == "ray workers":
        [owner] = ray["workerGroupSpecs"]
    else:
        owner = job()["spec"] if name == "flow run" else named("Deployment", name)["spec"]
    spec: Document = owner["template"]["spec"]
    return spec


def containers(name: str) -> list[Document]:
    """Of a pod, those that run once at its start too."""
    return [*pod(name).get("initContainers", []), *pod(name)["containers"]]


def variables() -> dict[str, str]:
    """The ConfigMap that most containers take their environment from."""
    lines = (BASE / "environment.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def environment(container: Document) -> dict[str, str | None]:
    """Variables of a container, None where the value is not in the manifest."""
    taken = dict(variables()) if container.get("envFrom") else {}
    return {**taken, **{entry["name"]: entry.get("value") for entry in container.get("env", [])}}
