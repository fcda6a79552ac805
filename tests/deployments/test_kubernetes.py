"""The manifests hold against the schemas of Kubernetes, of Prefect's worker, and of our own settings; nothing is started."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from data_contracts.errors import Fatal
from flows.operate.programs import places_of, programs
from flows.settings import Settings, load
from tasks.cluster import ClusterConfig
from tests.deployments.manifests import (
    BASE,
    DEPLOYMENTS,
    IN_IMAGE,
    PROJECT,
    ROOT,
    Document,
    containers,
    documents,
    environment,
    job,
    named,
    pod,
    pod_names,
    variables,
)

VERSIONS = ("1.30", kubernetes_validate.latest_version())
each_pod = pytest.mark.parametrize("name", pod_names())
FROM_THE_WORKER = ("PREFECT__", "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR")
MISPLACED = ("parallelism", "completions")
OF_THE_SETTINGS = {"secretRef": {"name": "settings", "optional": True}}  # what nightdesk.toml writes ${NAME}
WORKER = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER"
SECRET = re.compile(r"TOKEN|AUTH_STRING$|PASSWORD|ACCESS_KEY|API_KEY$|DATABASE_CONNECTION_URL|BACKEND_STORE_URI")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a flow run in the cluster reads them."""
    monkeypatch.delenv("NIGHTDESK_SCORING__BACKEND", raising=False)
    return load(str(BASE / "nightdesk.toml"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document",
    [pytest.param(d, id=f"{d['kind']} {d['metadata']['name']}") for d in documents() if d["kind"] != "RayCluster"],
)
def test_an_object_is_what_kubernetes_takes(document: Document, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@each_pod
def test_a_pod_is_what_kubernetes_takes(name: str, version: str) -> None:
    # Prefect asks for two fields where Kubernetes does not know them
    spec = {key: value for key, value in pod(name).items() if key not in MISPLACED}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}, version, strict=True
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_of_a_flow_run_is_what_kubernetes_takes(version: str) -> None:
    made = json.loads(json.dumps(job()))
    for misplaced in MISPLACED:
        del made["spec"]["template"]["spec"][misplaced]
    kubernetes_validate.validate(made, version, strict=True)


def test_a_flow_run_joins_ray_and_then_takes_the_process() -> None:
    [container] = containers("flow run")
    assert container["image"] == "nightdesk:0.1.0"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["command"][:2] == ["bash", "-c"]
    assert container["command"][2].endswith('&& exec "$@"')
    assert environment(container)["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    # Prefect gives an evicted run to another pod; Kubernetes does not try again by itself
    assert job()["spec"]["backoffLimit"] == 0


@each_pod
def test_a_pod_keeps_to_the_restricted_profile(name: str) -> None:
    assert named("Namespace", "nightdesk")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    context = pod(name)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["fsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(name))
    kinds = {kind for volume in pod(name)["volumes"] for kind in volume}
    assert kinds <= {"name", "persistentVolumeClaim", "configMap", "emptyDir"}
    for container in containers(name):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert not any("hostPort" in port for port in container.get("ports", []))


@each_pod
def test_kubernetes_puts_nothing_of_its_own_into_a_pod(name: str) -> None:
    """Links to services would be variables such as MLFLOW_PORT, which MLflow reads; only the worker talks to the API of Kubernetes."""
    assert pod(name)["enableServiceLinks"] is False
    assert ("serviceAccountName" in pod(name)) is (pod(name).get("automountServiceAccountToken") is not False)


@each_pod
def test_a_container_has_requests_limits_and_a_sign_of_life(name: str) -> None:
    for container in containers(name):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        if container["name"] not in (
            "deploy",
            "prefect-job",
            "watchdog",
        ):  # two end by themselves, one asks others alone
            ports = {port["containerPort"] for port in container.get("ports", [])} | {6380}
            for probe in (container["readinessProbe"], container["livenessProbe"]):
                assert (probe.get("httpGet") or probe["tcpSocket"])["port"] in ports


@each_pod
def test_a_secret_comes_from_the_secret_alone(name: str) -> None:
    for container in containers(name):
        plain = {given for given, value in environment(container).items() if value is not None and SECRET.search(given)}
        assert plain <= {f"{WORKER}_API_AUTH_STRING_SECRET_NAME", f"{WORKER}_API_AUTH_STRING_SECRET_KEY"}
        taken = [source for source in container.get("envFrom", []) if "secretRef" in source]
        reads = any(mount["name"] == "settings" for mount in container.get("volumeMounts", []))
        assert taken == ([OF_THE_SETTINGS] if reads else []), "who reads the settings needs every secret they name"


def test_there_is_no_secret_and_the_readme_makes_every_key_that_is_asked_for() -> None:
    assert not [d for d in documents() if d["kind"] == "Secret"]
    asked = {
        (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
        for name in pod_names()
        for container in containers(name)
        for entry in container.get("env", [])
        if "secretKeyRef" in (source := entry.get("valueFrom", {}))
    }
    made = re.findall(r"--from-(?:literal|file)=([\w-]+)=", (DEPLOYMENTS / "README.md").read_text())
    assert asked == {("nightdesk", key) for key in made}
    assert "create secret generic settings --from-env-file=" in (DEPLOYMENTS / "README.md").read_text()


def test_nothing_is_reached_from_outside_the_namespace() -> None:
    assert {d["spec"]["type"] for d in documents() if d["kind"] == "Service"} == {"ClusterIP"}
    assert named("RayCluster", "ray")["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    policy = named("NetworkPolicy", "same-namespace-only")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}


def test_what_is_named_is_there() -> None:
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    maps = {generator["name"] for generator in kustomization["configMapGenerator"]}
    manifests = sorted(path.name for path in BASE.glob("*.yaml") if path.stem != "kustomization")
    assert sorted(kustomization["resources"]) == manifests
    assert all((BASE / file).is_file() for g in kustomization["configMapGenerator"] for file in g.get("files", []))
    for service in (d for d in documents() if d["kind"] == "Service"):
        labels = named("Deployment", service["metadata"]["name"])["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"] == labels
    for name in pod_names():
        volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert named("PersistentVolumeClaim", claim["claimName"])["spec"]["accessModes"] == ["ReadWriteMany"]
            assert volume.get("configMap", {"name": "settings"})["name"] in maps
        for container in containers(name):
            sources = container.get("envFrom", [])
            assert all(source["configMapRef"]["name"] in maps for source in sources if source != OF_THE_SETTINGS)
            mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
            assert set(mounts) <= set(volumes)
            assert mounts.get("settings", "/etc/nightdesk") == str(Path(variables()["NIGHTDESK_SETTINGS"]).parent)
    logging = Path(variables()["PREFECT_LOGGING_CONFIG_PATH"])
    assert (ROOT / logging.relative_to(IN_IMAGE)).is_file()


@pytest.mark.parametrize("name", [name for name in pod_names() if not name.startswith("ray")])
def test_what_a_container_runs_is_there(name: str) -> None:
    for container in containers(name):
        program, *arguments = container["command"]
        assert program == "bash" or Path(sys.executable).with_name(program).exists()
        if program == "python":
            assert importlib.util.find_spec(arguments[1])
        if program == "nightdesk":
            assert importlib.util.find_spec(f"flows.commands.{arguments[0]}")
        for called, command in re.findall(r"^(prefect|nightdesk|ray) (\w+)", arguments[-1], re.MULTILINE):
            assert Path(sys.executable).with_name(called).exists()
            assert called != "nightdesk" or importlib.util.find_spec(f"flows.commands.{command}")


def test_what_one_machine_runs_runs_in_the_cluster_too(settings: Settings) -> None:
    alone = settings.model_copy(update={"tracking_uri": None})
    wanted = {program.name for program in programs(alone, places_of(alone, BASE / "nightdesk.toml"))}
    deployed = [d for d in documents() if d["kind"] == "Deployment"]
    assert {d["metadata"]["name"].removeprefix("prefect-") for d in deployed} == wanted
    watchdog = named("Deployment", "watchdog")["spec"]
    assert (watchdog["replicas"], watchdog["strategy"]) == (1, {"type": "Recreate"}), "two would tell everything twice"
    assert "home" in {volume["name"] for volume in pod("watchdog")["volumes"]}, "where it keeps what it told"


@each_pod
def test_a_variable_is_a_setting_of_somebody(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings as PrefectSettings
    from prefect_kubernetes.settings import KubernetesSettings

    prefect = _get_valid_setting_names(PrefectSettings) | _get_valid_setting_names(KubernetesSettings)
    mlflow = Path(str(importlib.metadata.distribution("mlflow").locate_file("mlflow")))
    sources = ("environment_variables.py", "cli/__init__.py", "utils/cli_args.py")
    known = "".join((mlflow / source).read_text() for source in sources)
    for variable, value in (pair for container in containers(name) for pair in environment(container).items()):
        if variable.startswith("NIGHTDESK_"):
            monkeypatch.setenv(variable, value or "x")
        elif variable.startswith("PREFECT_"):
            assert variable in prefect or variable.startswith(FROM_THE_WORKER)
        elif variable.startswith("MLFLOW_"):
            assert f'"{variable}"' in known
        else:
            assert variable in (
                "IMAGE",
                "RAY_AUTH_MODE",
                "RAY_AUTH_TOKEN",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
            )
    load(str(BASE / "nightdesk.toml"))  # which refuses a NIGHTDESK_* that is no setting


def test_the_settings_lead_to_what_is_started(settings: Settings) -> None:
    ray = named("RayCluster", "ray")
    assert (
        settings.cluster.address == f"{ray['metadata']['name']}-head-svc:6379"
    )  # KubeRay's name for the head's service
    assert f"--address={settings.cluster.address} " in (BASE / "job-template.json").read_text()
    [group] = ray["spec"]["workerGroupSpecs"]
    cpus = float(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert settings.cluster.cpus_each <= cpus
    assert settings.cluster.reserved_cpus <= cpus * group["replicas"]
    for url in (settings.tracking_uri or "", variables()["PREFECT_API_URL"]):
        place = urlsplit(url)
        assert named("Service", place.hostname or "")["spec"]["ports"] == [{"port": place.port}]
    assert settings.lake.startswith("s3://")
    worker = named("Deployment", "prefect-worker")["spec"]["template"]["spec"]
    assert f"work-pool create {settings.operate.pool} --type kubernetes" in worker["initContainers"][0]["command"][2]
    assert worker["containers"][0]["command"][4] == settings.operate.pool
    assert named("Service", "pages")["spec"]["ports"] == [{"port": settings.operate.pages_port}]


def test_chores_wait_for_no_ray() -> None:
    declared = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    of_chores = [one for one in declared if one["work_pool"]["work_queue_name"] == "chores"]
    assert {one["name"] for one in of_chores} == {"promote", "rollback", "cleanup"}
    program = job()["spec"]["template"]["spec"]["containers"][0]["command"]
    for one in of_chores:
        environ = one["work_pool"]["job_variables"]["env"] | {"PATH": os.environ["PATH"]}
        done = subprocess.run([*program, "echo", "done"], env=environ, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:6379"])
def test_an_address_that_ray_is_not_joined_by_is_refused(address: str) -> None:
    with pytest.raises(Fatal, match=r"ray start --address=HEAD:6379 --num-cpus=0"):
        ClusterConfig(address=address)


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_kustomize_builds_it_with_one_image_throughout(overlay: str) -> None:
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("needs kubectl, which builds kustomizations")
    command = [kubectl, "kustomize", str(BASE.parent / overlay)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(built.stdout))
    assert {d["metadata"].get("namespace", "nightdesk") for d in objects} == {"nightdesk"}
    assert len(objects) == len(documents()) + 2  # the ConfigMaps
    for document in objects:
        if document["kind"] != "RayCluster":
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    image = f"nightdesk:{PROJECT['version']}"
    assert set(re.findall(r"image: (\S+)", built.stdout)) == {image, *([f"{image}-cuda"] if overlay == "gpu" else [])}
    worker = next(d for d in objects if d["kind"] == "Deployment" and d["metadata"]["name"] == "prefect-worker")
    [deploy] = worker["spec"]["template"]["spec"]["initContainers"]
    assert environment({"env": deploy["env"]})["IMAGE"] == image
    assert built.stdout.count("nvidia.com/gpu") == (overlay == "gpu")
